"""The most memory that using a run takes, under a limit of the address space.

    python benchmarks/memory.py [--net conv mlp] [--limit 8e9]

Runs are trained on a few images of 64 × 64 and 256 × 256; then 8,000 samples of the first are
drawn, and 700 images of the second are encoded, decoded, embedded and scored. Printed: the CPU
seconds, and the peak of the resident memory so far. It ends with an error where the memory runs
out.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def told(net: str, what: str, work: Callable[[], object]) -> None:
    """Do the work, and print what it took."""
    start = time.process_time()
    work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    seconds = time.process_time() - start
    print(f"| {net} | {what} | {seconds:.1f} s | {peak:.2f} GB |", flush=True)


def used(net: str) -> None:
    import zspace
    from zspace.runs.measured import embed, score

    options = {"net": net, "latent": 4, "epochs": 1, "quiet": True, "out": False}
    random = np.random.RandomState(0)
    few = {side: random.randint(0, 255, (10, side, side), np.uint8) for side in (64, 256)}
    small = zspace.train("vae", data=few[64], batch=4, **options)
    told(net, "sample(8000) of 64 × 64", lambda: small.sample(8000))
    large = zspace.train("vae", data=few[256], batch=2, **options)
    many = random.randint(0, 255, (700, 256, 256), np.uint8)
    told(net, "encode(700) of 256 × 256", lambda: large.encode(many))
    told(net, "decode(700) of 256 × 256", lambda: large.decode(np.zeros((700, 4), np.float32)))
    told(net, "embed 700 of 256 × 256", lambda: embed(large, many, out=Path("codes.npz")))
    told(net, "score 700 of 256 × 256", lambda: score(large, many, out=Path("s.csv")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", nargs="+", default=["conv", "mlp"])
    parser.add_argument("--limit", type=float, default=8e9, help="bytes of address space")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (int(args.limit), int(args.limit)))
    os.chdir(tempfile.mkdtemp())
    print("| network | what | CPU seconds | peak |\n|---|---|---|---|")
    for net in args.net:
        used(net)


if __name__ == "__main__":
    main()
