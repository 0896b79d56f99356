"""What the report says of a study, held to its own models: exits with 1 where it is not so.

    python benchmarks/claims.py STUDY

1. The marginals of the autoencoder's codes are far from N(0, 1); those of the VAE's much nearer.
2. Samples of the conditional VAE asked for a digit are that digit: a classifier trained on real
   training images (50 principal components, a support vector machine) agrees on at least 97%.
3. What the autoencoder decodes from N(0, I) is not: images that are clearly one digit, with ten
   nearest training images all of one class, are at most half as frequent as among the VAE's.
   Beside it stands the share among samples from a mixture fitted to codes.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import SVC

import zspace
from zspace.analysis.latents import posterior_summary
from zspace.data.dataset import Data
from zspace.runs.many import open_study

TRAINING = 20_000


class Judge:
    """A classifier of real images, and their neighbours among the training images."""

    def __init__(self, data: Data) -> None:
        x, y = data.train.images().flatten(1).numpy()[:TRAINING], data.train.labels().numpy()
        self.pca = PCA(50, random_state=0).fit(x)
        z = self.pca.transform(x)
        self.svm = SVC(C=10).fit(z, y[:TRAINING])
        self.near, self.y = NearestNeighbors(n_neighbors=10).fit(z), y[:TRAINING]
        test = data.test.images().numpy()
        self.accuracy = float((self.classes(test) == data.test.labels().numpy()).mean())
        self.clear_test = self.clear(test)

    def project(self, x: np.ndarray) -> np.ndarray:
        return self.pca.transform(x.reshape(len(x), -1))

    def classes(self, x: np.ndarray) -> np.ndarray:
        return self.svm.predict(self.project(x))

    def clear(self, x: np.ndarray) -> float:
        """The share of images whose ten nearest training images are all of one class."""
        neighbours = self.y[self.near.kneighbors(self.project(x), return_distance=False)]
        return float((neighbours == neighbours[:, :1]).all(1).mean())


def agreement(judge: Judge, run: zspace.Run, each: int = 200) -> float:
    """The share of conditional samples that the judge takes for the digit asked for."""
    y = np.repeat(np.arange(len(run.spec.classes)), each)
    return float((judge.classes(run.sample(len(y), label=y, seed=0)) == y).mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study")
    study = open_study(parser.parse_args().study)
    judge = Judge(study.data)
    print(f"judge: {judge.accuracy:.1%} of test images right, {judge.clear_test:.1%} clear\n")
    print("| family | size | mean KS to N(0, 1) | clear, N(0, I) | clear, mixture | right digit |")
    print("|---|---|---|---|---|---|")
    found: dict[tuple[str, int], tuple[float, float, float | None]] = {}
    for family, sizes in study.families.items():
        for latent, (run, *_) in sizes.items():
            ks = float(np.mean(posterior_summary(run, study.data).ks))
            near = judge.clear(run.sample(1000, seed=1, sampler="prior"))
            run.mixture(study.data)
            fitted = judge.clear(run.sample(1000, seed=1, sampler="mixture"))
            right = agreement(judge, run) if run.model.context else None
            found[family, latent] = ks, near, right
            shown = "" if right is None else f"{right:.1%}"
            print(
                f"| {family} | {latent} | {ks:.3f} | {near:.1%} | {fitted:.1%} | {shown} |",
                flush=True,
            )
    return verdict(found, study.chosen)


def verdict(found: dict[tuple[str, int], tuple[float, float, float | None]], chosen) -> int:
    """0 where all three claims hold at the code sizes that were chosen."""
    ae, vae, cvae = (found[name, chosen[name]] for name in ("ae", "vae", "cvae"))
    claims = {
        "the AE's marginals are at least 3 times as far from N(0, 1)": ae[0] > 3 * vae[0],
        "the CVAE draws the digit asked for in 97% and more": (cvae[2] or 0) >= 0.97,
        "the AE's draws of N(0, I) are clear at most half as often as the VAE's": ae[1]
        < 0.5 * vae[1],
    }
    print()
    for claim, holds in claims.items():
        print(f"{'holds' if holds else 'FAILS'}: {claim}")
    return 0 if all(claims.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
