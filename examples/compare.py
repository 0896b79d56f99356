"""What the KL term changes, and then the label: a small study from Python.

    python examples/compare.py

Takes some minutes on two cores. Expect `studies/mnist5k/report.html` and a table in which the
plain autoencoder has the lowest squared error (about 9 at code size 20), the VAE pays for a space
that can be sampled (about 18), and the label takes over part of what the code had to say (its KL
falls from 11 to 8).
"""

from __future__ import annotations

import argparse

from zspace.runs.many import open_study, over_seeds
from zspace.studies import launch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    epochs = parser.parse_args().epochs
    report = launch.study(["ae", "vae", "cvae"], latent=[2, 20], choices=[f"epochs={epochs}"])
    study = open_study(report.parent)
    for family, sizes in study.families.items():
        for latent, runs in sizes.items():
            mse, kl = over_seeds(runs, "test", "mse"), over_seeds(runs, "test", "kl")
            print(f"{family:5} code size {latent:2}   mse {mse}   kl {kl or '-'}")
    print(f"open {report}")


if __name__ == "__main__":
    main()
