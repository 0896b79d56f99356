"""Priors say where codes should lie: modules whose ``forward(c)`` returns a torch Distribution.

Any zuko flow is one as it stands: ``zuko.flows.NSF(features=latent)``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal


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
