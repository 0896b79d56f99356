"""Series and tokens: three measurements, each a table.

    python benchmarks/sequences.py first --series DIR [--chorales FILE] [--smiles FILE.txt]
        [--chem-python PATH] [--minutes 2]
    python benchmarks/sequences.py collapse --tokens FILE [--epochs 10] [--seeds 0 1 2]
    python benchmarks/sequences.py gaps --series DIR [--minutes 2] [--latent 16] [--seeds 0]
    python benchmarks/sequences.py fill --series DIR --minutes 0 --epochs 10 --every 2 [--only air]

first     one training of so many minutes for each set, all defaults but the recipe: what comes out
collapse  sentence-vae at its defaults, the same network without any measure against collapse
          (vae, no word dropout), and an LSTM language model (peers/lstm_lm.py), in equal seconds
gaps      windows (N, T, D) that overlap, split in time order (70/10/20) with T - 1 windows left
          out at each border: an autoencoder against PCA of as many dimensions; and a VAE that was
          trained on windows with gaps against linear interpolation, on gaps of two sorts: a fifth
          of the cells at random, and 6 steps in a quarter of the channels
fill      the latter part alone

A set of series is the array `data` of an .npz; -200 means missing where --missing says so. What is
measured of series is in units of each channel's standard deviation in the training windows.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

PEERS = Path(__file__).parent / "peers"
MISSING = {"air": -200.0}
"""What means missing in a set whose name begins so."""


def train(recipe: str, **options: Any) -> tuple[Any, float]:
    """A run, and the CPU seconds that it took."""
    import zspace

    begin = time.process_time()
    folder = Path(tempfile.mkdtemp()) / "run"
    run = zspace.train(recipe, out=folder, quiet=not sys.stderr.isatty(), **options)
    return run, time.process_time() - begin


def active(run: Any) -> str:
    from zspace.analysis import latents

    kl = latents.posterior_summary(run, run.data()).kl
    return f"{int((kl > latents.ACTIVE).sum())} of {len(kl)}"


def first(args: argparse.Namespace) -> None:
    print("| set | recipe | epochs | CPU s | test error | KL, nats | active | comes back |")
    print("|---|---|---|---|---|---|---|---|")
    for path in sorted(Path(args.series).glob("*.npz")) if args.series else ():
        missing = [str(m) for name, m in MISSING.items() if path.stem.startswith(name)]
        run, cpu = train("vae", data=str(path), minutes=args.minutes, missing=tuple(missing))
        _row(path.stem.partition("_")[0], run, cpu)
    if args.chorales:
        run, cpu = train("sentence-vae", data=args.chorales, minutes=args.minutes)
        _row("chorales", run, cpu)
    if args.smiles:
        run, cpu = train("sentence-vae", data=args.smiles, minutes=args.minutes, tokens="smiles")
        _row("molecules", run, cpu)
        if args.chem_python:
            print(_molecules(run, args.smiles, args.chem_python))


def _row(name: str, run: Any, cpu: float) -> None:
    result = run.result
    terms, quality = result["test"], result["quality"]["test"]
    bits = result.get("bits_per_dimension", {}).get("test")
    error = f"{bits:.3f} bits per token" if bits is not None else f"{terms['nll']:.1f} nats"
    if bits is None:
        usual = run.encoding.usual
        shares = [quality[c] / usual[c] for c in quality if usual.get(c)]
        back = f"error {np.median(shares):.2f} of the mean's (median of channels)"
    else:
        back = f"tokens {quality['accuracy']:.3f}, whole {quality['exact']:.3f}"
    print(
        f"| {name} | {run.config.recipe} | {result['epochs']} | {cpu:.0f} | {error} | "
        f"{terms['kl']:.1f} | {active(run)} | {back} |",
        flush=True,
    )


def _molecules(run: Any, train_file: str, python: str) -> str:
    folder = Path(tempfile.mkdtemp())
    made = folder / "made.txt"
    made.write_text("\n".join(run.sample(10_000, seed=0)) + "\n")
    done = subprocess.run(
        [python, PEERS / "chemistry.py", made, train_file],
        capture_output=True,
        text=True,
        check=True,
    )
    return f"10,000 drawn: {done.stdout.strip()}"


def collapse(args: argparse.Namespace) -> None:
    import zspace

    data = zspace.data.load(args.tokens, quiet=True, tokens=args.cut)
    folder = Path(tempfile.mkdtemp())
    parts = {n: s.images().numpy() for n, s in data.splits.items()}
    np.savez(folder / "tokens.npz", vocabulary=data.spec.vocabulary, **parts)
    print("| model | seed | epochs | CPU s | bits per token | KL, nats | active | whole |")
    print("|---|---|---|---|---|---|---|---|")
    for seed in args.seeds:
        seconds = 0.0
        for title, recipe, options in (
            ("sentence-vae", "sentence-vae", {}),
            ("without", "vae", {"word_dropout": 0.0}),
        ):
            run, cpu = train(recipe, data=data, epochs=args.epochs, seed=seed, **options)
            seconds = max(seconds, cpu)
            found = zspace.evaluate(run, sections=("likelihood",)) if args.draws else {}
            bits = _bits(found) or run.result["bits_per_dimension"]["test"]
            print(
                f"| {title} | {seed} | {run.result['epochs']} | {cpu:.0f} | {bits:.3f} | "
                f"{run.result['test']['kl']:.2f} | {active(run)} | "
                f"{run.result['quality']['test']['exact']:.3f} |",
                flush=True,
            )
        peer_args = [str(folder / "tokens.npz"), f"{seconds:.0f}", "--seed", str(seed)]
        command = [sys.executable, str(PEERS / "lstm_lm.py"), *peer_args]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peer = json.loads(done.stdout)
        print(
            f"| LSTM | {seed} | | {peer['seconds']:.0f} | {peer['test']:.3f} | | | |", flush=True
        )


def _bits(record: Any) -> float | None:
    """The importance-weighted bound in bits per token, of what `zspace.evaluate` returns."""
    from zspace.runs.measured import measures_of

    found = measures_of(record).get("likelihood", {}) if record else {}
    every = [m for name, m in found.items() if name.startswith("iw") and name.endswith("bits")]
    return every[0].value if every else None


def gaps(args: argparse.Namespace) -> None:
    from sklearn.decomposition import PCA

    print("| set | seed | what | ours | other |")
    print("|---|---|---|---|---|")
    for path in sorted(Path(args.series).glob("*.npz")):
        name = path.stem.partition("_")[0]
        if not name.startswith(args.only):
            continue
        with np.load(path) as archive:
            x = archive["data"].astype(np.float64)
        for start, marker in MISSING.items():
            if name.startswith(start):
                x[x == marker] = np.nan
        parts = {split: one[:: args.every] for split, one in _cut(x).items()}
        flat = parts["train"].reshape(-1, x.shape[2])
        mean, sd = np.nanmean(flat, 0), np.nanstd(flat, 0)
        sd[sd == 0] = 1
        scaled = {split: (one - mean) / sd for split, one in parts.items()}
        for seed in args.seeds:
            if args.what == "fill":
                _filled(name, parts, scaled, (mean, sd), args, seed)
                continue
            options = {"latent": args.latent, "seed": seed, **_length(args)}
            data = {f"x_{short}": parts[s] for s, short in SHORT.items()}
            run, _ = train("ae", data=data, kind="series", **options)
            ours = (run.reconstruct(parts["test"]) - mean) / sd
            pca = PCA(args.latent, random_state=0).fit(_whole(scaled["train"]))
            back = pca.inverse_transform(pca.transform(_whole(scaled["test"])))
            other = back.reshape(ours.shape)
            seen = ~np.isnan(scaled["test"])
            print(
                f"| {name} | {seed} | reconstruction, {args.latent} dimensions: ae, PCA | "
                f"{_mse(ours, scaled['test'], seen):.4f} | "
                f"{_mse(other, scaled['test'], seen):.4f} |",
                flush=True,
            )
            _filled(name, parts, scaled, (mean, sd), args, seed)


def _filled(name: str, parts: Any, scaled: Any, scale: Any, args: Any, seed: int) -> None:
    """Gaps of two sorts, filled by a VAE that was trained on windows with such gaps, and lines."""
    random = np.random.default_rng(seed)
    holed = {}
    for split, one in parts.items():
        halves = zip(SORTS.values(), np.array_split(one, 2), strict=True)
        hidden = np.concatenate([hide(half.shape, random) for hide, half in halves])
        holed[f"x_{SHORT[split]}"] = np.where(hidden, np.nan, one)
    options = {"latent": args.gap_latent, "seed": seed, **_length(args)}
    run, _ = train("vae", data=holed, kind="series", **options)
    test, (mean, sd) = parts["test"], scale
    for sort, hide in SORTS.items():
        hidden = hide(test.shape, np.random.default_rng(100 + seed))
        given = np.where(hidden, np.nan, test)
        ours = (run.impute(given) - mean) / sd
        lines = _lines((given - mean) / sd)
        at = hidden & ~np.isnan(test)
        per = [
            (_mae(ours[..., j], scaled["test"][..., j], at[..., j]),
             _mae(lines[..., j], scaled["test"][..., j], at[..., j]))
            for j in range(test.shape[2]) if at[..., j].any()
        ]  # fmt: skip
        better = sum(a < b for a, b in per)
        print(
            f"| {name} | {seed} | {sort}: vae, linear; absolute error | "
            f"{np.mean([a for a, _ in per]):.4f} | {np.mean([b for _, b in per]):.4f} "
            f"({better} of {len(per)} channels better) |",
            flush=True,
        )


def _length(args: argparse.Namespace) -> dict[str, float]:
    return {"minutes": args.minutes} if args.minutes else {"epochs": args.epochs}


def _cells(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    return random.random(shape) < 0.2


def _blocks(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    n, steps, channels = shape
    starts = random.integers(0, steps - 5, (n, 1, channels))
    t = np.arange(steps)[None, :, None]
    order = random.random((n, 1, channels)).argsort(-1)
    return (t >= starts) & (t < starts + 6) & (order < max(1, channels // 4))


SORTS = {"a fifth of the cells": _cells, "6 steps in a quarter of the channels": _blocks}
SHORT = {"train": "train", "validation": "val", "test": "test"}


def _cut(x: np.ndarray) -> dict[str, np.ndarray]:
    n, gap = len(x), x.shape[1] - 1
    a, b = int(0.7 * n), int(0.8 * n)
    return {"train": x[: a - gap], "validation": x[a : b - gap], "test": x[b:]}


def _whole(x: np.ndarray) -> np.ndarray:
    """Windows flat, gaps filled along straight lines, which is what PCA needs."""
    return _lines(x).reshape(len(x), -1)


def _lines(x: np.ndarray) -> np.ndarray:
    """Gaps in windows (N, T, D) filled along straight lines; where nothing is seen, 0."""
    n, steps, channels = x.shape
    flat = x.transpose(0, 2, 1).reshape(-1, steps).copy()
    t = np.arange(steps)
    for i in np.flatnonzero(np.isnan(flat).any(1)):
        row, seen = flat[i], ~np.isnan(flat[i])
        row[~seen] = np.interp(t[~seen], t[seen], row[seen]) if seen.any() else 0.0
    return flat.reshape(n, channels, steps).transpose(0, 2, 1)


def _mse(a: np.ndarray, b: np.ndarray, at: np.ndarray) -> float:
    return float(np.square(a[at] - b[at]).mean())


def _mae(a: np.ndarray, b: np.ndarray, at: np.ndarray) -> float:
    return float(np.abs(a[at] - b[at]).mean()) if at.any() else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("first", "collapse", "gaps", "fill"))
    parser.add_argument("--series", help="a folder of .npz files")
    parser.add_argument("--chorales")
    parser.add_argument("--smiles")
    parser.add_argument("--chem-python", help="of an environment with rdkit")
    parser.add_argument("--tokens", help="collapse: the data")
    parser.add_argument("--cut", default="auto", help="collapse: how texts are cut")
    parser.add_argument("--draws", action="store_true", help="collapse: the bound of 100 draws")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--gap-latent", type=int, default=32)
    parser.add_argument("--every", type=int, default=1, help="gaps, fill: take each n-th window")
    parser.add_argument("--only", default="", help="gaps, fill: sets whose names begin so")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    {"first": first, "collapse": collapse, "gaps": gaps, "fill": gaps}[args.what](args)


if __name__ == "__main__":
    main()
