"""Train one small run of each kind for tests/formats/VERSION, with the numbers it gives.

    python scripts/make_formats.py

Run it once per release, and never again for an old one: tests/test_formats.py loads the runs of
every release and compares what they give with expected.npz.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import zspace
from zspace.runs.record import RECORD
from zspace.system import files

OUT = Path(__file__).parents[1] / "tests" / "formats" / zspace.__version__
PRIVATE = ("path", "mark", "environment", "sha256")
"""What run.json says of the machine, and its own seal, which is made anew."""
SHOWN = ("figures", "state", "README.md", "card.png")
"""What nothing reads."""
COMMON: dict[str, Any] = {
    "latent": 2,
    "epochs": 2,
    "batch": 32,
    "device": "cpu",
    "precision": "fp32",
    "quiet": True,
}


def images() -> np.ndarray:
    """(60, 8, 8) uint8: bars whose place and brightness vary."""
    x = np.zeros((60, 8, 8), np.uint8)
    for i in range(60):
        x[i, :, i % 8] = 100 + 2 * i
    return x


def rows() -> pd.DataFrame:
    """60 rows: a number with gaps, a count and a category."""
    rng = np.random.default_rng(0)
    length = rng.normal(5, 2, 60).round(2)
    length[::9] = np.nan
    kinds = np.array(["red", "green", "blue"])[rng.integers(0, 3, 60)]
    return pd.DataFrame({"length": length, "count": rng.integers(0, 9, 60), "kind": kinds})


def waves() -> np.ndarray:
    """(60, 12, 2) float32."""
    t, shift = np.arange(12) / 12, np.arange(60)[:, None] / 7
    found = np.stack([np.sin(6.3 * t + shift), 2 * np.cos(6.3 * t - shift)], axis=-1)
    return found.astype(np.float32)


def texts() -> list[str]:
    """60 words of a, b and c."""
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list("abc"), 3 + i % 4)) for i in range(60)]


def kinds() -> dict[str, tuple[Any, str, dict[str, Any]]]:
    """Name -> samples, recipe, options."""
    small: dict[str, Any] = {"hidden": (8,)}
    classes = [str(i % 3) for i in range(60)]
    return {
        "image-ae": (images(), "ae", small),
        "image-vae": (images(), "vae", {**small, "likelihood": "bernoulli"}),
        "image-cvae": ((images(), classes), "cvae", small),
        "table-vae": (rows(), "vae", small),
        "series-vae": (waves(), "vae", {**small, "kind": "series"}),
        "tokens-vae": (texts(), "sentence_vae", {"width": 4}),
    }


def given(run: zspace.Run, x: Any) -> dict[str, np.ndarray]:
    """What a run gives for three samples: codes, what they decode to, and draws of the prior."""
    (x, label) = (x[0], "1") if isinstance(x, tuple) else (x, None)
    made = {
        "codes": run.encode(x[:3], label=label),
        "decoded": run.reconstruct(x[:3], label=label),
        "sampled": run.sample(3, label=label, seed=0),
    }
    return {name: plain(value) for name, value in made.items()}


def plain(value: Any) -> np.ndarray:
    """As an array without objects: tables and lists of texts become strings."""
    if isinstance(value, pd.DataFrame):
        return np.array(value.round(3).astype(str).to_numpy(), str)
    found = np.asarray(value)
    return found.astype(str) if found.dtype == object else found


def main() -> None:
    for name, (x, recipe, options) in kinds().items():
        out = OUT / name
        if out.exists():
            continue
        with tempfile.TemporaryDirectory() as made:
            run = zspace.train(recipe, data=x, out=Path(made) / "run", **COMMON, **options)
            shutil.copytree(run.path, out, ignore=shutil.ignore_patterns(*SHOWN))
        record = {k: v for k, v in files.read_json(out / RECORD).items() if k not in PRIVATE}
        files.write_sealed_json(out / RECORD, {**record, "environment": {}})
        np.savez_compressed(out / "expected.npz", **given(zspace.load(out, "cpu"), x))
        print(name, sum(f.stat().st_size for f in out.rglob("*") if f.is_file()), "bytes")


if __name__ == "__main__":
    main()
