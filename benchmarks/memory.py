"""The most memory that using a run takes, under a limit of the address space.

    python benchmarks/memory.py [--net conv mlp] [--limit 8e9] [--only sample measure]

Runs are trained on a few images of 64 × 64 and 256 × 256; then 8,000 samples of the first are
drawn, and 700 images of the second are encoded, decoded, embedded and measured. Printed: the CPU
seconds, and the peak of the resident memory so far. It ends with an error where the memory runs
out.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np


def used(net: str, only: Sequence[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is done, and how; a run is trained where something is done with it."""
    import zspace
    from zspace.analysis.anomaly import squared_error
    from zspace.analysis.trained import each
    from zspace.runs.measured import embed

    random = np.random.RandomState(0)

    def run(side: int) -> zspace.Run:
        few = random.randint(0, 255, (10, side, side), np.uint8)
        options = {"net": net, "latent": 4, "epochs": 1, "quiet": True, "out": False}
        return zspace.train("vae", data=few, batch=2, **options)

    small, large = cache(partial(run, 64)), cache(partial(run, 256))
    many = random.randint(0, 255, (700, 256, 256), np.uint8)
    z, out = np.zeros((700, 4), np.float32), Path("codes.npz")

    def measured(run: zspace.Run) -> object:
        samples = next(iter(run.data(many).splits.values()))
        return each(run, samples, lambda batch: {"error": squared_error(run, batch)})

    work: dict[str, Callable[[], object]] = {
        "train on 10 of 64 × 64": lambda: small(),
        "sample(8000) of 64 × 64": lambda: small().sample(8000),
        "train on 10 of 256 × 256": lambda: large(),
        "encode(700) of 256 × 256": lambda: large().encode(many),
        "decode(700) of 256 × 256": lambda: large().decode(z),
        "embed 700 of 256 × 256": lambda: embed(large(), many, out=out),
        "measure 700 of 256 × 256": lambda: measured(large()),
    }
    yield from ((k, v) for k, v in work.items() if not only or any(word in k for word in only))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", nargs="+", default=["conv", "mlp"])
    parser.add_argument("--limit", type=float, default=8e9, help="bytes of address space")
    parser.add_argument("--only", nargs="*", default=[], help="words in what is done")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (int(args.limit), int(args.limit)))
    os.chdir(tempfile.mkdtemp())
    print("| network | what | CPU seconds | peak |\n|---|---|---|---|")
    for net in args.net:
        for what, do in used(net, args.only):
            start = time.process_time()
            do()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
            took = f"{time.process_time() - start:.1f} s"
            print(f"| {net} | {what} | {took} | {peak:.2f} GB |", flush=True)


if __name__ == "__main__":
    main()
