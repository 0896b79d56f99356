"""What the commands write and print: samples, reconstructions, codes, lists."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from zspace.analysis import planes, reconstruction
from zspace.analysis.trained import SampleFrom
from zspace.cli import written
from zspace.data.account import lines, of_samples
from zspace.data.conditions import Label, as_conditions, turns
from zspace.data.dataset import joined
from zspace.data.kinds.tokens import OTHER, TokenEncoding
from zspace.data.loading import is_known, load
from zspace.data.readers.hf import PREFIX
from zspace.data.sets.catalogue import describe, sources
from zspace.models import recipes
from zspace.runs.listing import is_training
from zspace.runs.run import Run
from zspace.runs.run import load as load_run
from zspace.system import files, pixels
from zspace.system.bars import say
from zspace.system.errors import UserError


class Screen(Console):
    """Standard output; if its reader goes away, as head does, that is no error."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def opened(path: Path, device: str, *, trust_data: bool = False) -> Run:
    """A run, of which it is said if its training has not ended."""
    run = load_run(path, device, trust_data=trust_data)
    if run.record["status"] != "finished" and run.place.folder:
        done, asked = len(run.metrics), run.config.training.epochs
        told = f"({done} of {asked} epochs): these are its best weights so far"
        if is_training(run.place.folder):
            say(f"run '{path}' is being trained {told}")
        elif run.record["status"] == "failed":
            say(f"the training of run '{path}' failed {told}")
        else:
            say(f"run '{path}' has not finished {told}; 'zspace resume {path}' goes on with it")
    return run


def _where(run: Run, name: str, out: Path | None) -> Path:
    """The file that was named, or else one in the folder of the run."""
    own = run.path / f"{name}{_suffix(run)}"
    if out is None and own.exists():
        say(f"'{own}' was there and is replaced: -o FILE writes elsewhere")
    return out or own


def sample(
    run: Run,
    *,
    n: int,
    label: str | None,
    seed: int,
    sampler: SampleFrom,
    out: Path | None,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Path:
    """Write n samples: images as one sheet (.png), arrays (.npz) or a folder of PNG files; others
    as `written.samples` does. None: into the folder of the run.
    """
    y = _label(run, label)
    x = run.drawn(n, label=y, seed=seed, sampler=sampler, temperature=temperature, top_p=top_p)
    if run.sampler == "mixture" and sampler != "mixture":
        name, prior = recipes.hyphenated(run.config.recipe), run.traits.prior
        instead = "--sampler mixture draws from a mixture fitted to its codes"
        if sampler == "auto":
            instead = f"these come from {run.mixture().title}"
        why = f"{name} was told nothing of where codes should lie, so draws of {prior} are noise"
        say(f"{why}: {instead}")
    out = _where(run, "samples", out)
    if run.encoding is not None:
        title = f"Samples of {run.config.name}"
        return written.samples(out, run.encoding, x, title=title, told=_told(run, y, n))
    if out.suffix == ".png":
        pixels.save_png(_ready(out), pixels.tile(x, min(n, 10)), least=600)
    elif out.suffix == ".npz":
        arrays = {"x": x}
        if run.model.context:
            arrays["y"] = _conditions(run, y, n)
        save_npz(out, arrays)
    elif out.suffix:
        raise UserError(f"cannot write '{out}': give FILE.png, FILE.npz or a folder")
    else:
        if out.is_dir() and any(out.glob("*.png")):
            raise UserError(f"'{out}' already holds pictures: choose another folder")
        with files.explained(out):
            out.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(x):
            pixels.save_png(out / f"{i:05d}.png", pixels.tile(image[None], 1, gap=0))
    return out


def _conditions(run: Run, label: int | str | None, n: int) -> np.ndarray:
    """What n samples were asked to be: (n,) of classes, or (n, A) of attributes."""
    spec = run.spec
    told = turns(spec, n) if label is None else as_conditions(label, spec).numpy()
    return np.broadcast_to(told, (n, *told.shape[1:]))


def _told(run: Run, label: int | str | None, n: int) -> dict[str, np.ndarray]:
    """The same as columns by name, of a conditional model."""
    if not run.model.context:
        return {}
    given, spec = _conditions(run, label, n), run.spec
    if spec.attributes:
        return dict(zip(spec.attributes, given.T, strict=True))
    column = run.config.data.labels
    name = "label" if not column or {*column} & set("/:.,") else column
    return {name: np.array(spec.classes)[given]}


def _suffix(run: Run) -> str:
    """Of a file of samples, where none is given."""
    return run.encoding.suffix if run.encoding else ".png"


def _label(run: Run, label: str | None) -> int | str | None:
    """A label from the command line: the name of a class, or else its number."""
    number = label is not None and re.fullmatch(r"-?\d{1,9}", label, re.ASCII)
    return int(label or 0) if number and label not in run.spec.classes else label


def reconstruct(
    run: Run, *, data: str | None, data_dir: Path | None, n: int, out: Path | None
) -> Path:
    """Write n test images above their decodings as one sheet; others beside theirs."""
    if n < 1:
        raise UserError(of_samples(f"n is {n}: ask for at least 1 image", run.spec.kind))
    pairs = reconstruction.reconstructions(run, run.data(data, data_dir=data_dir), n)
    out = _where(run, "reconstructions", out)
    if run.encoding is not None:
        title = f"Unseen {run.encoding.plural}, reconstructed by {run.config.name}"
        return written.samples(out, run.encoding, pairs.decoded, pairs.x, title)
    columns = min(10, len(pairs.x))
    rows = []
    for start in range(0, len(pairs.x), columns):
        for images_of in (pairs.x, pairs.decoded):
            part = images_of[start : start + columns]
            rows.append(np.pad(part, [(0, columns - len(part))] + [(0, 0)] * 3, constant_values=1))
    pixels.save_png(_ready(out), pixels.tile(np.concatenate(rows), columns), least=600)
    return out


def interpolate(
    run: Run,
    ends: tuple[str, str],
    *,
    data: str | None,
    data_dir: Path | None,
    n: int,
    label: str | None,
    way: Literal["straight", "spherical"],
    out: Path | None,
) -> Path:
    """Write n samples on the way between two: a sheet (.png) of images or arrays (.npz); others as
    `written.samples` does.
    """
    y: Label | None = _label(run, label)
    texts = [end for end in ends if isinstance(run.encoding, TokenEncoding) and not end.isdigit()]
    read = dict(zip(texts, run.encoding.encode(texts), strict=True)) if texts else {}  # type: ignore[union-attr]
    if any(bool((one == OTHER).any()) for one in read.values()):
        say("what the model has no token for is read as <other>")
    if len(texts) < len(ends):
        source = run.data(data, data_dir=data_dir, unlabelled=True)
        samples = source.test if data is None else joined(list(source.splits.values()))
        numbers = [end for end in ends if end not in read]
        at = torch.tensor([_position(end, len(samples)) for end in numbers])
        read |= dict(zip(numbers, samples.images(at), strict=True))
        told = samples.conditions(at) if run.model.context and not texts else None
        known = told is not None and not bool(samples.unlabelled()[at].any())
        if y is None and told is not None and known and bool((told[0] == told[-1]).all()):
            y = told[:1].numpy()
    if y is None and run.model.context:
        raise UserError(
            f"recipe '{run.name}' is conditional, and the two have no class in common: give "
            "--label, with which both are encoded and decoded"
        )
    x = torch.stack([read[end] for end in ends])
    a, b = np.asarray(run.encoded(x, y))
    made = np.asarray(run.decoded(planes.between(a, b, n, way), y))
    out = _where(run, "interpolation", out)
    if run.encoding is not None:
        title = f"Between two {run.encoding.plural}, by {run.config.name}"
        return written.samples(out, run.encoding, made, title=title)
    if out.suffix == ".npz":
        save_npz(out, {"x": made})
    elif out.suffix == ".png":
        pixels.save_png(_ready(out), pixels.tile(made, min(n, 10)), least=600)
    else:
        raise UserError(f"cannot write '{out}': give FILE.png or FILE.npz")
    return out


def _position(text: str, n: int) -> int:
    """The number of a sample among n. Raises UserError where it is none."""
    if not (text.isascii() and text.isdigit() and int(text) < n):
        raise UserError(f"'{text:.60}' is no sample: give a whole number from 0 to {n - 1:,}")
    return int(text)


def impute(run: Run, *, data: str, data_dir: Path | None, out: Path) -> Path:
    """Write all samples of a file with their missing values filled in."""
    if run.encoding is None:
        raise UserError(
            f"run '{run.path}' is of images, which have no file with gaps: run.impute fills arrays"
        )
    parts = list(run.data(data, data_dir=data_dir, quiet=False).splits.values())
    samples = joined(parts)
    x, label = samples.images(), samples.conditions() if run.model.context else None
    made = run.filled(x, label)
    rows = int(x.isnan().flatten(1).any(1).sum())
    say(f"values filled in {rows:,} of {len(x):,} {run.encoding.plural}, in the order of the data")
    name = run.encoding.identifier if all(part.named for part in parts) else ""
    if gone := [one for one in getattr(run.encoding, "left_out", ()) if one != name]:
        say(f"without what the training left out: {', '.join(gone)}")
    names = np.array(samples.names())
    if all(getattr(part.ids, "numbers", False) for part in parts):
        names = names.astype(np.int64)
    told = {name: names} if name else {}
    return written.samples(out, run.encoding, made.numpy(), title=f"{data}, filled", told=told)


def save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as a compressed .npz, whole or not at all."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    files.write(_ready(path), content.getvalue())


def _ready(path: Path) -> Path:
    """The path, with its folder made."""
    with files.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


def list_recipes() -> None:
    """Print every recipe with its sentence and reference."""
    console = Screen(highlight=False)
    for name in recipes.known():
        sentence, _, reference = recipes.about(name).partition("\n\n")
        console.print(f"[bold]{name.replace('_', '-')}[/bold]  {' '.join(sentence.split())}")
        console.print(Padding(f"[dim]{' '.join(reference.split())}[/dim]", (0, 0, 0, 4)))


def list_data(data_dir: Path | None) -> None:
    """Print the data sets known by name."""
    table = Table("name", "content", "licence", "local", box=None, header_style="bold")
    for name, what, licence, here in sources(data_dir):
        table.add_row(name, what, licence, "yes" if here else "no")
    Screen().print(table)
    print(
        "Also: a folder of images, a .csv, .parquet, .npz or .npy file (--data PATH); sets of the "
        'Hugging Face hub (--data hf:NAME, which needs: pip install "zspace[hf]").'
    )


def _plainly(value: object) -> str:
    """A fact as a person reads it: lists by commas, tables by lines."""
    if isinstance(value, dict):
        return "\n".join(f"{key}  {_plainly(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if value is None:
        return "not local"
    return f"{value:,}" if isinstance(value, int) else str(value)


def describe_data(name: str, data_dir: Path | None, **options: Any) -> None:
    """Print the facts of one data set; of the user's own, what was read and what was left out."""
    if not name:
        raise UserError("data info needs a name or a path: 'zspace data info mnist', for example")
    if name.startswith(PREFIX) or not is_known(name):  # a path, or what is neither
        found = load(name, data_dir=data_dir, **options)
        Screen(highlight=False, soft_wrap=True).print(*lines(found), sep="\n", markup=False)
        return
    table = Table(box=None, show_header=False)
    for key, value in describe(name, data_dir=data_dir).items():
        if value not in ({}, [], ()):
            table.add_row(f"[bold]{key}[/bold]", _plainly(value))
    Screen().print(table)
