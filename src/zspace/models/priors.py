"""Priors say where codes should lie: modules whose ``forward(c)`` returns a torch Distribution.

Any zuko flow is one as it stands: ``zuko.flows.NSF(features=latent)``.

Densities fitted to codes after training, to draw new codes from.

    draw = DENSITIES["gmm"](z, seed)      # z (N, Z): codes of training images
    codes = draw(1000, seed)              # (1000, Z)

Codes are standardised first, so that no choice depends on their scale.

Reference: Ghosh et al. From variational to deterministic autoencoders. 2019, arXiv 1903.12436
(ex-post density estimation: a mixture of 10 Gaussians).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from zspace.system.bars import bar
from zspace.system.errors import NotMeasured


class StandardNormal(nn.Module):
    """N(0, I) over codes of the given shape; the context is not read.

    shape: of one code, (latent,) for flat codes.
    """

    zero: Tensor
    one: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(shape), persistent=False)
        self.register_buffer("one", torch.ones(shape), persistent=False)

    def forward(self, c: Tensor | None = None) -> Independent:
        """The distribution, batch shape (), event shape ``shape``."""
        normal = Normal(self.zero, self.one, validate_args=False)
        return Independent(normal, self.zero.dim(), validate_args=False)


Sampler = Literal["auto", "prior", "gmm", "flow", "kde"]
Draw = Callable[[int, int], np.ndarray]
"""(how many, seed) -> codes (n, Z)."""

FEWEST_CODES = 20
COMPONENTS = 10
BANDWIDTHS = np.geomspace(0.02, 1, 18)
FLOW_STEPS, FLOW_BATCH, FLOW_RATE, FLOW_LOOKS = 600, 256, 4e-3, 20


def gaussian_mixture(z: np.ndarray, seed: int = 0, quiet: bool = True) -> Draw:
    """A mixture of 10 Gaussians with full covariances (sklearn) of codes z (N, Z)."""
    from sklearn.mixture import GaussianMixture  # slow to import

    x, back = _standard(z)
    mixture = GaussianMixture(COMPONENTS, reg_covar=1e-4, max_iter=200, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged, or fewer distinct codes than components
        mixture.fit(x)

    def draw(n: int, seed: int) -> np.ndarray:
        made = mixture.set_params(random_state=seed).sample(n)[0]  # sorted by component
        return back(np.random.RandomState(seed).permutation(made))

    return draw


def kernel_density(z: np.ndarray, seed: int = 0, quiet: bool = True) -> Draw:
    """A Gaussian kernel around every code (sklearn) of z (N, Z).

    The bandwidth is, of 18 from 0.02 to 1 standard deviations, the one under which a tenth of the
    codes, left out, are likeliest.
    """
    from sklearn.neighbors import KernelDensity

    x, back = _standard(z)
    density = KernelDensity(bandwidth=bandwidth(x, seed)).fit(x)
    return lambda n, seed: back(density.sample(n, random_state=seed))


def bandwidth(x: np.ndarray, seed: int = 0) -> float:
    """The best of `BANDWIDTHS` for standardised codes x (N, Z), of which 5,000 are read."""
    from scipy.special import logsumexp
    from sklearn.metrics import pairwise_distances

    x = np.random.RandomState(seed).permutation(x)[:5000]
    held = len(x) // 10
    squared = pairwise_distances(x[:held], x[held:], metric="sqeuclidean")
    scores = [
        logsumexp(-squared / (2 * h**2), axis=1).mean() - x.shape[1] * np.log(h)
        for h in BANDWIDTHS
    ]
    return float(BANDWIDTHS[int(np.argmax(scores))])


def spline_flow(z: np.ndarray, seed: int = 0, quiet: bool = True) -> Draw:
    """A neural spline flow (zuko) of codes z (N, Z): three coupling layers, at most 600 steps.

    A tenth of the codes, left out, say which step is kept.
    Reference: Durkan et al. Neural spline flows. 2019, arXiv 1906.04032.
    """
    import zuko  # slow to import

    x, back = _standard(z)
    shuffled = torch.from_numpy(np.random.RandomState(seed).permutation(x)).float()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        density = zuko.flows.NSF(
            x.shape[1], transforms=3, hidden_features=(64, 64), passes=min(2, x.shape[1])
        )
        _fit_flow(density, shuffled[len(x) // 10 :], shuffled[: len(x) // 10], quiet)

    def draw(n: int, seed: int) -> np.ndarray:
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(seed)
            return back(density().sample((n,)).numpy())

    return draw


def _fit_flow(density: nn.Module, train: Tensor, held: Tensor, quiet: bool) -> None:
    """Maximum likelihood with Adam; the weights that were best on held-out codes stay."""
    optimizer = torch.optim.Adam(density.parameters(), lr=FLOW_RATE)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, FLOW_STEPS)
    best, kept = float("inf"), {}
    with bar("fitting a flow to codes", FLOW_STEPS, quiet) as did:
        for step in range(FLOW_STEPS):
            loss = -density().log_prob(train[torch.randint(len(train), (FLOW_BATCH,))]).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(density.parameters(), 5.0)
            optimizer.step()
            rate.step()
            did(1)
            if (step + 1) % (FLOW_STEPS // FLOW_LOOKS) == 0:
                with torch.no_grad():
                    score = -float(density().log_prob(held).mean())
                if score < best:
                    best = score
                    kept = {name: value.clone() for name, value in density.state_dict().items()}
    density.load_state_dict(kept or density.state_dict())


def _standard(z: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Codes with mean 0 and standard deviation 1, and the way back. Raises NotMeasured for few."""
    if len(z) < FEWEST_CODES:
        raise NotMeasured(
            f"a density of codes was asked for of {len(z)} codes: give at least {FEWEST_CODES}"
        )
    z = np.asarray(z, dtype=np.float64)
    mean, scale = z.mean(0), z.std(0)
    x = np.divide(z - mean, scale, out=np.zeros_like(z), where=scale > 0)
    return x, lambda x: (x * scale + mean).astype(np.float32)


DENSITIES: dict[str, Callable[..., Draw]] = {
    "gmm": gaussian_mixture,
    "flow": spline_flow,
    "kde": kernel_density,
}
