"""Folders of JPEG files: images per second of `zspace.data.load`, against a loop with Pillow.

    python benchmarks/decoding.py --data-dir DIR [--turns 5] [--only 64 500 1600]

DIR holds cifar10-jpeg/test.tar.gz, from whose images three folders are made in a temporary one:
2,000 of 64 x 64, 500 of 500 x 375 and 100 of 1600 x 1200, upscaled with noise, quality 90. Each
side has a process of its own, in which everything is imported, and they take turns, of which each
second one is in the other order:

zspace  load(folder, size=64) with two threads, and the fingerprint that a training notes: listing,
        reading, the range of values, ids, splits
Pillow  a pool of two processes, which is started in each turn; each file opened, decoded with
        draft, resized and cropped to 64 x 64 (ImageOps.fit, Lanczos), and copied into one array

Printed: medians over the turns, with CPU seconds of all processes beside seconds of the clock, and
what zspace's seconds are made of. A share of Pillow's rate below 90% is an error.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import resource
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

FOLDERS = {"64": (2000, (64, 64)), "500": (500, (500, 375)), "1600": (100, (1600, 1200))}
SIDE, QUALITY, NOISE = 64, 90, 6.0
WORKERS = 2
TARGET = 0.9


def made(folder: Path, archive: Path, most: int, size: tuple[int, int]) -> int:
    """Write so many JPEG files of that width and height, or as many as the archive holds."""
    random = np.random.RandomState(0)
    folder.mkdir()
    with tarfile.open(archive) as tar:
        names = [one for one in tar if one.name.endswith(".jpg")][:most]
        for i, name in enumerate(names):
            file = tar.extractfile(name)
            assert file is not None
            with Image.open(io.BytesIO(file.read())) as image:
                large = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
            noisy = np.asarray(large) + random.normal(0, NOISE, (*size[::-1], 3))
            pixels = noisy.round().clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:05}.jpg", quality=QUALITY)
    return len(names)


def one(path: Path) -> np.ndarray:
    """An image (SIDE, SIDE, 3), as Pillow reads it."""
    with Image.open(path) as image:
        image.draft("RGB", (SIDE, SIDE))
        return np.asarray(ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.LANCZOS))


def by_pillow(folder: Path) -> np.ndarray:
    paths = sorted(folder.iterdir())
    found = np.empty((len(paths), SIDE, SIDE, 3), np.uint8)
    chunk = max(1, min(32, len(paths) // (8 * WORKERS)))
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        for i, image in enumerate(pool.imap(one, paths, chunk)):
            found[i] = image
    return found


def by_zspace(folder: Path) -> np.ndarray:
    from zspace.data.loading import load

    data = load(folder, size=SIDE, quiet=True, workers=WORKERS)
    assert data.fingerprint
    x: np.ndarray = data.train.x.numpy().transpose(0, 2, 3, 1)
    return x


def parts(folder: Path) -> dict[str, float]:
    """Seconds of what `by_zspace` does, one after the other."""
    from zspace.data.dataset import Data, Unsplit
    from zspace.data.readers import folder as reader

    seconds: dict[str, float] = {}

    def timed(what: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            found = work(*args, **kwargs)
            seconds[what] = time.perf_counter() - start
            return found

        return run

    kept = reader.find_files, reader.survey_of, Unsplit.data
    reader.find_files = timed("listing", kept[0])
    reader.survey_of = timed("reading", kept[1])
    Unsplit.data = timed("splits", kept[2])  # type: ignore[method-assign]
    try:
        fingerprint = Data.fingerprint.func  # type: ignore[attr-defined]
        Data.fingerprint.func = timed("fingerprint", fingerprint)  # type: ignore[attr-defined]
        timed("all", by_zspace)(folder)
    finally:
        reader.find_files, reader.survey_of, Unsplit.data = kept  # type: ignore[method-assign]
        Data.fingerprint.func = fingerprint  # type: ignore[attr-defined]
    whole = seconds.pop("all")
    return seconds | {"values and ids": whole - sum(seconds.values())}


def cpu() -> float:
    """CPU seconds of this process and of those that it started and that have ended."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def turn(who: str, folder: Path) -> tuple[float, float, np.ndarray]:
    """Seconds of the clock, CPU seconds, and the images."""
    read = {"zspace": by_zspace, "Pillow": by_pillow}[who]
    before, start = cpu(), time.perf_counter()
    found = read(folder)
    return time.perf_counter() - start, cpu() - before, found


def processor() -> str:
    from zspace.system.device import processor

    return processor()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="holds cifar10-jpeg")
    parser.add_argument("--turns", type=int, default=5, help="of each side")
    parser.add_argument("--only", nargs="*", default=[*FOLDERS], choices=[*FOLDERS])
    args = parser.parse_args()
    spawned = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as root,
        ProcessPoolExecutor(1, spawned) as ours,
        ProcessPoolExecutor(1, spawned) as theirs,
    ):
        print(f"{ours.submit(processor).result()}; {WORKERS} workers; medians of {args.turns}\n")
        print("| folder | who | images per second | seconds | CPU seconds | share | of CPU time |")
        print("|---|---|---|---|---|---|---|")
        shares, told = [], []
        for name in args.only:
            most, size = FOLDERS[name]
            folder = Path(root, name)
            count = made(folder, args.data_dir / "cifar10-jpeg" / "test.tar.gz", most, size)
            found: dict[str, list[tuple[float, float, np.ndarray]]] = {"zspace": [], "Pillow": []}
            for number in range(args.turns + 1):  # the first one warms the files
                sides = [("zspace", ours), ("Pillow", theirs)]
                for who, process in sides[:: -1 if number % 2 else 1]:
                    result = process.submit(turn, who, folder).result()
                    found[who] += [result] * (number > 0)
            one, other = (found[who][0][2].astype(int) for who in found)
            assert np.abs(one - other).mean() < 4, "the two do not read the same images"
            wall = {w: statistics.median(r[0] for r in found[w]) for w in found}
            used = {w: statistics.median(r[1] for r in found[w]) for w in found}
            for who in found:
                what = f"{count:,} of {size[0]} x {size[1]}"
                print(
                    f"| {what} | {who} | {count / wall[who]:,.0f} | {wall[who]:.3f} | "
                    f"{used[who]:.3f} | {wall['Pillow'] / wall[who]:.0%} | "
                    f"{used['Pillow'] / used[who]:.0%} |",
                    flush=True,
                )
            shares.append(wall["Pillow"] / wall["zspace"])
            each = [ours.submit(parts, folder).result() for _ in range(3)]
            median = {k: statistics.median(one[k] for one in each) for k in each[0]}
            told.append(f"{size[0]} x {size[1]}: " + ", ".join(
                f"{what} {seconds:.3f} s" for what, seconds in median.items()
            ))  # fmt: skip
    print("\nWhat zspace's seconds are made of:\n", *told, sep="\n")
    return int(min(shares) < TARGET)


if __name__ == "__main__":
    sys.exit(main())
