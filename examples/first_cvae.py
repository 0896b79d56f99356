"""Train a conditional VAE and generate images of sevens.

    python examples/first_cvae.py

Takes about half a minute on two cores. Expect `sevens.png`, five rows of ten sevens in different
handwritings, and a squared error of about 20 with a KL of about 7 on the test images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import zspace
from zspace.system.pixels import save_png, tile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    run = zspace.train("cvae", data="mnist5k", latent=20, epochs=parser.parse_args().epochs)
    sevens = run.sample(50, label=7, seed=0)  # (50, 1, 28, 28) in [0, 1]
    save_png(Path("sevens.png"), tile(sevens, columns=10), least=600)
    print({name: round(value, 2) for name, value in run.result["test"].items()})


if __name__ == "__main__":
    main()
