"""What the KL term changes, and what the label changes: a small study from Python.

    python examples/compare.py

Takes some minutes on two cores. Expect `studies/mnist5k/report.html` and a table. In it the plain
autoencoder has the lowest squared error (about 9 at code size 20). The VAE has a higher one, the
price of a space that can be sampled: about 18 with drawn codes, and still more than the
autoencoder's with mean codes. The label takes over part of the information in the code (the KL
falls from 11 to 8).
"""

from __future__ import annotations

import argparse

import zspace
from zspace.runs.comparison import compare
from zspace.runs.many import open_study, over_seeds, quality_cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    epochs = parser.parse_args().epochs
    report = zspace.study(["ae", "vae", "cvae"], latent=[2, 20], epochs=epochs)
    study = open_study(report.parent)
    for family, sizes in study.families.items():
        for latent, runs in sizes.items():
            mse, kl = over_seeds(runs, "test", "mse"), over_seeds(runs, "test", "kl")
            mean = quality_cells(runs)["mse_mean_code"]
            print(f"{family:5} code size {latent:2}   mse {mse}, of mean codes {mean}   "
                  f"kl {kl or '-'}")  # fmt: skip
    print(compare([report.parent]).text("table"))
    print(f"open {report}")


if __name__ == "__main__":
    main()
