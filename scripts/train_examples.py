"""Train the small runs inside the package: src/zspace/explorer/examples.

    ZSPACE_DATA=DIR python scripts/train_examples.py --molecules train.csv.gz

DIR holds MNIST's four files in `mnist`; without it they are downloaded. train.csv.gz is the
training set of MOSES, `moses/dataset/data/train.csv.gz` in the wheel of molsets 0.3.1 (MIT
licence; pip download --no-deps molsets==0.3.1); its first 5,000 molecules are read. A run that is
there already is left alone; delete its folder to train it again.

    digits/      a study on MNIST: AE, VAE and CVAE with codes of 2 and of 20 numbers, and a series
                 of VAEs of two dimensions with the KL weighted by 0, 0.1, 0.5, 1, 4 and 20;
                 samples.npz holds 1,000 test images, 100 of each class
    signals/     a VAE of windows that are drawn here: sums of sines, and bursts
    wine/        a VAE of the rows of scikit-learn's load_wine (UCI, CC BY 4.0)
    molecules/   a sentence VAE of SMILES

Weights are kept as float16; they become float32 where they are loaded. The results in run.json are
those of the float32 weights that were trained.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import zspace
from zspace.runs.record import METRICS, RECORD, WEIGHTS
from zspace.system import files

EXAMPLES = Path(__file__).parents[1] / "src" / "zspace" / "explorer" / "examples"
BETAS = (0, 0.1, 0.5, 1, 4, 20)
NET: dict[str, Any] = {"hidden": (48, 48), "batch": 256, "precision": "fp32", "device": "cpu"}
DIGITS: dict[str, tuple[str, dict[str, Any]]] = {
    "vae-2": ("vae", {"latent": 2}),
    "ae-2": ("ae", {"latent": 2}),
    "cvae-2": ("cvae", {"latent": 2}),
    "vae-20": ("vae", {"latent": 20}),
    "ae-20": ("ae", {"latent": 20}),
    "cvae-20": ("cvae", {"latent": 20}),
    **{f"vae-2-beta-{beta:g}": ("beta_vae", {"latent": 2, "beta": beta}) for beta in BETAS},
}
EPOCHS = 24
EACH = 100
"""Test images of each class that go along."""
PRIVATE = ("path", "mark", "environment")
"""What run.json says of the machine."""
WINDOWS, STEPS, MOLECULES = 4000, 64, 5000


def packed(folder: Path, out: Path, samples: Mapping[str, bytes]) -> None:
    """Copy a finished run with float16 weights, without what it says of this machine, and with a
    file of samples.
    """
    run = zspace.load(folder, "cpu")
    parts = run.place.parts()
    record = {k: v for k, v in run.record.items() if k not in (*PRIVATE, "sha256")}
    record["environment"] = {}
    options = record["config"]["data"]
    for name in ("data", "test"):  # a file is named, and not where it lay
        options[name] = Path(options[name]).name
    lines = [json.loads(line) | {"quality": {}} for line in parts[METRICS].splitlines()]
    parts[METRICS] = "".join(json.dumps(line) + "\n" for line in lines).encode()
    note = {"status": "finished"}
    out.mkdir(parents=True)
    for name, content in {**parts, **samples}.items():
        if name not in (RECORD, WEIGHTS) and not name.startswith("fitted/"):
            (out / name).write_bytes(content)
    half = {k: v.half() for k, v in files.unpacked(folder / WEIGHTS, parts[WEIGHTS]).items()}
    digest = files.write_sealed_tensors(out / WEIGHTS, half, note)
    samples = {**samples, METRICS: parts[METRICS]}
    record["files"] |= {name: sha256(content).hexdigest() for name, content in samples.items()}
    record["files"][WEIGHTS] = digest
    files.write_sealed_json(out / RECORD, record)
    again = zspace.load(out, "cpu")
    print(f"{out.name}: {again.result['test']}", flush=True)


def digits() -> None:
    """The study on MNIST."""
    out = EXAMPLES / "digits"
    for name, (recipe, options) in DIGITS.items():
        if (out / "runs" / name).exists():
            continue
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made) / name
            zspace.train(
                recipe, data="mnist", out=folder, epochs=EPOCHS, quiet=True, **NET, **options
            )
            packed(folder, out / "runs" / name, {})
    data = zspace.data.load("mnist", quiet=True)
    y = data.test.labels().numpy()
    rows = np.sort(np.concatenate([np.flatnonzero(y == k)[:EACH] for k in range(10)]))
    x = np.round(255 * data.test.images()[rows, 0].numpy()).astype(np.uint8)
    np.savez_compressed(out / "samples.npz", x=x, y=y[rows].astype(np.uint8), allow_pickle=False)
    entries = [
        {"name": name, "family": family(name), "status": "finished", "reason": ""}
        for name in sorted(DIGITS, key=order)
    ]
    held = {"samples.npz": sha256((out / "samples.npz").read_bytes()).hexdigest()}
    told = {"format": 1, "runs": entries, "files": held}
    (out / "study.json").write_text(json.dumps(told, indent=2) + "\n")


def family(name: str) -> str:
    """The family of a run of the study: its recipe, and the weight of the KL where it is not 1."""
    recipe, options = DIGITS[name]
    beta = options.get("beta")
    return recipe.replace("_", "-") + ("" if beta is None else f" beta={beta:g}")


def order(name: str) -> tuple[int, float]:
    """Plain runs first, then the series of weights."""
    plain = ("ae-2", "vae-2", "cvae-2", "ae-20", "vae-20", "cvae-20")
    if name in plain:
        return plain.index(name), 0
    return len(plain), DIGITS[name][1]["beta"]


def signals() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Windows (N, T, 1) float32 and labels: slow waves, waves with a faster one on top, bursts."""
    rng = np.random.default_rng(0)
    t = np.arange(STEPS) / STEPS
    phase = rng.uniform(0, 2 * np.pi, (WINDOWS, 2, 1))
    height = rng.uniform(0.5, 1.5, (WINDOWS, 2, 1))
    slow = height[:, 0] * np.sin(2 * np.pi * t + phase[:, 0])
    fast = 0.6 * height[:, 1] * np.sin(2 * np.pi * 4 * t + phase[:, 1])
    middle, width = rng.uniform(0.2, 0.8, (WINDOWS, 1)), rng.uniform(0.05, 0.1, (WINDOWS, 1))
    burst = 2 * height[:, 1] * np.exp(-0.5 * ((t - middle) / width) ** 2)
    y = np.arange(WINDOWS) % 3
    x = np.stack([slow, slow + fast, burst])[y, np.arange(WINDOWS)]
    x += 0.05 * rng.standard_normal(x.shape)
    return x[:, :, None].astype(np.float32), y, ["slow wave", "two waves", "burst"]


def windows(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The series as an .npz file, and how it is trained."""
    x, y, names = signals()
    np.savez(folder / "signals.npz", x=x, y=np.array(names)[y], allow_pickle=False)
    return Path("signals.npz"), {"recipe": "vae", "kind": "series", "latent": 2, "epochs": 60}


def wine(folder: Path) -> tuple[Path, dict[str, Any]]:
    """scikit-learn's wines as a .csv file, and how it is trained."""
    from sklearn.datasets import load_wine

    found = load_wine(as_frame=True)
    table = found.frame.drop(columns="target")
    table["cultivar"] = [f"cultivar {k + 1}" for k in found.target]
    held = np.arange(len(table)) % 3 == 0  # a tenth would be 18 rows
    table[~held].to_csv(folder / "wine.csv", index=False)
    table[held].to_csv(folder / "wine-test.csv", index=False)
    options = {"recipe": "vae", "labels": "cultivar", "latent": 2, "epochs": 200}
    return Path("wine.csv"), {**options, "batch": 32, "test": "wine-test.csv"}


def molecules(source: Path) -> Callable[[Path], tuple[Path, dict[str, Any]]]:
    """The first molecules of MOSES as an .smi file, and how it is trained."""

    def made(folder: Path) -> tuple[Path, dict[str, Any]]:
        with gzip.open(source, "rt", encoding="ascii") as lines:
            told = list(itertools.islice(lines, 1, MOLECULES + 1))
        (folder / "molecules.smi").write_text("".join(told))
        options = {"recipe": "sentence_vae", "latent": 2, "epochs": 60, "width": 48}
        options |= {"fade": 1.0, "free_bits": 0.5}  # a map of two dimensions is to be seen
        return Path("molecules.smi"), {**options, "hidden": None}

    return made


def one(name: str, prepare: Callable[[Path], tuple[Path, dict[str, Any]]]) -> None:
    """A run of its own, trained on a file, with its test samples as a file of the same sort."""
    out = EXAMPLES / name
    if (out / RECORD).exists():
        return
    with tempfile.TemporaryDirectory() as made:
        here = Path.cwd()
        os.chdir(made)
        try:
            path, options = prepare(Path(made))
            options = {k: v for k, v in {**NET, **options}.items() if v is not None}
            run = zspace.train(
                options.pop("recipe"), data=str(path), out="run", quiet=True, **options
            )
            packed(Path("run"), out, test_samples(path, run))
        finally:
            os.chdir(here)


def test_samples(path: Path, run: zspace.Run) -> dict[str, bytes]:
    """The test samples of a run, cut from the file that it was trained on."""
    test = run.data().test
    rows = test.index.numpy()
    name = f"samples{path.suffix}"
    if path.suffix == ".csv":
        shutil.copy("wine-test.csv", name)
    elif path.suffix == ".npz":
        with np.load(path) as found:
            np.savez_compressed(name, x=found["x"][rows], y=found["y"][rows], allow_pickle=False)
    else:
        lines = path.read_text().splitlines(keepends=True)
        Path(name).write_text("".join(lines[i] for i in rows))
    return {name: Path(name).read_bytes()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--molecules", type=Path, required=True, help="train.csv.gz of MOSES")
    parser.add_argument("--only", default="", help="digits, signals, wine or molecules")
    args = parser.parse_args()
    source = args.molecules.resolve()
    jobs: dict[str, Callable[[], None]] = {
        "signals": lambda: one("signals", windows),
        "wine": lambda: one("wine", wine),
        "molecules": lambda: one("molecules", molecules(source)),
        "digits": digits,
    }
    for name, job in jobs.items():
        if args.only in ("", name):
            job()
    sizes = [path.stat().st_size for path in EXAMPLES.rglob("*") if path.is_file()]
    print(f"{sum(sizes):,} bytes in all, {max(sizes):,} in the largest file")


if __name__ == "__main__":
    main()
