"""Priors say where codes should lie: modules whose ``forward(c)`` returns a torch Distribution.

    prior = PRIORS["mixture"](20)         # over codes of shape (20,), learned with the model
    prior().sample((5,))                  # (5, 20)

Any zuko flow is a prior as it stands: ``zuko.flows.NSF(features=latent)``. A density fitted to
codes after training draws new codes, too:

    draw = DENSITIES["kde"](z, seed)      # z (N, Z): codes of training samples
    codes = draw(1000, seed)              # (1000, Z)

Codes are standardised first, so that no choice depends on their scale.

The mixture that a run keeps of its codes is in `zspace.models.samplers`.

Reference: Ghosh et al. From variational to deterministic autoencoders. 2019, arXiv 1903.12436
(ex-post density estimation).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from zspace.system.bars import bar
from zspace.system.device import random_kept
from zspace.system.errors import NotMeasured, UserError, unknown


class StandardNormal(nn.Module):
    """N(0, I) over codes of the given shape; the context is not read.

    Arguments:
        shape: Of one code, as separate numbers: one for flat codes, (C, H, W) for maps.

    >>> StandardNormal(2)().log_prob(torch.zeros(2)).exp()  # 1 / (2 pi)
    tensor(0.1592)
    """

    title = "N(0, I)"
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


class Mixture(nn.Module):
    r"""A mixture of diagonal Gaussians, ``sum_k w_k N(m_k, diag s_k^2)``, learned with the model.

    Codes may then lie in several groups. The KL has no closed form and is estimated from draws.

    Reference: Tomczak, Welling. VAE with a VampPrior. 2017, arXiv 1705.07120 (the mixture of
    Gaussians that it is compared with).

    Arguments:
        shape: Of one code, as for `StandardNormal`.
        components: How many Gaussians; ten suit the ten classes of most small data sets.

    >>> Mixture(2, components=3)().log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    def __init__(self, *shape: int, components: int = 10) -> None:
        super().__init__()
        self.title = f"a mixture of {components} Gaussians"
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(torch.randn(components, *shape))
        self.log_scale = nn.Parameter(torch.zeros(components, *shape))

    def forward(self, c: Tensor | None = None) -> MixtureSameFamily:
        """The distribution, batch shape (), event shape ``shape``."""
        parts = Normal(self.mean, self.log_scale.exp(), validate_args=False)
        each = Independent(parts, self.mean.dim() - 1, validate_args=False)
        weights = Categorical(logits=self.logits, validate_args=False)
        return MixtureSameFamily(weights, each, validate_args=False)


class Flow(nn.Module):
    """A neural spline flow (zuko) of three coupling layers, learned with the model.

    Reference: Durkan et al. Neural spline flows. 2019, arXiv 1906.04032.

    The KL has no closed form and is estimated from draws.

    Arguments:
        shape: Of one code, which must be flat: one number.

    Raises UserError for codes that are maps.

    >>> Flow(2)().sample((5,)).shape
    torch.Size([5, 2])
    """

    title = "a normalising flow"

    def __init__(self, *shape: int) -> None:
        super().__init__()
        if len(shape) != 1:
            raise UserError(
                f"a flow is a prior over flat codes, but these codes have shape {shape}: "
                "use --code flat, or --prior standard or mixture"
            )
        self.flow = _spline_flow(shape[0])

    def forward(self, c: Tensor | None = None) -> Distribution:
        """The distribution, batch shape (), event shape ``shape``."""
        return self.flow()


def _spline_flow(features: int) -> nn.Module:
    import zuko  # slow to import

    return zuko.flows.NSF(
        features, transforms=3, hidden_features=(64, 64), passes=min(2, features)
    )


PRIORS: dict[str, Callable[..., nn.Module]] = {
    "standard": StandardNormal,
    "mixture": Mixture,
    "flow": Flow,
}
"""Every prior by the name under which recipes offer it: (*shape of one code) -> module."""


def build_prior(prior: str | nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """The prior of that name over codes of this shape, or a module as it stands."""
    if isinstance(prior, nn.Module):
        return prior
    if prior not in PRIORS:
        raise unknown("prior", prior, PRIORS)
    return PRIORS[prior](*shape)


Sampler = Literal["auto", "prior", "mixture", "flow", "kde"]
Draw = Callable[[int, int], np.ndarray]
"""(how many, seed) -> codes (n, Z)."""

FEWEST_CODES = 20
BANDWIDTHS = np.geomspace(0.02, 1, 18)
FLOW_STEPS, FLOW_BATCH, FLOW_RATE, FLOW_LOOKS = 600, 256, 4e-3, 20


def kernel_density(z: np.ndarray, seed: int = 0, quiet: bool = True) -> Draw:
    """A Gaussian kernel around every code (sklearn) of z (N, Z).

    Of 18 bandwidths from 0.02 to 1 standard deviations, the one is taken under which a held-out
    tenth of the codes is most likely.
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

    A held-out tenth of the codes decides which step is kept.

    Reference: Durkan et al. Neural spline flows. 2019, arXiv 1906.04032.
    """
    x, back = _standard(z)
    shuffled = torch.from_numpy(np.random.RandomState(seed).permutation(x)).float()
    with random_kept(seed=seed):
        density = _spline_flow(x.shape[1])
        _fit_flow(density, shuffled[len(x) // 10 :], shuffled[: len(x) // 10], quiet)

    def draw(n: int, seed: int) -> np.ndarray:
        with torch.no_grad(), random_kept(seed=seed):
            return back(density().sample((n,)).numpy())

    return draw


def _fit_flow(density: nn.Module, train: Tensor, held: Tensor, quiet: bool) -> None:
    """Maximum likelihood with Adam; the weights that are best on held-out codes are kept."""
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
    """Codes with mean 0 and standard deviation 1, and the way back.

    Raises NotMeasured for fewer than 20 codes.
    """
    if len(z) < FEWEST_CODES:
        raise NotMeasured(
            f"a density cannot be fitted to {len(z)} codes: give at least {FEWEST_CODES}"
        )
    z = np.asarray(z, dtype=np.float64)
    mean, scale = z.mean(0), z.std(0)
    x = np.divide(z - mean, scale, out=np.zeros_like(z), where=scale > 0)
    return x, lambda x: (x * scale + mean).astype(np.float32)


DENSITIES: dict[str, Callable[..., Draw]] = {
    "flow": spline_flow,
    "kde": kernel_density,
}
"""Every density by its name as a sampler: (codes (N, Z), seed, quiet) -> `Draw`."""
