"""Fine-tune: go on from a finished run with other data of the same shape.

    python examples/fine_tune.py

Takes about half a minute on two cores. Expect two errors on the test images of a few hundred odd
digits: that of a model trained on these alone, and the lower one of a model that begins with the
weights of a run on even digits.
"""

from __future__ import annotations

import argparse

import zspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    epochs = parser.parse_args().epochs
    data = zspace.data.load("mnist5k").train
    x, odd = data.images(), data.labels() % 2 == 1
    few = x[odd][:400]

    even = zspace.train("vae", data=x[~odd], epochs=epochs, out=False)
    alone = zspace.train("vae", data=few, epochs=epochs, out=False)
    tuned = zspace.train(from_run=even, data=few, epochs=epochs, out=False)
    for name, run in (("from nothing", alone), ("from even digits", tuned)):
        print(f"{name}: squared error {run.result['test']['mse']:.2f}")


if __name__ == "__main__":
    main()
