"""Networks: modules ``(input, c=None) -> output``, the last layer linear."""

from zspace.nets.conv import ConvDecoder, ConvEncoder, on_device
from zspace.nets.critic import PatchCritic
from zspace.nets.mlp import MLP
from zspace.nets.options import NetOptions, Networks, Wanted, networks
from zspace.nets.unet import UNetDecoder, UNetEncoder

__all__ = [
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "NetOptions",
    "Networks",
    "PatchCritic",
    "UNetDecoder",
    "UNetEncoder",
    "Wanted",
    "networks",
    "on_device",
]
