"""Which networks: the options that every recipe offers beside its own.

A recipe takes them as ``**net``, and `assemble` builds an encoder and a decoder from them. So the
network is a choice of its own; a new one is a class and an entry of `NETS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Annotated, Any, Literal

from torch import nn
from typing_extensions import Doc

from zspace.models.likelihoods import plural
from zspace.models.networks.conv import UPSAMPLINGS, ConvDecoder, ConvEncoder, resolutions
from zspace.models.networks.mlp import ACTIVATIONS, MLP
from zspace.models.networks.recurrent import Recurrent
from zspace.models.networks.residual import ResidualDecoder, ResidualEncoder
from zspace.models.networks.sequence import (
    AutoregressiveDecoder,
    BesideLine,
    ParallelDecoder,
    SequenceEncoder,
    Trunk,
    TrunkSteps,
)
from zspace.models.networks.temporal import Temporal
from zspace.models.networks.transformer import Transformer
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

    >>> NetOptions(net="conv", channels=(16, 32)).check().channels
    (16, 32)
    >>> NetOptions(net="mlp", blocks=2).check()
    Traceback (most recent call last):
    zspace.system.errors.UserError: blocks is 2, but --net mlp has no such choice: ...
    """

    net: Annotated[
        str,
        Choice(lambda: {"auto": None, **NETS}),
        Doc(
            "Networks: fully connected; convolutions, or these with attention, for images; "
            "dilated convolutions (temporal), gru or transformer for series and tokens. auto "
            "takes conv for images of more than 1,024 numbers, temporal for series of more, gru "
            "for tokens, and mlp for all else."
        ),
    ] = "auto"
    hidden: Annotated[
        tuple[int, ...] | None,
        Doc(
            "mlp, conv: widths of the encoder's dense layers; the decoder has them reversed. By "
            "default 784 784 for images and 256 256 for tables and series; with conv, 512 for "
            "grey images and none for others."
        ),
    ] = None
    activation: Annotated[
        str,
        Choice(lambda: ACTIVATIONS),
        Doc("mlp: the nonlinearity between layers; the other networks have their own."),
    ] = "gelu"
    channels: Annotated[
        tuple[int, ...] | None,
        Doc(
            "conv, unet: channels at each resolution, which is half the one before. By default "
            "they begin with 16 for conv and 32 for unet, and double until the shorter side is 4 "
            "to 8 pixels."
        ),
    ] = None
    blocks: Annotated[
        int | None,
        Doc(
            "conv: residual blocks at the last resolution; unet, --stem full: at each resolution; "
            "by default 1. temporal, gru, transformer: blocks or layers of encoder and decoder "
            "each."
        ),
    ] = None
    stem: Annotated[
        Literal["strided", "full"],
        Doc(
            "conv, unet: the first layer halves the resolution, or keeps it in full. In full, "
            "conv is residual blocks and max-pooling, several times as slow."
        ),
    ] = "strided"
    up: Annotated[
        str,
        Choice(lambda: {"auto": None, **UPSAMPLINGS}),
        Doc(
            "conv, unet: upsampling between resolutions by a transposed convolution, repeated "
            "pixels and a convolution, or a convolution whose channels become pixels (shuffle); "
            "auto takes the first for conv with a strided stem, and else the second."
        ),
    ] = "auto"
    heads: Annotated[
        int,
        Doc(
            "unet, transformer: attention heads, which divide the last of the channels, or the "
            "width."
        ),
    ] = 4
    code: Annotated[
        Literal["flat", "spatial"],
        Doc("conv, unet: a flat code, or a map with that many channels at the last resolution."),
    ] = "flat"
    width: Annotated[
        int | None, Doc("temporal, gru, transformer: how many numbers they keep for each step.")
    ] = None
    decoder: Annotated[
        Literal["auto", "autoregressive", "parallel"],
        Doc(
            "temporal, gru, transformer: tokens are decoded one after the other, each given those "
            "before, or all in parallel; auto takes the first for tokens, the second for series."
        ),
    ] = "auto"
    word_dropout: Annotated[
        float | None,
        Doc(
            "temporal, gru, transformer: the share of the tokens before that an autoregressive "
            "decoder does not see in training, so that the code must tell them."
        ),
    ] = None

    def on(self, kind: str, shape: Sequence[int]) -> NetOptions:
        """These options for samples of this kind and shape: what was left open is chosen.

        >>> taken = NetOptions().on("image", (3, 64, 64))
        >>> taken.net, taken.channels, taken.blocks, taken.hidden, taken.up
        ('conv', (16, 32, 64), 1, (), 'transposed')
        """
        net = usual_net(kind, shape) if self.net == "auto" else self.net
        chosen: dict[str, Any] = {"net": net}
        if net in ("conv", "unet"):
            strided = net == "conv" and self.stem == "strided"
            grey = shape[0] <= 2  # 2: what is seen, and where something is missing
            if self.channels is None:
                chosen["channels"] = doubled(16 if strided else 32, shape, self.stem)
            if self.blocks is None:
                chosen["blocks"] = 1
            if self.up == "auto":
                chosen["up"] = "transposed" if strided else "nearest"
            if strided and self.hidden is None and self.code == "flat":
                chosen["hidden"] = DENSE if grey else ()
        if net in SEQUENCES and kind in NETS[net].takes:
            chosen |= self._of_sequences(net, kind)
        return replace(self, **chosen)

    def _of_sequences(self, net: str, kind: str) -> dict[str, Any]:
        decoder = self.decoder
        if decoder == "auto":
            decoder = "autoregressive" if kind == "tokens" else "parallel"
        usual = WORD_DROPOUT if decoder == "autoregressive" else 0.0
        width, blocks = (OF_TOKENS if kind == "tokens" else SEQUENCES)[net]
        return {
            "decoder": decoder,
            "width": width if self.width is None else self.width,
            "blocks": blocks if self.blocks is None else self.blocks,
            "word_dropout": usual if self.word_dropout is None else self.word_dropout,
        }

    def check(self) -> NetOptions:
        """These options, where net is a name.

        Raises UserError where one makes no sense, or does not suit the net.
        """
        known: dict[str, Iterable[str]] = {"net": NETS, "up": ("auto", *UPSAMPLINGS)}
        known |= {"activation": ACTIVATIONS, "code": ("flat", "spatial")}
        known |= {"stem": ("strided", "full"), "decoder": ("auto", "autoregressive", "parallel")}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise unknown(name, getattr(self, name), values)
        fewest = 0 if self.net == "conv" and self.stem == "strided" else 1
        too_few = self.blocks is not None and self.blocks < fewest
        if self.width is not None and self.width < 1:
            raise UserError(f"width is {self.width}: use at least 1")
        if too_few or any(width < 1 for width in self.channels or ()):
            raise UserError(
                f"blocks is {self.blocks} and channels is {self.channels}: give blocks >= "
                f"{fewest} and channels >= 1"
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
        vocabulary: V of tokens; 0 for all else.
    """

    shape: Sequence[int]
    features: int
    latent: int
    outputs: Sequence[int]
    context: int = 0
    kind: str = "image"
    vocabulary: int = 0


Networks = tuple[nn.Module, nn.Module, tuple[int, ...]]
"""An encoder, a decoder, and the shape of the codes between them."""
Build = Callable[[NetOptions, NetworkSpec], Networks]


MOST_NUMBERS = 1024
"""In an image or a series for which full connections are taken by default. Digits of 28 x 28 they
learn as well as convolutions in two minutes, colours of 32 x 32 not: see benchmarks/README.md."""


def usual_net(kind: str, shape: Sequence[int]) -> str:
    """The network that "auto" stands for.

    >>> usual_net("image", (1, 28, 28)), usual_net("image", (3, 32, 32)), usual_net("table", (9,))
    ('mlp', 'conv', 'mlp')
    >>> usual_net("series", (24, 6)), usual_net("series", (1000, 6)), usual_net("tokens", (57,))
    ('mlp', 'temporal', 'gru')
    """
    if kind == "tokens":
        return "gru"
    large = {"image": "conv", "series": "temporal"}
    return large.get(kind, "mlp") if math.prod(shape) > MOST_NUMBERS else "mlp"


def build_networks(options: NetOptions, wanted: NetworkSpec) -> Networks:
    """An encoder, a decoder, and the shape of the codes between them.

    Raises UserError for options that do not suit each other or the samples.
    """
    options = options.on(wanted.kind, wanted.shape).check()
    net = NETS[options.net]
    if wanted.kind not in net.takes:
        raise UserError(
            f"--net {options.net} reads {plural(net.takes)}, but these data are "
            f"{plural([wanted.kind])}: use --net {usual_net(wanted.kind, wanted.shape)}"
        )
    encoder, decoder, latent = net.build(options, wanted)
    if wanted.kind == "series":
        encoder = BesideLine(encoder, wanted.shape, (wanted.features,))
        decoder = BesideLine(decoder, latent, wanted.outputs)
    return encoder, decoder, latent


HIDDEN = {"image": (784, 784), "table": (256, 256), "series": (256, 256)}
"""Widths of the hidden layers of an mlp for each kind of samples, where none are chosen."""


def _mlp(options: NetOptions, wanted: NetworkSpec) -> Networks:
    mlp = partial(MLP, context=wanted.context, activation=ACTIVATIONS[options.activation])
    hidden = HIDDEN[wanted.kind] if options.hidden is None else tuple(options.hidden)
    encoder = mlp(wanted.shape, (wanted.features,), hidden=hidden)
    decoder = mlp((wanted.latent,), wanted.outputs, hidden=hidden[::-1])
    return encoder, decoder, (wanted.latent,)


SMALL, WIDEST = 8, 128
"""Pixels of the shorter side at which default channels stop, and the most of them."""
DENSE = (512,)
"""Widths of the dense layers of conv for grey images. After equal seconds digits are better with
them, photographs without: see benchmarks/README.md."""


def doubled(first: int, shape: Sequence[int], stem: str) -> tuple[int, ...]:
    """Default channels: they double from the first on until the shorter side is 4 to 8 pixels.

    >>> doubled(16, (1, 28, 28), "strided"), doubled(16, (3, 256, 256), "strided")
    ((16, 32), (16, 32, 64, 128, 128))
    """
    halvings = max(1, math.ceil(math.log2(min(shape[1:]) / SMALL))) if len(shape) == 3 else 1
    levels = halvings + (stem == "full")
    return tuple(min(first << i, max(first, WIDEST)) for i in range(levels))


def _maps(
    encoder: Callable[..., nn.Module],
    decoder: Callable[..., nn.Module],
    options: NetOptions,
    wanted: NetworkSpec,
    **more: Any,
) -> Networks:
    """Networks of maps; more: further arguments of the two classes."""
    channels = options.channels or ()
    size = resolutions(wanted.shape, len(channels), options.stem)[-1]
    spatial = options.code == "spatial"
    both = {"channels": channels, "blocks": options.blocks, "spatial": spatial, **more}
    both["context"] = wanted.context
    return (
        encoder(wanted.shape, wanted.features, **both),
        decoder(wanted.latent, wanted.outputs, up=options.up, **both),
        (wanted.latent, *size) if spatial else (wanted.latent,),
    )


def _conv(options: NetOptions, wanted: NetworkSpec) -> Networks:
    full, hidden = options.stem == "full", options.hidden
    if hidden is not None and (full or options.code == "spatial"):
        without = "--stem full" if full else "a spatial code"
        raise UserError(f"hidden is {hidden}, but {without} has no dense layers: leave it out")
    if full:
        return _maps(ResidualEncoder, ResidualDecoder, options, wanted)
    return _maps(ConvEncoder, ConvDecoder, options, wanted, hidden=hidden or ())


def _unet(options: NetOptions, wanted: NetworkSpec) -> Networks:
    more = {"heads": options.heads, "stem": options.stem}
    return _maps(UNetEncoder, UNetDecoder, options, wanted, **more)


SEQUENCES = {"temporal": (64, 5), "gru": (128, 1), "transformer": (64, 2)}
OF_TOKENS = {**SEQUENCES, "gru": (256, 1)}
"""Width and blocks of networks for series and for tokens, where none are chosen: a training step
of 128 sequences of 57 tokens then takes at most half a second of one core."""
WORD_DROPOUT = 0.2
"""The share of the tokens before that an autoregressive decoder does not see by default."""


def _sequence(
    trunk: Callable[[NetOptions, NetworkSpec, bool], Trunk],
    options: NetOptions,
    wanted: NetworkSpec,
) -> Networks:
    """An encoder and a decoder around trunks, which are made by (options, wanted, causal).

    Recurrent units read tokens in their order alone and half as wide, at a quarter of the cost of
    the decoder, where seconds are better spent.
    """
    both: dict[str, Any] = {"width": options.width, "context": wanted.context}
    light = options.net == "gru" and wanted.kind == "tokens"
    read = replace(options, width=max(1, (options.width or 1) // 2)) if light else options
    encoder = SequenceEncoder(
        trunk(read, wanted, light),
        wanted.shape,
        wanted.features,
        vocabulary=wanted.vocabulary,
        width=read.width or 1,
        context=wanted.context,
    )
    latent = (wanted.latent,)
    if options.decoder == "parallel":
        if options.word_dropout:
            raise UserError(
                f"word_dropout is {options.word_dropout}, but a parallel decoder sees no tokens "
                "before: leave it out"
            )
        made = trunk(options, wanted, False)
        return encoder, ParallelDecoder(made, wanted.latent, wanted.outputs, **both), latent
    if wanted.kind != "tokens":
        raise UserError(
            f"decoder is {options.decoder}, but {plural([wanted.kind])} are decoded in parallel: "
            "leave it out"
        )
    steps = TrunkSteps(
        trunk(options, wanted, True),
        wanted.latent + wanted.context,
        *wanted.outputs,
        width=options.width or 1,
        word_dropout=options.word_dropout or 0.0,
    )
    return encoder, AutoregressiveDecoder(steps), latent


def _temporal(options: NetOptions, wanted: NetworkSpec, causal: bool) -> Trunk:
    width, blocks = options.width or 1, options.blocks or 1
    return Temporal(width, blocks, wanted.shape[0], causal=causal)


def _recurrent(options: NetOptions, wanted: NetworkSpec, causal: bool) -> Trunk:
    return Recurrent(options.width or 1, options.blocks or 1, causal=causal)


def _transformer(options: NetOptions, wanted: NetworkSpec, causal: bool) -> Trunk:
    return Transformer(options.width or 1, options.blocks or 1, options.heads, causal=causal)


@dataclass(frozen=True)
class Net:
    """How a kind of network is built, and which of the `NetOptions` it reads.

    takes: the kinds of samples that it reads.
    """

    build: Build
    reads: tuple[str, ...]
    takes: tuple[str, ...] = ("image",)


MAPS = ("channels", "blocks", "stem", "up", "code")
STEPS = ("width", "blocks", "decoder", "word_dropout")
STEPPED = ("series", "tokens")
NETS: dict[str, Net] = {
    "mlp": Net(_mlp, ("hidden", "activation"), ("image", "table", "series")),
    "conv": Net(_conv, (*MAPS, "hidden")),
    "unet": Net(_unet, (*MAPS, "heads")),
    "temporal": Net(partial(_sequence, _temporal), STEPS, STEPPED),
    "gru": Net(partial(_sequence, _recurrent), STEPS, STEPPED),
    "transformer": Net(partial(_sequence, _transformer), (*STEPS, "heads"), STEPPED),
}
"""Every kind of network by its name; a new one is one more entry."""
