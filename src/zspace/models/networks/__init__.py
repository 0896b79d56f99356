"""Networks: modules ``(input, c=None) -> output``, the last layer linear."""

from zspace.models.networks.mlp import MLP

__all__ = ["MLP"]
