"""Write what the jobs of benchmarks/jobs read into the present folder.

    python benchmarks/jobs/prepare.py

pictures/ holds scikit-learn's digits as PNG files, one sub-folder per class; new.npy eight of them
as floats (8, 1, 32, 32) in [0, 1]; rows.csv the wines with a category; gaps.csv the same without a
tenth of the values; ordinary.csv and new.csv numbers alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_wine


def main() -> None:
    digits, wine = load_digits(), load_wine(as_frame=True)
    x = []
    for i, (picture, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = Path("pictures") / str(label) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        large = Image.fromarray((picture * 15.9).astype(np.uint8)).resize((32, 32))
        large.save(path)
        x.append(np.asarray(large, np.float32)[None] / 255)
    np.save("new.npy", np.stack(x[:8]))
    rows = wine.data.assign(cultivar=wine.target_names[wine.target])
    rows.to_csv("rows.csv", index=False)
    hole = np.random.default_rng(0).random(rows.shape) < 0.1
    rows.mask(hole).to_csv("gaps.csv", index=False)
    wine.data[wine.target < 2].to_csv("ordinary.csv", index=False)
    wine.data[wine.target == 2].to_csv("new.csv", index=False)


if __name__ == "__main__":
    main()
