r"""Networks for sequences: what series and tokens share, whichever trunk reads the steps.

    encoder         x (B, T, D), or tokens (B, T) -> h (B, T, W) -trunk-> mean, maximum -> (B, F)
    parallel        z (B, Z), c -> the same h at every step, and its position -trunk-> (B, T, P)
    autoregressive  z (B, Z), c -> memory (B, M); tokens before, memory -causal trunk-> (B, T, V)

A trunk turns (B, T, W) into (B, T, W). A causal one gives at step t what depends on steps 1 to t
alone, and can also be asked step by step. z and c are read at every step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from zspace.models.networks.mlp import MLP, glorot
from zspace.models.sequences import END, OTHER, Autoregressive, Steps
from zspace.system.errors import UserError

SKIP = (128,)
"""Hidden widths from a memory to what it adds to the logits of every step."""


class Trunk(nn.Module, ABC):
    """Reads all steps (B, T, W) and gives as many; the base class of all trunks.

    Attributes:
        positioned: Whether it knows the order of steps by itself.
    """

    positioned: bool = True

    @abstractmethod
    def forward(self, h: Tensor, seen: Tensor | None = None) -> Tensor:
        """h (B, T, W), seen (B, T) or None for all -> (B, T, W)."""

    def of_tokens(
        self, tokens: Tensor, table: nn.Embedding, told: Tensor | None, seen: Tensor | None
    ) -> Tensor:
        """`forward` of the vectors of tokens (B, T) and of what is added to them, (B, T or 1, W).

        What it gives for steps after the last one that is seen does not count.
        """
        h = table(tokens)
        return self(h if told is None else h + told, seen)

    def begin(self, n: int, like: Tensor) -> Any:
        """The state of n sequences before their first step, on the device of a tensor."""
        raise NotImplementedError

    def step(self, h: Tensor, state: Any) -> tuple[Tensor, Any]:
        """h (N, W) of the next step -> what it gives (N, W), and the next state."""
        raise NotImplementedError


class Positions(nn.Module):
    """A learned vector for each step, (T, W), which begins as sines of different lengths.

    Reference: Vaswani et al. Attention is all you need. 2017, arXiv 1706.03762.

    >>> Positions(24, 8)().shape
    torch.Size([24, 8])
    """

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        t, i = torch.arange(length)[:, None], torch.arange(width)
        rates = torch.exp(-math.log(1e4) * (i // 2 * 2) / width)
        self.vectors = nn.Parameter(torch.sin(t * rates + math.pi / 2 * (i % 2)))

    def forward(self) -> Tensor:
        return self.vectors


class SequenceEncoder(nn.Module):
    """Reads a sequence and gives features of the whole: from the mean and maximum over its steps.

    Steps after the end are left out. Maxima over steps keep the encoder of text from collapse.

    Reference: Long, Cao, Cheung. Preventing posterior collapse in sequence VAEs with pooling.
    2019, arXiv 1911.03976.

    Arguments:
        trunk: (B, T, W) -> (B, T, W).
        shape: Of one sample as it is read: (T, D), or (T,) for tokens.
        features: How many numbers it gives.
        width: W.
        vocabulary: V of tokens; 0 for series.
        context: Columns of c, which is read at every step; 0 for none.
    """

    def __init__(
        self,
        trunk: Trunk,
        shape: Sequence[int],
        features: int,
        *,
        width: int,
        vocabulary: int = 0,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.vocabulary, self.context = vocabulary, context
        self.read: nn.Module = (
            nn.Embedding(vocabulary + 1, width, padding_idx=0)
            if vocabulary
            else nn.Linear(shape[1], width)
        )
        self.told = nn.Linear(context, width, bias=False) if context else None
        self.positions = None if trunk.positioned else Positions(shape[0], width)
        self.trunk, self.out = trunk, nn.Linear(2 * width, features)
        self.apply(begun)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """x (B, T, D) or tokens (B, T), c (B, context) or None -> (B, features)."""
        told = None if self.told is None or c is None else self.told(c)[:, None]
        if self.positions is not None:
            told = self.positions() if told is None else told + self.positions()
        if not isinstance(self.read, nn.Embedding):
            h = self.read(x)
            return self.out(pooled(self.trunk(h if told is None else h + told)))
        x = x.long()
        seen = x >= 0
        h = self.trunk.of_tokens(x + 1, self.read, told, seen)  # 0 is then what follows the end
        return self.out(pooled(h, seen))


def pooled(h: Tensor, seen: Tensor | None = None) -> Tensor:
    """The mean and the maximum over the steps of h (B, T, W) that are seen: (B, 2 W).

    Both are 0 where none is.

    >>> pooled(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2., 3.]])
    """
    if seen is None:
        return torch.cat([h.mean(1), h.amax(1)], 1)
    there = seen[..., None]
    mean = torch.where(there, h, 0.0).sum(1) / there.sum(1).clamp(min=1)
    most = torch.where(there, h, torch.finfo(h.dtype).min).amax(1)
    return torch.cat([mean, torch.where(there.any(1), most, 0.0)], 1)


class ParallelDecoder(nn.Module):
    """Gives all steps at once from z and c, which every step reads beside its position.

    Arguments:
        trunk: (B, T, W) -> (B, T, W).
        latent: Dimensions of z.
        outputs: (T, P): what it gives.
        width: W.
        context: Columns of c; 0 for none.
    """

    def __init__(
        self,
        trunk: Trunk,
        latent: int,
        outputs: Sequence[int],
        *,
        width: int,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.read = nn.Linear(latent + context, width)
        self.positions = Positions(outputs[0], width)
        self.trunk, self.out = trunk, nn.Linear(width, outputs[1])
        self.apply(begun)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z (B, latent), c (B, context) or None -> (B, T, P)."""
        h = self.read(joined(z, c))[:, None] + self.positions()
        return self.out(self.trunk(h))

    def unordered(self, z: Tensor) -> Tensor:
        """z (N, latent) -> (N, P): what z alone, without a step, gives without the trunk."""
        return self.out(self.read(z))


class AutoregressiveDecoder(nn.Module):
    """Gives a memory of z and c, with which a network makes tokens one after the other.

    Arguments:
        steps: That network.
    """

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z (N, latent), c (N, context) or None -> memory (N, latent + context)."""
        return joined(z, c)

    def unordered(self, z: Tensor) -> Tensor:
        """z (N, latent) -> logits (N, V) of tokens at any step: see `Steps.unordered`."""
        return self.steps.unordered(z)

    def distribution(self, memory: Tensor) -> Distribution:
        """p(x|z) of memories (*batch, M); products are in the format that is now used."""
        kind = memory.device.type
        auto = kind != "meta" and torch.is_autocast_enabled(kind)
        return Autoregressive(self.steps, memory, torch.get_autocast_dtype(kind) if auto else None)


class TrunkSteps(Steps):
    """Steps of a causal trunk, which reads the token before, and the memory, at every step.

    In training a share of the tokens before is replaced by "any other", so that what they would
    tell must be kept in z.

    Reference: Bowman et al. Generating sentences from a continuous space. 2015, arXiv 1511.06349.

    Arguments:
        trunk: A causal one.
        memory: M, how many numbers it is told of each sample.
        length: T.
        vocabulary: V.
        width: W.
        word_dropout: That share, in [0, 1].

    Raises UserError for another share.
    """

    def __init__(
        self,
        trunk: Trunk,
        memory: int,
        length: int,
        vocabulary: int,
        *,
        width: int,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= word_dropout <= 1:
            raise UserError(f"word_dropout is {word_dropout}: use a share in [0, 1]")
        self.length, self.vocabulary, self.word_dropout = length, vocabulary, word_dropout
        self.embed = nn.Embedding(vocabulary + 1, width)
        self.read, self.skip = nn.Linear(memory, width), MLP((memory,), (width,), hidden=SKIP)
        self.positions = None if trunk.positioned else Positions(length, width)
        self.trunk, self.out = trunk, nn.Linear(width, vocabulary)
        self.apply(begun)

    def forward(self, before: Tensor, memory: Tensor) -> Tensor:
        """before (N, T), memory (N, M) -> logits (N, T, V)."""
        seen, before = before > END, before.clamp(min=0)
        if self.training and self.word_dropout:
            gone = torch.rand(before.shape, device=before.device) < self.word_dropout
            before = torch.where(gone & (before < self.vocabulary), OTHER, before)
        told = self.read(memory)[:, None]
        if self.positions is not None:
            told = told + self.positions()
        h = self.trunk.of_tokens(before, self.embed, told, seen)
        return self.out(h + self.skip(memory)[:, None])

    def unordered(self, memory: Tensor) -> Tensor:
        return self.out(self.skip(memory))

    def begin(self, memory: Tensor) -> Any:
        told = self.read(memory)
        return 0, told, self.skip(memory), self.trunk.begin(len(memory), told)

    def step(self, before: Tensor, state: Any) -> tuple[Tensor, Any]:
        """before (N,) -> logits (N, V), the next state."""
        t, told, skip, within = state
        h = self.embed(before) + told
        if self.positions is not None:
            h = h + self.positions()[t]
        h, within = self.trunk.step(h, within)
        return self.out(h + skip), (t + 1, told, skip, within)


class BesideLine(nn.Module):
    r"""A network beside a linear map of its input: ``A x + b + g f(x, c)``, where g is learned.

    Series drift, so that what a model meets later lies outside its training windows. There a
    network alone may give anything, while a linear map goes on. g begins at 0, at the map alone.

    Reference: Bachlechner, Majumder, Mao, Cottrell, McAuley. ReZero is all you need: fast
    convergence at large depth. 2020, arXiv 2003.04887 (the factor g).

    Arguments:
        net: f, (B, *inputs), c -> (B, *outputs).
        inputs: The shape of one input.
        outputs: The shape of one output.

    >>> net = BesideLine(nn.Identity(), (2, 3), (2, 3))
    >>> net(torch.ones(4, 2, 3)).shape, net.gain
    (torch.Size([4, 2, 3]), Parameter containing:
    tensor(0., requires_grad=True))
    """

    def __init__(self, net: nn.Module, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        super().__init__()
        self.net, self.outputs = net, tuple(outputs)
        self.line = nn.Linear(math.prod(inputs), math.prod(outputs))
        self.gain = nn.Parameter(torch.zeros(()))
        glorot(self.line)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """x (B, *inputs), c (B, context) or None -> (B, *outputs)."""
        f = self.net(x) if c is None else self.net(x, c)
        return self.line(x.flatten(1)).unflatten(1, self.outputs) + self.gain * f


def joined(z: Tensor, c: Tensor | None) -> Tensor:
    """z, followed by a context where there is one."""
    return z if c is None else torch.cat([z, c], 1)


def begun(module: nn.Module) -> None:
    """Set the initial weights of a layer; a residual branch of a trunk begins at 0."""
    glorot(module)
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
        if module.padding_idx is not None:
            with torch.no_grad():
                module.weight[module.padding_idx] = 0.0
    last = getattr(module, "last", None)
    if isinstance(last, nn.Linear):
        nn.init.zeros_(last.weight)


def shifted(h: Tensor, steps: int) -> Tensor:
    """h (B, T, W) moved by so many steps, earlier ones where steps > 0; zeros come in.

    >>> shifted(torch.tensor([[[1.0], [2.0], [3.0]]]), 1).flatten()
    tensor([0., 1., 2.])
    """
    if abs(steps) >= h.shape[1]:
        return torch.zeros_like(h)
    if steps > 0:
        return F.pad(h[:, :-steps], (0, 0, steps, 0))
    return F.pad(h[:, -steps:], (0, 0, 0, -steps)) if steps else h
