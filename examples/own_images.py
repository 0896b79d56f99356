"""Your own images: train on a folder with one sub-folder per class, reconstruct, sample.

    python examples/own_images.py

Takes about half a minute on two cores. Expect the folder `digits` of small pictures, and
`digits.png`: a row of pictures, a row of their reconstructions, and a row of new ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import zspace
from zspace.system.pixels import save_png, tile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    epochs = parser.parse_args().epochs
    found = load_digits()  # stands for your pictures
    for i, (picture, label) in enumerate(zip(found.images, found.target, strict=True)):
        path = Path("digits") / str(label) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture * 15.9).astype(np.uint8)).resize((32, 32)).save(path)

    run = zspace.train("vae", data="digits", latent=10, epochs=epochs)
    x = run.data().test.images()[::18]
    save_png(Path("digits.png"), tile(np.concatenate([x, run.reconstruct(x).numpy(),
             run.sample(10, seed=0)]), columns=10), least=600)  # fmt: skip
    print({name: round(value, 2) for name, value in run.result["test"].items()})


if __name__ == "__main__":
    main()
