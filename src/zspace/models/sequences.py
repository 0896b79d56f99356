"""Distributions of sequences of tokens, whole sequences (T,) being one event.

    x (*batch, T): integers 0 <= x_t < V, of which 0 is the end; -1 is what follows the end

What follows the end adds exactly 0 to a log-probability and nothing to a gradient.

    Tokens          log p(x|z) = sum_t log p(x_t | z)              logits of all steps at once
    Autoregressive  log p(x|z) = sum_t log p(x_t | x_1..x_t-1, z)  a network reads what came before
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from zspace.data.spec import Fact
from zspace.models.distributions import Shape
from zspace.models.flow import Pass
from zspace.system.device import in_format
from zspace.system.errors import UserError

MOST_LOGITS = 1 << 25
"""That an autoregressive network makes at once, where no gradient is asked for: 128 MiB."""
END, OTHER, PADDING = 0, 1, -1
"""The end of a sequence, a token that is none of the others, and what follows the end."""


def lengths(x: Tensor) -> Tensor:
    """How many tokens each sequence x (*batch, T) has, its end included: (*batch,).

    >>> lengths(torch.tensor([[5, 3, 0, -1], [0, -1, -1, -1]]))
    tensor([3, 1])
    """
    return (x >= 0).sum(-1)


def ended(tokens: Tensor) -> Tensor:
    """Tokens (*batch, T) with -1 in all places after the first end.

    >>> ended(torch.tensor([5, 0, 4, 0]))
    tensor([ 5,  0, -1, -1])
    """
    ends = (tokens == END).long()
    return tokens.masked_fill(ends.cumsum(-1) > ends, PADDING)


def drawn(logits: Tensor, temperature: float = 1.0, top_p: float = 1.0) -> Tensor:
    """One token of each row of logits (..., V), integers (...).

    Reference: Holtzman, Buys, Du, Forbes, Choi. The curious case of neural text degeneration.
    2019, arXiv 1904.09751 (top-p, or nucleus, sampling).

    Arguments:
        logits: (..., V), unnormalised.
        temperature: Divides the logits: below 1, likely tokens become likelier.
        top_p: The least sum of probabilities of the tokens that are drawn from, which are the
            most likely ones; 1 draws from all.

    Raises UserError where temperature <= 0 or top_p is not in (0, 1].

    >>> drawn(torch.tensor([0.0, 2.0, 1.0]), top_p=0.5)
    tensor(1)
    """
    if not temperature > 0:
        raise UserError(
            f"temperature is {temperature}: use a number above 0, or the mode for the most likely "
            "tokens"
        )
    if not 0 < top_p <= 1:
        raise UserError(f"top_p is {top_p}: use a number above 0 and at most 1")
    logits = logits / temperature
    if top_p < 1:
        p, order = logits.softmax(-1).sort(-1, descending=True)
        beyond = p.cumsum(-1) - p >= top_p  # what is more likely already adds up to top_p
        out = torch.zeros_like(beyond).scatter(-1, order, beyond)
        logits = logits.masked_fill(out, -torch.inf)
    race = logits - torch.empty_like(logits).exponential_().log()
    return race.argmax(-1)


class _Sequences(Distribution):
    """What distributions of sequences share; `log_probs` and `_next` make them differ."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 # torch's own protocol
    vocabulary: int

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.integer_interval(-1, self.vocabulary - 1), 1)

    def log_probs(self, value: Tensor) -> Tensor:
        """log p of each token of value (*, T), (*batch, T): 0 for what follows the end."""
        raise NotImplementedError

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value), (*batch,), in nats."""
        return self.log_probs(value).sum(-1)


def _log_probs(logits: Tensor, x: Tensor) -> Tensor:
    """log p of tokens x (..., T) under logits (..., T, V), 0 where x is -1."""
    flat = logits.float().flatten(0, -2), x.flatten()
    return -F.cross_entropy(*flat, ignore_index=PADDING, reduction="none").unflatten(0, x.shape)


class Tokens(_Sequences):
    """Tokens that are independent given z: one categorical distribution for each step.

    Arguments:
        logits: (*batch, T, V), unnormalised.

    >>> px = Tokens(torch.zeros(2, 3, 4))  # four tokens, all alike
    >>> px.log_prob(torch.tensor([3, 0, -1])).exp()  # 1/16: nothing follows the end
    tensor([0.0625, 0.0625])
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits, self.vocabulary = logits, logits.shape[-1]
        super().__init__(logits.shape[:-2], logits.shape[-2:-1], validate_args=False)

    def expand(self, batch_shape: Shape, _instance: object = None) -> Tokens:
        return Tokens(self.logits.expand(*batch_shape, *self.logits.shape[-2:]))

    def log_probs(self, value: Tensor) -> Tensor:
        x = value.long()
        shape = torch.broadcast_shapes(x.shape, self.logits.shape[:-1])
        return _log_probs(self.logits.expand(*shape, -1), x.expand(shape))

    def sample(
        self, sample_shape: Shape = (), *, temperature: float = 1.0, top_p: float = 1.0
    ) -> Tensor:
        """Draws (*sample_shape, *batch, T); see `drawn`."""
        with torch.no_grad():
            logits = self.logits.expand(*sample_shape, *self.logits.shape)
            return ended(drawn(logits, temperature, top_p))

    @property
    def mode(self) -> Tensor:
        """The most likely token of every step (*batch, T), -1 after the first end."""
        return ended(self.logits.detach().argmax(-1))


class Steps(nn.Module, ABC):
    """A network that says of each token how likely it is, given those before it and a memory.

    Attributes:
        length: T, the most tokens of a sequence.
        vocabulary: V. V itself stands for the start, which is before the first token.

    >>> issubclass(Steps, nn.Module)
    True
    """

    length: int
    vocabulary: int

    @abstractmethod
    def forward(self, before: Tensor, memory: Tensor) -> Tensor:
        """before (N, T), of each step the token before it; memory (N, M) -> logits (N, T, V)."""

    @abstractmethod
    def unordered(self, memory: Tensor) -> Tensor:
        """memory (N, M) -> logits (N, V): what it adds to the logits of every step, and a bias.

        So what a bag of words teaches the memory is of use to every step at once.
        """

    @abstractmethod
    def begin(self, memory: Tensor) -> Any:
        """memory (N, M) -> the state before the first step."""

    @abstractmethod
    def step(self, before: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The tokens before (N,) -> logits (N, V) of the next ones, and the next state."""


class Autoregressive(_Sequences):
    r"""Sequences, each token of which depends on z and on all before it.

    ``log p(x|z) = sum_t log p(x_t | x_1, ..., x_t-1, z)``: one pass of the network, which is given
    the tokens of x before each step. Draws are made token by token, until all have ended.

    Reference: Bowman et al. Generating sentences from a continuous space. 2015, arXiv 1511.06349.

    Arguments:
        net: The network of the steps.
        memory: (*batch, M), what every step knows of a sample: z, and a context.
        dtype: The number format of the network's products; None for that of its weights.

    >>> from zspace.models import vae
    >>> made = vae(zspace.Spec((6,), kind="tokens", vocabulary=4), latent=3).model
    >>> px = made.decode(torch.zeros(5, 3))
    >>> px.sample().shape, px.log_prob(px.mode).shape
    (torch.Size([5, 6]), torch.Size([5]))
    """

    def __init__(self, net: Steps, memory: Tensor, dtype: torch.dtype | None = None) -> None:
        self.net, self.memory, self.dtype = net, memory, dtype
        self.vocabulary = net.vocabulary
        super().__init__(memory.shape[:-1], torch.Size((net.length,)), validate_args=False)

    def expand(self, batch_shape: Shape, _instance: object = None) -> Autoregressive:
        memory = self.memory.expand(*batch_shape, self.memory.shape[-1])
        return Autoregressive(self.net, memory, self.dtype)

    def logits(self, value: Tensor) -> Tensor:
        """(*batch, T, V): logits of every step, given the tokens of value (*, T) before it."""
        x, memory = self._rows(value)
        return self._of_rows(x, memory).reshape(*self._lead(value), x.shape[1], -1)

    def log_probs(self, value: Tensor) -> Tensor:
        x, memory = self._rows(value)
        size = len(x) if torch.is_grad_enabled() else MOST_LOGITS // (x.shape[1] * self.vocabulary)
        parts = zip(x.split(max(1, size)), memory.split(max(1, size)), strict=True)
        each = [_log_probs(self._of_rows(x, memory), x) for x, memory in parts]
        return torch.cat(each).reshape(*self._lead(value), -1)

    def _lead(self, value: Tensor) -> torch.Size:
        return torch.broadcast_shapes(value.shape[:-1], self.batch_shape)

    def _rows(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (N, T) and memories (N, M), N all that the batch axes hold."""
        lead, sizes = self._lead(value), (value.shape[-1], self.memory.shape[-1])
        both = zip((value.long(), self.memory), sizes, strict=True)
        x, memory = (part.expand(*lead, size).reshape(-1, size) for part, size in both)
        return x, memory

    def _of_rows(self, x: Tensor, memory: Tensor) -> Tensor:
        before = torch.cat([torch.full_like(x[:, :1], self.vocabulary), x[:, :-1]], 1)
        with in_format(memory.device, self.dtype):
            return self.net(before, memory).float()

    def sample(
        self, sample_shape: Shape = (), *, temperature: float = 1.0, top_p: float = 1.0
    ) -> Tensor:
        """Draws (*sample_shape, *batch, T), token by token; see `drawn`."""
        return self._loop(sample_shape, lambda logits: drawn(logits, temperature, top_p))

    @property
    def mode(self) -> Tensor:
        """Sequences (*batch, T) of which each token is the most likely one after those before.

        The sequence that is the most likely as a whole may be another.
        """
        return self._loop((), lambda logits: logits.argmax(-1))

    @torch.no_grad()
    def _loop(self, sample_shape: Shape, choose: Any) -> Tensor:
        lead = torch.Size((*sample_shape, *self.batch_shape))
        memory = self.memory.expand(*lead, -1).reshape(-1, self.memory.shape[-1])
        found = memory.new_full((len(memory), self.net.length), PADDING, dtype=torch.long)
        before = torch.full_like(found[:, 0], self.vocabulary)
        over = torch.zeros_like(before, dtype=torch.bool)
        with in_format(memory.device, self.dtype):
            state = self.net.begin(memory)
            for t in range(self.net.length):
                logits, state = self.net.step(before, state)
                before = choose(logits.float())
                found[:, t] = before.masked_fill(over, PADDING)
                over = over | (before == END)
                if bool(over.all()):
                    break
        return found.reshape(*lead, self.net.length)


class BagOfWords:
    r"""How well the code alone tells which tokens x has, their order left out.

    ``-sum_t log softmax(f(z))[x_t]`` over the tokens before the end, (B,) in nats, a mean over the
    K draws. It cannot be low for a z that tells nothing of x, whatever the decoder knows.

    Reference: Zhao, Zhao, Eskenazi. Learning discourse-level diversity for neural dialog models
    using conditional variational autoencoders. 2017, arXiv 1703.10960.

    Arguments:
        network: f, codes (N, Z) -> logits (N, V), such as `unordered` of the model's decoder. The
            model must own it, so that its parameters are trained and kept.

    >>> from torch.distributions import Normal
    >>> from zspace.models import Latent
    >>> level = Latent(torch.zeros(1, 2, 3), None, Normal(torch.zeros(3), 1.0))
    >>> p = Pass(torch.tensor([[2, 1, 0], [0, -1, -1]]), Tokens(torch.zeros(1, 2, 3, 3)), (level,))
    >>> alike = nn.Threshold(1, 0)  # of z = 0 it makes 0, here the logits of 3 tokens
    >>> BagOfWords(alike)(p)  # 2 log 3, nothing
    {'bag_of_words': tensor([2.1972, 0.0000])}
    """

    gives: ClassVar = {"bag_of_words": Fact("negative log-likelihood of the bag of words", "nats")}

    def __init__(self, network: Callable[[Tensor], Tensor]) -> None:
        self.network = network

    def __call__(self, p: Pass) -> dict[str, Tensor]:
        z = p.latents[0].z
        with p.autocast():
            logits = self.network(z.flatten(0, 1))
        log_p = logits.float().log_softmax(-1).unflatten(0, z.shape[:2])  # (K, B, V)
        x = p.x.long()
        each = log_p.gather(-1, x.clamp(min=0).expand(*z.shape[:1], *x.shape))
        return {"bag_of_words": torch.where(x > END, -each, 0.0).sum(-1).mean(0)}
