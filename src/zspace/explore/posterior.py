"""How near the codes of real images come to the prior N(0, I), in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from zspace.data import Data
from zspace.errors import UserError
from zspace.explore.latents import MOST, codes, draws
from zspace.explore.once import once
from zspace.explore.passes import over
from zspace.explore.picks import subset
from zspace.runs import Run
from zspace.terms import kl_per_dimension
from zspace.types import Batch

ACTIVE = 0.01


@dataclass(frozen=True)
class Summary:
    """The aggregate posterior q(z), the mean of q(z|x) over test images, against N(0, I).

    n: images. mean (Z,), covariance (Z, Z), and ks (Z,), the Kolmogorov-Smirnov distance of each
    marginal to N(0, 1), of one draw of q(z|x) an image; of the codes where they are deterministic.
    kl (Z,): mean KL(q(z_j|x) || N(0, 1)) in nats, or None where there is no q, or none that
    falls into dimensions. active: dimensions with a KL above 0.01 nats, or None.
    active_units: dimensions whose mean code varies by more than 0.01 over images (Burda, Grosse,
    Salakhutdinov. Importance weighted autoencoders. 2015, arXiv 1509.00519, section 5.2).
    """

    n: int
    mean: np.ndarray
    covariance: np.ndarray
    ks: np.ndarray
    kl: np.ndarray | None
    active: int | None
    active_units: int

    @property
    def eigenvalues(self) -> np.ndarray:
        """Of the covariance, the largest first: all 1 for N(0, I). n images tell of n - 1."""
        return np.linalg.eigvalsh(self.covariance)[::-1].clip(0)[: max(1, self.n - 1)]

    @property
    def critical(self) -> float:
        """The distance that 95% of true samples of N(0, 1) of this size stay below."""
        return 1.3581 / float(np.sqrt(self.n))


@once
def posterior_summary(run: Run, data: Data | None = None, most: int = MOST) -> Summary:
    """Measure the codes of test images, at most `most` of them, drawn with a seed."""
    z = draws(run, data, most).z
    kl = _kl(run, data, most)
    return Summary(
        n=len(z),
        mean=z.mean(0),
        covariance=np.cov(z.T.astype(np.float64)).reshape(z.shape[1], -1),
        ks=distances(z),
        kl=kl,
        active=None if kl is None else int((kl > ACTIVE).sum()),
        active_units=int((codes(run, data, most).z.var(0) > ACTIVE).sum()),
    )


def distances(z: np.ndarray) -> np.ndarray:
    """The Kolmogorov-Smirnov distance of each column of z (N, Z) to N(0, 1): (Z,)."""
    from scipy.stats import kstest  # slow to import

    return np.array([kstest(column, "norm", method="asymp").statistic for column in z.T])


def _kl(run: Run, data: Data | None, most: int) -> np.ndarray | None:
    """The mean KL of each code dimension of the first level, where q and p have such parts."""
    test = subset((data or run.data()).test, most)

    def parts(batch: Batch) -> Tensor:
        return kl_per_dimension(run.model(batch.x, batch.c).latents[0]).flatten(1).cpu()

    try:
        values = over(run, test, parts)
    except (UserError, NotImplementedError):
        return None
    return np.concatenate([value.numpy() for value in values]).mean(0)
