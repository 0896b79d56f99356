"""Synthetic rows: train on a table of numbers and categories, draw rows like it.

    python examples/synthetic_rows.py

Takes about 20 seconds on two cores. Expect `synthetic.csv` with 500 rows, and beside each other
means of real and synthetic columns, which differ by a few per cent of their spread.
"""

from __future__ import annotations

import argparse

from sklearn.datasets import load_wine

import zspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=300)
    epochs = parser.parse_args().epochs
    found = load_wine(as_frame=True)
    table = found.data[["alcohol", "malic_acid", "ash", "color_intensity", "proline"]]
    table = table.assign(cultivar=found.target_names[found.target])  # a category

    run = zspace.train("vae", data=table, latent=4, epochs=epochs, out=False)
    made = run.sample(500, seed=0)
    made.to_csv("synthetic.csv", index=False)
    print("real", table.describe().loc[["mean", "std"]].round(2), sep="\n")
    print("synthetic", made.describe().loc[["mean", "std"]].round(2), sep="\n")
    print(made["cultivar"].value_counts(normalize=True).round(2).to_dict())


if __name__ == "__main__":
    main()
