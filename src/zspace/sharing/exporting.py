"""`zspace export --to onnx | torch`: a folder that is used without zspace.

    encoder.onnx  decoder.onnx  sampler.onnx     with onnxruntime; see `zspace.sharing.programs`
    encoder.pt2   decoder.pt2   sampler.pt2      instead of these, with torch alone
    export.json                                  what goes in and comes out, and the encoding of x
    encoding.py                                  tables and tokens: raw samples <-> x, with numpy

Both come from one `torch.export` of each program, with any number of samples. What was written is
read again and compared with the model before the folder is there.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from zspace._version import __version__
from zspace.data.kinds.cutting import SMILES, WORDS
from zspace.data.kinds.tokens import TokenEncoding
from zspace.runs.run import Run
from zspace.sharing.programs import Program, programs_of
from zspace.system import files
from zspace.system.bars import bar
from zspace.system.device import random_kept
from zspace.system.errors import UserError, ran_out, unknown

Format = Literal["onnx", "torch"]
SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}
LARGEST_DIFFERENCE = 1e-4
"""Between what a program gives and what the model gives; relative to numbers above 1."""
TRIED = (1, 2, 7)
"""Samples at once, with which a program is tried."""
EXAMPLE = 3
FACTS, SCRIPT = "export.json", "encoding.py"

Compute = Callable[[tuple[Tensor, ...]], Tensor]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Arguments:
        folder: Where.
        differences: Of each program, the largest difference from the model, which was measured.
        lacking: Programs that are not there, with the reason.
    """

    folder: Path
    differences: dict[str, float]
    lacking: dict[str, str]

    def __str__(self) -> str:
        """In lines, as the command prints it."""
        suffix = next(iter(self.folder.glob("encoder.*"))).suffix
        lines = [
            f"{self.folder / (name + suffix)}  (differs from the model by at most {worst:.1e})"
            for name, worst in self.differences.items()
        ]
        return "\n".join([*lines, *(f"no {name}: {why}" for name, why in self.lacking.items())])


def export(run: Run, to: str, out: str | Path, *, quiet: bool = True) -> Exported:
    """Write a run as programs that need neither zspace nor each other.

    Arguments:
        run: The trained model.
        to: "onnx", for onnxruntime and whatever else reads ONNX, or "torch", programs of
            torch.export, which a later version of torch may not read any more.
        out: A new folder.
        quiet: Whether no progress bar is shown.

    Raises UserError where the folder exists, where the extra ``export`` is not installed, where a
    part of the model cannot be exported, and where what was written gives other numbers than the
    model: more than 1e-4 apart, or of numbers above 1 that share of them.

    >>> written = zspace.export(run, "torch", "programs")
    >>> sorted(path.name for path in written.folder.iterdir())
    ['decoder.pt2', 'encoder.pt2', 'export.json', 'sampler.pt2']
    >>> max(written.differences.values()) < 1e-4
    True
    >>> sampler = torch.export.load("programs/sampler.pt2").module()
    >>> sampler(torch.randn(5, 3)).shape == (5, *run.spec.shape)
    True
    """
    if to not in SUFFIX:
        raise unknown("format", to, SUFFIX)
    folder = Path(out)
    if folder.exists():
        raise UserError(f"'{folder}' exists already: choose a new folder")
    if to == "onnx":
        check_installed()
    made, lacking = programs_of(run)
    content, differences = dict[str, bytes](), dict[str, float]()
    with bar(f"exporting to {to}", len(made), quiet) as did, random_kept(seed=0):
        for name, program in made.items():
            content[name + SUFFIX[to]], compute = _written(run, name, program, to)
            differences[name] = _compared(run, name, program, compute)
            did(1)
    facts = facts_of(run, made, to, differences, lacking)
    content[FACTS] = json.dumps(facts, indent=1, allow_nan=False).encode()
    if "encoding" in facts:
        content[SCRIPT] = (Path(__file__).parent / "standalone.py").read_bytes()
    _put(folder, content)
    return Exported(folder, differences, lacking)


def check_installed() -> None:
    """Raise UserError where a package of the extra ``export`` is missing."""
    try:
        for package in ("onnx", "onnxruntime", "onnxscript"):
            import_module(package)
    except ImportError as error:
        raise UserError(
            f'ONNX needs {error.name}, which is not installed: pip install "zspace[export]"'
        ) from None


def _written(run: Run, name: str, program: Program, to: str) -> tuple[bytes, Compute]:
    """A program in its format, and what computes it from there. Raises UserError."""
    with _refused(run, name, to), torch.no_grad(), _silent():
        exported = _exported(program)
        if to == "torch":
            buffer = io.BytesIO()
            torch.export.save(exported, buffer)
            module = torch.export.load(io.BytesIO(buffer.getvalue())).module()
            return buffer.getvalue(), lambda given: module(*given)
        # Not optimised: onnxscript 0.7 breaks some graphs, and runtimes optimise what they load.
        graph = torch.onnx.export(
            exported,
            (),
            input_names=list(program.inputs),
            output_names=[program.output],
            dynamo=True,
            verbose=False,
            optimize=False,
        )
        assert graph is not None
        content = graph.model_proto.SerializeToString()
        session: Any = import_module("onnxruntime").InferenceSession(
            content, providers=["CPUExecutionProvider"]
        )

    def compute(given: tuple[Tensor, ...]) -> Tensor:
        arrays = (value.numpy() for value in given)
        return torch.from_numpy(
            session.run(None, dict(zip(program.inputs, arrays, strict=True)))[0]
        )

    return content, compute


def _exported(program: Program) -> Any:
    """The graph of a program for any number of samples."""
    batch = torch.export.Dim("batch", min=1)
    given = program.tried(EXAMPLE)
    return torch.export.export(program.module, given, dynamic_shapes=[{0: batch}] * len(given))


def _compared(run: Run, name: str, program: Program, compute: Compute) -> float:
    """The largest difference from the model. Raises UserError where it is too large."""
    worst = 0.0
    for n in TRIED:
        given = program.tried(n)
        with torch.no_grad(), _refused(run, name, "a program that runs"):
            wanted, found = program.module(*given), compute(given)
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            raise UserError(
                f"the exported {name} of recipe '{run.name}' gives {found.dtype} "
                f"{tuple(found.shape)} in place of {wanted.dtype} {tuple(wanted.shape)}, so "
                "nothing was written: please report this"
            )
        a, b = (part.double() / program.unit for part in (wanted, found))
        apart = ((a - b).abs() / a.abs().clamp(min=1)).max().item()
        worst = max(worst, apart) if apart == apart else float("inf")
    if worst > LARGEST_DIFFERENCE:
        raise UserError(
            f"the exported {name} of recipe '{run.name}' differs from the model by {worst:.1e}, "
            f"more than {LARGEST_DIFFERENCE:g}, so nothing was written: please report this"
        )
    return worst


@contextlib.contextmanager
def _refused(run: Run, name: str, to: str) -> Iterator[None]:
    """Within, what torch or onnxruntime cannot do is a sentence that names the model."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each of them raises errors of its own
        if ran_out(error):
            raise
        raise _refusal(run, name, to, error) from error


def _refusal(run: Run, name: str, to: str, error: Exception) -> UserError:
    net = run.config.network.get("net", "its own")
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    return UserError(
        f"the {name} of recipe '{run.name}' (network {net}) cannot be exported to {to} "
        f"({type(error).__name__}: {first.strip():.200}): choose another network"
    )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Within, exporters say nothing, and distributions do not look at values, which a graph
    has none of.
    """
    checked = Distribution._validate_args
    logging.disable(logging.ERROR)
    Distribution.set_default_validate_args(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Distribution.set_default_validate_args(checked)
        logging.disable(logging.NOTSET)


def facts_of(
    run: Run,
    made: Mapping[str, Program],
    to: str,
    differences: Mapping[str, float],
    lacking: Mapping[str, str],
) -> dict[str, Any]:
    """What export.json says."""
    spec = run.spec
    facts: dict[str, Any] = {
        "format": 1,
        "zspace": __version__,
        "torch": torch.__version__,
        "recipe": run.name,
        "kind": spec.kind,
        "shape": list(spec.shape),
        "latent": list(run.model.latent),
        "x": X[spec.kind],
        "programs": {
            name: {
                "file": name + SUFFIX[to],
                "inputs": {n: _of(value) for n, value in _shown(program)},
                "output": {program.output: _of(program.module(*program.tried(1)))},
                "difference": differences[name],
            }
            for name, program in made.items()
        },
        "lacking": dict(lacking),
    }
    if run.model.context and spec.attributes:
        facts["attributes"] = list(spec.attributes)
    elif run.model.context:
        facts["classes"] = list(spec.classes)
    if run.values is not None:
        facts["values"] = {"0": run.values[0], "1": run.values[1]}
    if spec.kind == "series":
        facts["channels"] = [column.name for column in spec.columns]
    elif run.encoding is not None:
        facts["encoding"] = encoding_of(run)
    return facts


X = {
    "image": "images (N, C, H, W), float32 in [0, 1]: bytes are divided by 255, 16 bits by 65535; "
    "'values' are the raw numbers that are 0 and 1, where they were declared",
    "series": "windows (N, T, D) in the units of their channels",
    "table": "rows (N, W), float32, as encoding.py makes them of columns",
    "tokens": "tokens (N, T), int64, as encoding.py makes them: 0 is the end, 1 any other token, "
    "-1 what follows the end; as input 'before' of a decoder, each token's place holds the one "
    "before it, and the number of tokens, V, stands for the start",
}


def _shown(program: Program) -> Iterator[tuple[str, Tensor]]:
    return zip(program.inputs, program.tried(1), strict=True)


def _of(value: Tensor) -> dict[str, Any]:
    return {"dtype": str(value.dtype).removeprefix("torch."), "shape": ["N", *value.shape[1:]]}


def encoding_of(run: Run) -> dict[str, Any]:
    """The encoding of a table or of tokens as plain JSON, as encoding.py reads it."""
    assert run.encoding is not None
    facts, tensors = run.encoding.to_files()
    if isinstance(run.encoding, TokenEncoding):
        patterns = {"words": WORDS.pattern, "smiles": SMILES.pattern}
        pattern = patterns.get(run.encoding.cut)
        return {**facts, "vocabulary": run.encoding.vocabulary, "pattern": pattern}
    for i, one in enumerate(facts["entries"]):
        if f"knots.{i}" in tensors:
            one["knots"] = tensors[f"knots.{i}"].tolist()
    return facts


def _put(folder: Path, content: Mapping[str, bytes]) -> None:
    """Write the folder whole, or not at all."""
    with files.explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=files.PART)
        try:
            for name, part in content.items():
                files.write(Path(made) / name, part)
            Path(made).chmod(0o755)
            Path(made).replace(folder)
        except BaseException:
            shutil.rmtree(made)
            raise
