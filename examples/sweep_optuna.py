"""A search by Optuna: it proposes options, zspace trains in memory, validation decides.

    pip install optuna
    python examples/sweep_optuna.py

Takes about a minute on two cores. Expect a line per trial, and the best learning rate and code
size of twelve by squared error plus KL on the validation images; test images are not looked at.
"""

from __future__ import annotations

import argparse

import optuna

import zspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--trials", type=int, default=12)
    args = parser.parse_args()

    def objective(trial: optuna.Trial) -> float:
        options = {
            "lr": trial.suggest_float("lr", 3e-4, 1e-2, log=True),
            "latent": trial.suggest_int("latent", 2, 32, log=True),
        }
        run = zspace.train("vae", epochs=args.epochs, out=False, quiet=True, **options)
        return run.result["validation"]["objective"]

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=min(args.trials, 2 * args.epochs + 2))
    print(f"best of {len(study.trials)}: {study.best_value:.2f} with {study.best_params}")


if __name__ == "__main__":
    main()
