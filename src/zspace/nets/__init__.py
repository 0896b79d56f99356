"""Networks: modules ``(input, c=None) -> output``, the last layer linear."""

from zspace.nets.mlp import MLP

__all__ = ["MLP"]
