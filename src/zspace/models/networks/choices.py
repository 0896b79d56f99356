"""Which networks: the options that every recipe offers beside its own.

A recipe takes them as ``**net``, and `assemble` builds an encoder and a decoder from them. So the
network is a choice of its own; a new one is a class and an entry of `NETS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, Any, Literal

from torch import nn
from typing_extensions import Doc

from zspace.models.networks.conv import UPSAMPLINGS, ConvDecoder, ConvEncoder, resolutions
from zspace.models.networks.mlp import ACTIVATIONS, MLP
from zspace.models.networks.unet import UNetDecoder, UNetEncoder
from zspace.system.errors import UserError, unknown


@dataclass(frozen=True)
class Choice:
    """Marks an option whose values are the names in a registry, read anew each time.

    Arguments:
        known: Gives the registry.
    """

    known: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class NetOptions:
    """The networks of encoder and decoder, which mirror each other.

    Each option belongs to some networks only; `check` refuses one that the chosen network does
    not read. The annotations say what each option means, and `--help` prints them.

    >>> NetOptions(net="conv", channels=(16, 32)).check().blocks
    1
    >>> NetOptions(blocks=2).check()
    Traceback (most recent call last):
    zspace.system.errors.UserError: blocks is 2, but --net mlp has no such choice: ...
    """

    net: Annotated[
        str,
        Choice(lambda: NETS),
        Doc("Networks: fully connected, residual convolutions, or convolutions with attention."),
    ] = "mlp"
    hidden: Annotated[
        tuple[int, ...] | None,
        Doc(
            "mlp: widths of the encoder's hidden layers; the decoder has them reversed. By "
            "default 784 784 for images and 256 256 for tables."
        ),
    ] = None
    activation: Annotated[
        str,
        Choice(lambda: ACTIVATIONS),
        Doc("mlp: the nonlinearity between layers; the other networks use SiLU."),
    ] = "gelu"
    channels: Annotated[
        tuple[int, ...],
        Doc("conv, unet: channels at each resolution; a resolution is half the one before."),
    ] = (32, 64, 128)
    blocks: Annotated[int, Doc("conv, unet: residual blocks at each resolution.")] = 1
    up: Annotated[
        str,
        Choice(lambda: UPSAMPLINGS),
        Doc("conv, unet: upsampling by repeated pixels and a convolution, or a transposed one."),
    ] = "nearest"
    heads: Annotated[int, Doc("unet: attention heads, which divide the last of the channels.")] = 4
    code: Annotated[
        Literal["flat", "spatial"],
        Doc("conv, unet: a flat code, or a map with that many channels at the last resolution."),
    ] = "flat"

    def check(self) -> NetOptions:
        """These options. Raises UserError where one makes no sense, or does not suit the net."""
        known: dict[str, Iterable[str]] = {"net": NETS, "up": UPSAMPLINGS}
        known |= {"activation": ACTIVATIONS, "code": ("flat", "spatial")}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise unknown(name, getattr(self, name), values)
        if self.blocks < 1 or any(width < 1 for width in self.channels):
            raise UserError(
                f"blocks is {self.blocks} and channels is {self.channels}: give whole numbers >= 1"
            )
        for field in fields(self):
            value, reads = getattr(self, field.name), ("net", *NETS[self.net].reads)
            if field.name not in reads and value != field.default:
                owners = " or ".join(net for net, one in NETS.items() if field.name in one.reads)
                raise UserError(
                    f"{field.name} is {value!r}, but --net {self.net} has no such choice: leave "
                    f"it out, or use --net {owners}"
                )
        return self


@dataclass(frozen=True)
class NetworkSpec:
    """What the networks must fit.

    Arguments:
        shape: Of one sample.
        features: How many numbers per sample the bottleneck wants from the encoder.
        latent: Dimensions (or channels) of a code.
        outputs: The shape that the likelihood wants from the decoder.
        context: Columns of c; 0 for none.
        kind: Of the samples.
    """

    shape: Sequence[int]
    features: int
    latent: int
    outputs: Sequence[int]
    context: int = 0
    kind: str = "image"


Networks = tuple[nn.Module, nn.Module, tuple[int, ...]]
"""An encoder, a decoder, and the shape of the codes between them."""
Build = Callable[[NetOptions, NetworkSpec], Networks]


def build_networks(options: NetOptions, wanted: NetworkSpec) -> Networks:
    """An encoder, a decoder, and the shape of the codes between them.

    Raises UserError for options that do not suit each other or the samples.
    """
    net = NETS[options.check().net]
    if wanted.kind not in net.takes:
        raise UserError(
            f"--net {options.net} reads {' and '.join(net.takes)}s, but these data are "
            f"{wanted.kind}s: use --net mlp"
        )
    return net.build(options, wanted)


HIDDEN = {"image": (784, 784), "table": (256, 256)}
"""Widths of the hidden layers of an mlp for each kind of samples, where none are chosen."""


def _mlp(options: NetOptions, wanted: NetworkSpec) -> Networks:
    mlp = partial(MLP, context=wanted.context, activation=ACTIVATIONS[options.activation])
    hidden = HIDDEN[wanted.kind] if options.hidden is None else tuple(options.hidden)
    encoder = mlp(wanted.shape, (wanted.features,), hidden=hidden)
    decoder = mlp((wanted.latent,), wanted.outputs, hidden=hidden[::-1])
    return encoder, decoder, (wanted.latent,)


def _images(encoder: type[nn.Module], decoder: type[nn.Module], *more: str) -> Build:
    """How networks of maps are built; `more` names further options that they read."""

    def build(options: NetOptions, wanted: NetworkSpec) -> Networks:
        size = resolutions(wanted.shape, len(options.channels))[-1]
        spatial = options.code == "spatial"
        both = {name: getattr(options, name) for name in ("channels", "blocks", *more)}
        both |= {"spatial": spatial, "context": wanted.context}
        return (
            encoder(wanted.shape, wanted.features, **both),
            decoder(wanted.latent, wanted.outputs, up=options.up, **both),
            (wanted.latent, *size) if spatial else (wanted.latent,),
        )

    return build


@dataclass(frozen=True)
class Net:
    """How a kind of network is built, and which of the `NetOptions` it reads.

    takes: the kinds of samples that it reads.
    """

    build: Build
    reads: tuple[str, ...]
    takes: tuple[str, ...] = ("image",)


NETS: dict[str, Net] = {
    "mlp": Net(_mlp, ("hidden", "activation"), ("image", "table")),
    "conv": Net(_images(ConvEncoder, ConvDecoder), ("channels", "blocks", "up", "code")),
    "unet": Net(
        _images(UNetEncoder, UNetDecoder, "heads"), ("channels", "blocks", "up", "code", "heads")
    ),
}
"""Every kind of network by its name; a new one is one more entry."""
