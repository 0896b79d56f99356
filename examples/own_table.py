"""Your own table: train on a DataFrame, read codes, fill in what is missing.

    python examples/own_table.py

Takes about 20 seconds on two cores. Expect the codes of three wines, and a row whose missing
values have become plausible ones: the mean absolute error is below that of column means.
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_wine

import zspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=300)
    epochs = parser.parse_args().epochs
    table = load_wine(as_frame=True).data
    rng = np.random.default_rng(0)
    gaps = table.mask(rng.random(table.shape) < 0.1)  # a tenth of the values is gone

    run = zspace.train("vae", data=gaps, latent=4, epochs=epochs, out=False)
    print("codes of three wines", run.encode(gaps[:3]).round(2), sep="\n")
    filled = run.impute(gaps)
    gone, scale = gaps.isna(), table.std()
    for name, guess in (("column means", gaps.fillna(gaps.mean())), ("zspace", filled)):
        error = ((guess - table).abs() / scale).to_numpy()[gone.to_numpy()].mean()
        print(f"{name}: mean absolute error of missing values, in standard deviations {error:.2f}")


if __name__ == "__main__":
    main()
