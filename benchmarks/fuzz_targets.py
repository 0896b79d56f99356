"""What `fuzz.py` tries: valid inputs to begin with, how they are changed, and what reads them."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy
from PIL import Image

import fuzz_tables
import zspace
from fuzz_changes import LONGEST, havoc, mended, restructured, sealed
from fuzz_runs import Folders
from zspace.data.read_options import ReadOptions
from zspace.data.readers import arrays, images
from zspace.data.sets import mnist
from zspace.runs.checkpoint import Checkpoints
from zspace.runs.config import Config
from zspace.runs.many import open_study
from zspace.runs.record import Place, read_metrics
from zspace.runs.settings import Settings
from zspace.studies.grid import parse_choices

RNG = np.random.default_rng(0)


@dataclass
class Guided:
    """Bytes, changed from seeds. work: what reads them. change: beside random bytes, what else."""

    name: str
    weight: int
    work: Callable[[bytes], object]
    seeds: Sequence[bytes]
    change: Callable[[random.Random, bytes], bytes] | None = None

    def guide(self, atheris: Any, one: Callable[[bytes], None], seed: int) -> NoReturn:
        """Executions without end, guided by the code that they reach."""

        def mutated(content: bytes, longest: int, number: int) -> bytes:
            draw = random.Random(number)
            if draw.random() < 0.3:
                return self._changed(draw, draw.choice([content, *self.seeds]))[:longest]
            return atheris.Mutate(content, longest)

        corpus = Path(tempfile.mkdtemp())
        for i, content in enumerate(self.seeds):
            (corpus / str(i)).write_bytes(content)
        flags = [f"-seed={seed + 1}", f"-max_len={LONGEST}", "-timeout=0", "-rss_limit_mb=0"]
        atheris.Setup(["fuzz", *flags, str(corpus)], one, custom_mutator=mutated)
        atheris.Fuzz()
        raise AssertionError("Fuzz does not return")

    def drive(self, one: Callable[[bytes], None], seed: int) -> NoReturn:
        """Executions without end, at random."""
        draw, pool = random.Random(seed), list(self.seeds)
        while True:
            content = draw.choice(pool)
            for _ in range(draw.choice((1, 1, 2, 4, 8))):
                content = self._changed(draw, content)
            one(content)
            if draw.random() < 0.01:  # changes of changes go farther
                pool[draw.randrange(len(self.seeds), len(pool) + 1) :] = [content]
                pool = pool[:200]

    def _changed(self, draw: random.Random, content: bytes) -> bytes:
        if self.change is not None and draw.random() < 0.7:
            return self.change(draw, content)
        return havoc(draw, content, self.seeds)


@dataclass(frozen=True)
class Blob:
    """Bytes as a `zspace.data.readers.images.Blob`."""

    content: bytes

    def __str__(self) -> str:
        return "blob"

    def read(self) -> bytes:
        return self.content

    @property
    def size(self) -> int:
        return len(self.content)


def _images() -> list[bytes]:
    seeds = []
    for form in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"):
        for mode in ("L", "RGB", "P", "RGBA", "1", "I;16"):
            exif = Image.Exif()
            exif[0x0112] = 6
            pixels = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
            wide = Image.fromarray(RNG.integers(0, 65536, (6, 5), dtype=np.uint16))
            image = wide if mode == "I;16" else Image.fromarray(pixels).convert(mode)
            content = io.BytesIO()
            try:
                image.save(content, form, exif=exif)
            except (OSError, ValueError):
                continue
            seeds.append(content.getvalue())
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", progressive=True)
    return [*seeds, content.getvalue()]


def _saved(save: Callable[..., object], *values: Any, **named: Any) -> bytes:
    content = io.BytesIO()
    save(content, *values, **named, allow_pickle=False)
    return content.getvalue()


def _parsers(folder: Path) -> list[Guided]:
    """The readers of data."""
    x = RNG.integers(0, 256, (12, 4, 4), dtype=np.uint8)
    y = np.arange(12, dtype=np.int64) % 3
    file = folder / "x.bin"
    ubyte = [b"\0\0\x08\x03" + struct.pack(">3I", *x.shape) + x.tobytes()]
    ubyte.append(gzip.compress(ubyte[0]))
    ubyte.append(b"\0\0\x08\x01" + struct.pack(">I", 12) + y.astype(np.uint8).tobytes())
    plain = [_saved(np.save, value) for value in (x, x / 255, np.asfortranarray(x), x[..., None])]
    numbers = [_saved(np.save, value) for value in (y, y.astype(">u2"), y[:, None])]
    zips = [_saved(np.savez, x=x, y=y, x_test=x, y_test=y), _saved(np.savez_compressed, x / 255)]

    def reader(load: Callable[[Path, ReadOptions], object]) -> Callable[[bytes], object]:
        def work(content: bytes) -> object:
            file.write_bytes(content)
            return load(file, ReadOptions(memory=1e8))

        return work

    def member(name: str) -> Callable[[bytes], object]:
        others = {"x": plain[0], "y": numbers[0]}

        def work(content: bytes) -> object:
            with zipfile.ZipFile(file, "w") as archive:
                for other, array in {**others, name: content}.items():
                    archive.writestr(f"{other}.npy", array)
            return arrays.load_npz(file, ReadOptions(memory=1e8))

        return work

    def parse(content: bytes) -> object:
        return mnist.parse(io.BytesIO(content), Path("a"), axes=1 if content[3:4] == b"\1" else 3)

    images.MOST_PIXELS = 1 << 20  # an image at the limit takes seconds: test_hostile.py has some

    def picture(content: bytes) -> object:
        blob = Blob(mended(content))
        with images.strict():
            return images.look(blob), images.decode(blob, images.Form(3, 8))

    return [
        Guided("idx", 250, parse, ubyte),
        Guided("npy", 100, reader(arrays.load_npy), plain),
        Guided("npz", 80, reader(arrays.load_npz), zips),
        Guided("npz, x", 60, member("x"), plain),
        Guided("npz, y", 60, member("y"), numbers),
        Guided("images", 150, picture, _images()),
    ]


def trained(folder: Path) -> zspace.Run:
    """A small conditional run; the folder is that of a study of one run."""
    x = RNG.integers(0, 256, (40, 4, 4), dtype=np.uint8)
    np.savez(folder / "x.npz", x=x, y=np.arange(40) % 3, allow_pickle=False)
    options: dict[str, Any] = {"hidden": (4,), "latent": 2, "epochs": 1, "precision": "fp32"}
    return zspace.train(
        "cvae", data=str(folder / "x.npz"), out=folder / "runs" / "a", quiet=True, **options
    )


def _records(folder: Path, run: zspace.Run) -> list[Guided]:
    """The readers of what zspace itself has written; each file has the right SHA-256 in it."""
    checkpoints = Checkpoints(folder / "state")
    for step in (1, 2):
        state = {"fit": {"step": step, "w": torch.ones(3)}, "random": [1, 2, "a"], "none": {}}
        checkpoints.save(state, step)
    one = {"name": "a", "family": "cvae", "status": "finished", "reason": ""}
    study = {"format": 1, "runs": [one, {**one, "name": "b", "status": "failed"}]}
    listing, lines = folder / "state" / "manifest.json", folder / "metrics.jsonl"
    weights, alone = sorted((folder / "state").glob("*.safetensors"))[-1], folder / "alone"
    states, listed = weights.read_bytes(), listing.read_bytes()

    def put(path: Path, read: Callable[[], object]) -> Callable[[bytes], object]:
        path.parent.mkdir(exist_ok=True)

        def work(content: bytes) -> object:
            path.write_bytes(sealed(content))
            return read()

        return work

    opened = shutil.copytree(run.path, folder / "opened")
    weighed = shutil.copytree(run.path, folder / "weighed")
    (weighed / "run.json").write_bytes(
        sealed((run.path / "run.json").read_bytes().replace(b'"finished"', b'"running"'))
    )
    return [
        Guided("run.json", 30, put(opened / "run.json", lambda: zspace.load(opened)),
               [(run.path / "run.json").read_bytes()], restructured),
        Guided("manifest.json", 60, put(listing, checkpoints.load), [listed], restructured),
        Guided("state", 80, put(alone / weights.name, Checkpoints(alone).load), [states]),
        Guided("model.safetensors", 30,
               put(weighed / "model.safetensors", lambda: zspace.load(weighed)),
               [(run.path / "model.safetensors").read_bytes(), states]),
        Guided("metrics.jsonl", 60, put(lines, lambda: read_metrics(Place(lines.parent))),
               [(run.path / "metrics.jsonl").read_bytes()], restructured),
        Guided("study.json", 20, put(folder / "study.json", lambda: open_study(folder)),
               [json.dumps(study).encode()], restructured),
    ]  # fmt: skip


@dataclass
class Drawn:
    """Values that Hypothesis draws. work: what they are given to."""

    name: str
    weight: int
    work: Callable[[Any], object]
    values: st.SearchStrategy

    def drive(self, one: Callable[[Any], None], seed: int) -> NoReturn:
        """Executions without end; in rounds, because Hypothesis remembers those of a round."""
        usual = hypothesis.settings(
            max_examples=1000,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        while True:
            hypothesis.seed(seed)(usual(hypothesis.given(self.values)(lambda v: one(v))))()
            seed += 1


def _functions(run: zspace.Run) -> list[Drawn]:
    """The public functions."""
    sides = st.sampled_from([0, 1, 2, 3, 4, 5])
    shapes = st.one_of(st.lists(sides, max_size=5).map(tuple), st.sampled_from(
        [(4, 4), (2, 4, 4), (2, 1, 4, 4), (2, 2), (1, 2)]
    ))  # fmt: skip
    kinds = st.one_of(
        of_numpy.scalar_dtypes(),
        st.sampled_from(["u1", "f4", "f8", ">f4", "f2", "O", "U3", "i8"]).map(np.dtype),
    )
    some = kinds.flatmap(lambda kind: of_numpy.arrays(
        kind, shapes, elements=st.none() if kind == np.dtype("O") else None
    ))  # fmt: skip
    odd = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9))
    deep = st.recursive(odd, lambda one: st.lists(one, max_size=3) | st.dictionaries(
        st.text(max_size=3), one, max_size=2
    ), max_leaves=4)  # fmt: skip
    labels = st.one_of(st.sampled_from([0, 1, "0", "2", [0, 1], None]), deep, some)
    names = [*Settings.__dataclass_fields__, "latent", "hidden", "data", "size", "beta", "net",
             "skip_bad", "data_dir", "augment", "nonsense"]  # fmt: skip
    options = st.dictionaries(st.sampled_from(names), deep | some, max_size=4)
    texts = st.one_of(
        st.text(max_size=20),
        st.builds(
            "{}={}".format,
            st.sampled_from([*names, ""]),
            st.text('0123456789.,[]{}"eE-na', max_size=12),
        ),
    )

    def model(drawn: tuple[str, Any, Any]) -> object:
        verb, value, label = drawn
        if verb == "sample":
            # A billion images are nobody's mistake to catch.
            n = min(value, 50) if isinstance(value, int) else value
            return run.sample(n, label, seed=label if isinstance(label, int) else None)
        return getattr(run, verb)(value, label)

    verbs = st.sampled_from(["encode", "decode", "reconstruct", "sample"])
    known = st.dictionaries(st.sampled_from(list(Settings.__dataclass_fields__)), odd, max_size=3)
    return [
        Drawn("arrays", 20, model, st.tuples(verbs, some | deep, labels)),
        Drawn("options", 10, lambda drawn: Config.of("vae", drawn).to_json(), options),
        Drawn("settings", 10, lambda drawn: Config.of("vae", drawn).training.check(), known),
        Drawn("choices", 10, lambda drawn: parse_choices([drawn]), texts),
    ]


def _tables(folder: Path) -> list[Guided | Drawn]:
    """Tables in files and in Python."""
    csv, parquet = (fuzz_tables.reader(folder / f"a.{end}") for end in ("csv", "parquet"))
    work, values = fuzz_tables.frames()
    return [
        Guided("csv", 20, csv, fuzz_tables.csvs(), fuzz_tables.refielded),
        Guided("parquet", 50, parquet, fuzz_tables.parquets()),
        Drawn("frames", 30, work, values),
    ]


def targets(folder: Path) -> list[Guided | Drawn | Folders]:
    """All targets; their files lie in the folder."""
    run = trained(folder)
    edited = folder / "edited runs"
    edited.mkdir()
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    parsers, records = _parsers(folder), _records(folder, run)
    return [*parsers, *records, *_tables(folder), *_functions(run), Folders(edited)]
