"""Run folders and studies that no honest program writes, by name: see `test_hostile.py`.

`RUNS` change a finished run, `UNFINISHED` one that could be resumed, `STUDIES` a study of one run.
The SHA-256 in each file is right, where it has a place for one: an attacker can count as well.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from zspace.system import files

RECORD, WEIGHTS, MANIFEST = "run.json", "model.safetensors", "state/manifest.json"
Change = Callable[[Path], object]
DEEP = b"[" * 100_000
HUGE = b'{"format": 1' + b"0" * 5000 + b"}"


def changed(record: dict[str, Any], where: str, value: Any) -> dict[str, Any]:
    """The record with another value at a path of keys."""
    record = copy.deepcopy(record)
    *parents, key = where.split("/")
    level = record
    for parent in parents:
        level = level[parent]
    level[key] = value
    return record


def record(where: str, value: Any) -> Change:
    """Sets one value of run.json."""
    return lambda folder: files.write_sealed_json(
        folder / RECORD, changed(files.read_sealed_json(folder / RECORD), where, value)
    )


def put(name: str, content: bytes) -> Change:
    """Replaces one file."""
    return lambda folder: (folder / name).write_bytes(content)


def folder_called(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return change


def linked(name: str, to: str = "") -> Change:
    """A link in place of a file or folder; by default it leads to itself."""

    def change(folder: Path) -> None:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to or (folder / name).name)

    return change


def hole(name: str) -> Change:
    """A file of 10 GB of nothing, which takes no room on the disk."""
    return lambda folder: os.truncate(folder / name, 10 << 30)


def piped(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def tensors(**named: torch.Tensor) -> Change:
    """Other weights, in a run whose weights are known by their own SHA-256."""

    def change(folder: Path) -> None:
        record("status", "running")(folder)
        files.write_sealed_tensors(folder / WEIGHTS, named, {})

    return change


def weights(change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """Other numbers in the weights of a finished run, whose record names their SHA-256."""

    def changed_weights(folder: Path) -> None:
        path = folder / WEIGHTS
        found = files.unpacked(path, path.read_bytes())
        named = {name: change(value) for name, value in found.items()}
        record(f"files/{WEIGHTS}", files.write_sealed_tensors(path, named, {}))(folder)

    return changed_weights


def header(length: int, content: bytes = b"{}") -> bytes:
    """The start of a safetensors file."""
    return struct.pack("<Q", length) + content


RUNS: dict[str, tuple[Change, str]] = {
    "record empty": (put(RECORD, b""), "not valid JSON"),
    "record text": (put(RECORD, b"hello"), "not valid JSON"),
    "record wrong UTF-8": (put(RECORD, b'{"format": "\xff\xfe"}'), "damaged"),
    "record deep": (put(RECORD, DEEP), "not valid JSON"),
    "record of 5,000 digits": (put(RECORD, HUGE), "damaged"),
    "record list": (put(RECORD, b"[]"), "damaged"),
    "record NaN": (put(RECORD, b'{"format": NaN}'), "damaged"),
    "record twice format": (put(RECORD, b'{"format": 1, "format": "a"}'), "damaged"),
    "record folder": (folder_called(RECORD), "is not a run"),
    "record link to itself": (linked(RECORD), "holds a link, 'run.json'"),
    "record hole": (hole(RECORD), "at most"),
    "metrics link": (linked("metrics.jsonl", "/etc/hostname"), "holds a link"),
    "figures link": (linked("figures", "/tmp"), "holds a link, 'figures'"),
    "fitted link": (
        lambda folder: ((folder / "fitted").mkdir(), linked("fitted/a.json", "/")(folder)),
        "holds a link, 'fitted/a.json'",
    ),
    "weights link": (linked(WEIGHTS, "/dev/zero"), "holds a link"),
    "weights pipe": (piped(WEIGHTS), "not a plain file"),
    "weights hole": (hole(WEIGHTS), "damaged"),
    "record pipe": (piped(RECORD), "is not a run"),
    "format text": (record("format", "1"), "has no format"),
    "format 10^30": (record("format", 10**30), "newer than this one"),
    "format None": (record("format", None), "has no format"),
    "job None": (record("config", None), "config is None, and no table"),
    "job empty": (record("config", {}), "config.recipe is missing"),
    "data of the job text": (record("config/data", "../.."), "run.json"),
    "arguments list": (record("config/recipe_options", [1]), "run.json"),
    "settings number": (record("config/training", 1), "run.json"),
    "recipe unknown": (record("config/recipe", "../../etc"), "recipe"),
    "recipe number": (record("config/recipe", 1), "run.json|recipe"),
    "latent 10^12": (record("config/recipe_options/latent", 10**12), "fit|latent"),
    "latent 10^30": (record("config/recipe_options/latent", 10**30), "fit|latent"),
    "latent -1": (record("config/recipe_options/latent", -1), "latent"),
    "latent NaN": (record("config/recipe_options/latent", float("nan")), "latent"),
    "latent text": (record("config/recipe_options/latent", "2"), "give a whole number"),
    "hidden 10^9": (record("config/network/hidden", [10**9, 10**9]), "fit|hidden"),
    "hidden of 100,000 layers": (record("config/network/hidden", [1] * 100_000), "fit"),
    "hidden nested": (record("config/network/hidden", [[[4]]]), "hidden"),
    "lr NaN": (record("config/training/lr", float("nan")), "lr is nan"),
    "lr None": (record("config/training/lr", None), "lr"),
    "betas None": (record("config/training/betas", None), "betas"),
    "epochs text": (record("config/training/epochs", "x"), "give a whole number"),
    "unknown setting": (record("config/training/nonsense", 1), "nonsense"),
    "shape text": (record("data/shape", "abc"), "shape"),
    "shape infinite": (record("data/shape", [float("inf"), 4, 5]), "shape"),
    "shape of 10^15 pixels": (record("data/shape", [1, 10**7, 10**8]), "fit|shape"),
    "shape negative": (record("data/shape", [-1, 4, 5]), "fit|shape"),
    "shape of one axis": (record("data/shape", [20]), "has 1 axes in its shape"),
    "shape of a huge image": (record("data/shape", [1, 4096, 4096]), "16,777,216 numbers"),
    "kind unknown": (record("data/kind", "film"), "data.kind is 'film'"),
    "kind of other axes": (record("data/kind", "table"), "has 3 axes in its shape"),
    "classes number": (record("data/classes", 7), "classes"),
    "status list": (record("status", []), "status is a list"),
    "files list": (record("files", []), "files is a list"),
    "file number": (record("files/model.safetensors", 7), "files.model.safetensors is 7"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "missing"),
    "weights folder": (folder_called(WEIGHTS), "cannot read|damaged"),
    "weights of a shape of null": (
        put(WEIGHTS, header(59, b'{"a":{"dtype":"F32","shape":[null],"data_offsets":[0,0]}}  ')),
        "its head does not fit",
    ),
    "weights empty": (put(WEIGHTS, b""), "damaged"),
    "weights 2^63": (put(WEIGHTS, header(2**63)), "damaged"),
    "weights pickled": (put(WEIGHTS, b"\x80\x04cos\nsystem\n(S'true'\ntR."), "damaged"),
    "weights NaN": (weights(lambda w: w * float("nan")), "not finite numbers"),
    "weights 1e38": (weights(lambda w: w * 0 + 1e38), "gives values that are not finite"),
    "weights too large to decode": (weights(lambda w: w * 1e36), "values that are not finite"),
    "weights of 64 bits": (weights(lambda w: w.double() + 1e300), "not finite"),
    "result list": (record("result", [1]), "result is a list"),
    "result of text": (record("result/test", {"objective": "a"}), "result.test.objective is 'a'"),
    "result without objective": (record("result/test", {"mse": 1.0}), "has no objective"),
    "parameters of 400 digits": (record("parameters", 10**400), "not valid JSON"),
    "weights of another model": (tensors(a=torch.zeros(3)), "do not fit"),
    "weights of no numbers": (tensors(), "do not fit"),
}


def state(**values: Any) -> Change:
    """A checkpoint with these values, and no manifest."""

    def change(folder: Path) -> None:
        named = {name: value for name, value in values.items() if torch.is_tensor(value)}
        files.write_sealed_tensors(
            folder / "state" / "0000000009.safetensors",
            named,
            {name: value for name, value in values.items() if name not in named},
        )

    return change


def manifest(value: Any) -> Change:
    """A manifest that names no state that is there."""
    return lambda folder: files.write_sealed_json(folder / MANIFEST, {"generations": value})


WRONG = "0" * 64
BARE = safetensors.torch.save({"a": torch.zeros(3)})
UNFINISHED: dict[str, tuple[Change, str]] = {
    "state empty": (put("state/0000000009.safetensors", b""), "every checkpoint"),
    "state 2^63": (put("state/0000000009.safetensors", header(2**63)), "every checkpoint"),
    "state without a seal": (put("state/0000000009.safetensors", BARE), "every checkpoint"),
    "state of nothing": (state(), "checkpoint|state"),
    "state of other names": (state(a=torch.zeros(3), b=1), "checkpoint|state"),
    "state of text": (state(step="a", epoch=None), "checkpoint|state"),
    "state with a name twice": (state(**{"a": 1, "a/b": 2}), "checkpoint|state"),
    "manifest names a folder": (
        manifest([{"file": "..", "sha256": WRONG}]), "every checkpoint",
    ),
    "manifest names zeros": (
        manifest([{"file": "\0", "sha256": WRONG}]), "every checkpoint",
    ),
    "manifest of wrong kinds": (
        manifest([{"file": "a", "sha256": [1]}]), "every checkpoint",
    ),
    "state hole": (
        lambda folder: (state(a=1)(folder), hole("state/0000000009.safetensors")(folder)),
        "every checkpoint",
    ),
    "state pipe": (piped("state/0000000009.safetensors"), "every checkpoint"),
    "state link": (linked("state", "/tmp"), "holds a link, 'state'"),
    "figures link": (linked("figures", "/tmp"), "holds a link, 'figures'"),
    "lock link": (linked("state/lock", "../../victim"), "holds a link, 'state/lock'"),
    "lock pipe": (piped("state/lock"), "not a plain file"),
    "manifest names a file above": (
        manifest([{"file": "../a.safetensors", "sha256": WRONG}]), "every checkpoint",
    ),
    "finished, they say": (record("status", "finished"), "has finished"),
    "other data": (record("data/fingerprint", WRONG), "has changed since"),
    "fingerprint number": (record("data/fingerprint", 7), "data.fingerprint is 7"),
    "no data": (record("config/data/data", "/nowhere/x.npz"), "not made by you.*--trust-data"),
}  # fmt: skip


def study(value: Any) -> Change:
    return lambda folder: (folder / "study.json").write_text(json.dumps(value))


ENTRY = {"name": "a", "family": "vae", "status": "finished", "reason": ""}
STUDIES: dict[str, tuple[Change, str]] = {
    "study empty": (put("study.json", b""), "not valid JSON"),
    "study deep": (put("study.json", DEEP), "not valid JSON"),
    "study list": (study([]), "not that of a study"),
    "study folder": (folder_called("study.json"), "neither a study nor a run"),
    "study format text": (study({"format": "a", "runs": []}), "study"),
    "study runs None": (study({"format": 1, "runs": None}), "study"),
    "study runs numbers": (study({"format": 1, "runs": [1]}), "study"),
    "study entry empty": (study({"format": 1, "runs": [{}]}), "study"),
    "study name list": (study({"format": 1, "runs": [{**ENTRY, "name": []}]}), "study"),
    "study without family": (study({"format": 1, "runs": [{**ENTRY, "family": None}]}), "study"),
    "study of no run": (study({"format": 1, "runs": [{**ENTRY, "name": "../../b"}]}), "run"),
}

GOOD = (
    '{"number": 1, "step": 1, "lr": 0.1, "seconds": 1.0, "samples_per_second": 1.0, "best": true, '
    '"train": {"objective": 1.0}, "validation": {"objective": 1.0}, "quality": {}}'
)
METRICS = {
    "400 digits": GOOD.replace('"number": 1', '"number": 1' + "0" * 400).encode() + b"\n",
    "30 digits": GOOD.replace('"lr": 0.1', '"lr": 1' + "0" * 30).encode() + b"\n",
    "1e400": GOOD.replace("0.1", "1e400").encode() + b"\n",
    "quality of another shape": GOOD.replace("{}}", '{"train": [1]}}').encode() + b"\n",
    "quality of one split": GOOD.replace("{}}", '{"train": {"mse": 0.1}}}').encode() + b"\n",
    "no objective": GOOD.replace("objective", "mse").encode() + b"\n",
    "binary": bytes(range(256)),
    "deep": DEEP + b"\n",
    "wrong kinds": b'[]\n1\n"a"\nnull\n{"train": 1, "validation": 2}\n',
    "NaN": b'{"train": NaN, "validation": []}\n',
    "huge": HUGE + b"\n",
}


def example(folder: Path) -> Path:
    """A run of a small vae, finished; the data lie beside it."""
    import zspace

    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, 4, 5), dtype=np.uint8)
    np.savez(folder / "x.npz", x=x, allow_pickle=False)
    options: dict[str, Any] = {"hidden": (4,), "latent": 2, "epochs": 1, "precision": "fp32"}
    out = folder / "run"
    zspace.train("vae", data=str(folder / "x.npz"), out=out, quiet=True, **options)
    return out
