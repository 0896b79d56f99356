"""Anomalies in a table: train on ordinary rows, score new ones.

    python examples/anomalies.py

Takes about 20 seconds on two cores. Expect the five strangest of 341 tumours, and an AUROC above
0.9 for malignant against benign, though the model saw benign ones alone and no label.
"""

from __future__ import annotations

import argparse

from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

import zspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=100)
    epochs = parser.parse_args().epochs
    found = load_breast_cancer(as_frame=True)
    benign, malignant = found.data[found.target == 1], found.data[found.target == 0]
    ordinary, new = benign[:228], found.data.drop(benign.index[:228])

    run = zspace.train("vae", data=ordinary, latent=4, epochs=epochs, out=False)
    scores = -run.log_likelihood(new)  # nats: high where the model expected no such row
    print(new.assign(score=scores).nlargest(5, "score")[["score", "mean radius", "mean area"]])
    print(f"AUROC {roc_auc_score(new.index.isin(malignant.index), scores):.3f}")


if __name__ == "__main__":
    main()
