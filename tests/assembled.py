"""Models assembled from the parts in a few lines each, to keep the parts honest.

A vector-quantised code, one whose book follows the codes, a flow as prior, a two-level ladder, a
GRU over tokens and a table with missing values: none of them needs a change in the package.
"""

from __future__ import annotations

import torch
import zuko
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal

from zspace.data.spec import Spec
from zspace.models.autoencoder import Autoencoder
from zspace.models.bottlenecks import Bottleneck, Gaussian
from zspace.models.flow import Code, Latent, Model, Pass
from zspace.models.likelihoods import Likelihood, SquaredError
from zspace.models.networks.mlp import MLP
from zspace.models.objective import Objective
from zspace.models.priors import StandardNormal
from zspace.models.recipes import Player, Recipe
from zspace.models.terms import kl, mse, nll


class VectorQuantizer(Bottleneck):
    """The nearest of `size` code vectors, passed straight through (arXiv 1711.00937)."""

    discrete = True

    def __init__(self, latent: int, size: int = 16) -> None:
        super().__init__()
        self.features, self.book = latent, nn.Embedding(size, latent)

    def nearest(self, h: Tensor) -> Tensor:
        return self.book(torch.cdist(h, self.book.weight).argmin(1))

    def mean(self, h: Tensor) -> Tensor:
        return self.nearest(h)

    def snap(self, z: Tensor) -> Tensor:
        return self.nearest(z)

    def forward(self, h: Tensor, samples: int = 1) -> Code:
        e = self.nearest(h)
        aux = {
            "book": (e - h.detach()).square().sum(1),
            "commitment": (h - e.detach()).square().sum(1),
        }
        return Code((h + (e - h).detach()).expand(samples, *h.shape), aux=aux)


def quantisation(p: Pass) -> dict[str, Tensor]:
    return {"book": p.aux["book"], "commitment": p.aux["commitment"]}


class FollowingQuantizer(VectorQuantizer):
    """A book of the moving means of the codes nearest to each vector (appendix A.1 there).

    Its buffers, of three types, are replaced by other tensors and never written to.
    """

    def __init__(self, latent: int, size: int = 16, decay: float = 0.9) -> None:
        Bottleneck.__init__(self)
        self.features, self.decay = latent, decay
        self.register_buffer("counts", torch.ones(size) / size)
        self.register_buffer("sums", torch.randn(size, latent) / size)
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("used", torch.zeros(size, dtype=torch.bool))

    def nearest(self, h: Tensor) -> Tensor:
        book = self.sums / self.counts[:, None]
        return book[torch.cdist(h.detach(), book).argmin(1)]

    def forward(self, h: Tensor, samples: int = 1) -> Code:
        code = super().forward(h, samples)
        if self.training:
            self.follow(h.detach())
        return code

    def follow(self, h: Tensor) -> None:
        chosen = torch.cdist(h, self.sums / self.counts[:, None]).argmin(1)
        each = (chosen[:, None] == torch.arange(len(self.sums))).float()
        self.counts = self.decay * self.counts + (1 - self.decay) * each.mean(0)
        self.sums = self.decay * self.sums + (1 - self.decay) * (each.T @ h / len(h))
        self.steps, self.used = self.steps + 1, self.used | each.any(0)


def following(data: Spec, latent: int = 4, hidden: tuple[int, ...] = (32,)) -> Recipe:
    model = Autoencoder(
        encoder=MLP(data.shape, (latent,), hidden=hidden),
        bottleneck=FollowingQuantizer(latent),
        decoder=MLP((latent,), data.shape, hidden=hidden),
        likelihood=SquaredError(),
        prior=StandardNormal(latent),
        latent=(latent,),
    )
    weights = {"mse": 1.0, "book": 0.0, "commitment": 0.25}
    return Recipe(model, (Player(model, Objective([mse, quantisation], weights)),))


def vq(data: Spec) -> Recipe:
    """With ReLU, whose codes move slowly enough for the book to follow within forty steps."""
    model = Autoencoder(
        encoder=MLP(data.shape, (4,), hidden=(32,), activation=nn.ReLU),
        bottleneck=VectorQuantizer(4),
        decoder=MLP((4,), data.shape, hidden=(32,), activation=nn.ReLU),
        likelihood=SquaredError(),
        prior=StandardNormal(4),
        latent=(4,),
    )
    weights = {"mse": 1.0, "book": 1.0, "commitment": 0.25}
    return Recipe(model, (Player(model, Objective([mse, quantisation], weights)),))


def flow_prior(data: Spec) -> Recipe:
    model = Autoencoder(
        encoder=MLP(data.shape, (8,), hidden=(32,)),
        bottleneck=Gaussian(4),
        decoder=MLP((4,), data.shape, hidden=(32,)),
        likelihood=SquaredError(),
        prior=zuko.flows.MAF(features=4, transforms=2, hidden_features=(16,)),
        latent=(4,),
    )
    return Recipe(model, (Player(model, Objective([mse, kl], {"mse": 1.0, "kl": 1.0})),))


class Ladder(Model):
    """Two levels: z2 ~ N(0, I), z1 ~ p(z1|z2), x ~ p(x|z1)."""

    def __init__(self, data: Spec, latent: tuple[int, int] = (6, 3)) -> None:
        super().__init__()
        self.latent, self.context = (latent[0],), 0
        self.q1, self.q2, self.p1 = Gaussian(latent[0]), Gaussian(latent[1]), Gaussian(latent[0])
        self.read = MLP(data.shape, (32,), hidden=(32,))
        self.to1 = MLP((32,), (self.q1.features,), hidden=())
        self.to2 = MLP((32,), (self.q2.features,), hidden=(32,))
        self.down = MLP((latent[1],), (self.p1.features,), hidden=(32,))
        self.write = MLP((latent[0],), data.shape, hidden=(32,))
        self.likelihood, self.top = SquaredError(), StandardNormal(latent[1])

    def middle(self, z2: Tensor) -> Distribution:
        """p(z1|z2), batch shape (K, B)."""
        p = self.p1.posterior(self.down(z2.flatten(0, 1))).base_dist
        lead = z2.shape[:2]
        return Independent(Normal(p.loc.unflatten(0, lead), p.scale.unflatten(0, lead)), 1)

    def forward(self, x: Tensor, c: Tensor | None = None, samples: int = 1) -> Pass:
        h = self.read(x)
        one, two = self.q1(self.to1(h), samples), self.q2(self.to2(h), samples)
        px = self.likelihood(self.write(one.z.flatten(0, 1)).unflatten(0, one.z.shape[:2]), 3)
        levels = Latent(one.z, one.q, self.middle(two.z)), Latent(two.z, two.q, self.top())
        return Pass(x, px, levels)

    def encode(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.q1.mean(self.to1(self.read(x)))

    def decode(self, z: Tensor, c: Tensor | None = None) -> Distribution:
        return self.likelihood(self.write(z), 3)

    def draw(self, n: int, c: Tensor | None = None) -> Tensor:
        return self.middle(self.top().sample((1, n))).sample()[0]


def ladder(data: Spec) -> Recipe:
    model = Ladder(data)
    return Recipe(model, (Player(model, Objective([mse, kl], {"mse": 1.0, "kl": 1.0})),))


class Tokens(Distribution):
    """p(x|h) of sequences (T,) of tokens: a GRU that starts at h reads each token before it."""

    arg_constraints = {}  # noqa: RUF012 (torch's own protocol)

    def __init__(self, net: TokenGRU, h: Tensor, length: int) -> None:
        self.net, self.h, self.length = net, h, length
        super().__init__(h.shape[:-1], torch.Size((length,)), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        x = value.expand(*self.batch_shape, self.length).flatten(0, -2)
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1] + 1], 1)
        logits, _ = self.net.step(before, self.h.flatten(0, -2)[None].contiguous())
        return Categorical(logits=logits).log_prob(x).sum(1).unflatten(0, self.batch_shape)

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        state = self.h.flatten(0, -2)[None].contiguous()
        tokens = [torch.zeros(state.shape[1], 1, dtype=torch.int64)]
        for _ in range(self.length):
            logits, state = self.net.step(tokens[-1], state)
            tokens.append(Categorical(logits=logits).sample() + 1)
        return torch.cat(tokens[1:], 1).sub(1).unflatten(0, self.batch_shape)


class TokenGRU(Likelihood):
    """Decoder output -> `Tokens`."""

    params = 1

    def __init__(self, vocabulary: int, length: int, width: int) -> None:
        super().__init__()
        self.length = length
        self.embed = nn.Embedding(vocabulary + 1, width)  # 0 stands for the start
        self.gru = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, vocabulary)

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self.gru(self.embed(tokens), state)
        return self.out(y), state

    def forward(self, h: Tensor, event: int) -> Distribution:
        return Tokens(self, h, self.length)


class ReadTokens(nn.Module):
    def __init__(self, vocabulary: int, width: int, features: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, features)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.out(self.gru(self.embed(x))[1][0])


def tokens(data: Spec) -> Recipe:
    vocabulary, width = 5, 24
    model = Autoencoder(
        encoder=ReadTokens(vocabulary, width, 8),
        bottleneck=Gaussian(4),
        decoder=MLP((4,), (width,), hidden=(24,)),
        likelihood=TokenGRU(vocabulary, data.shape[0], width),
        prior=StandardNormal(4),
        latent=(4,),
    )
    return Recipe(model, (Player(model, Objective([nll, kl], {"nll": 1.0, "kl": 1.0})),))


class Observed(Normal):
    """A Normal under which a missing element (NaN) has log-probability 0."""

    def log_prob(self, value: Tensor) -> Tensor:
        seen = value.isfinite()
        return super().log_prob(torch.where(seen, value, self.loc)) * seen


class ObservedColumns(Likelihood):
    """A mean and a scale a column."""

    params = 2

    def forward(self, h: Tensor, event: int) -> Independent:
        mean, raw = h.chunk(2, dim=-1)
        scale = nn.functional.softplus(raw) + 1e-2
        return Independent(Observed(mean, scale, validate_args=False), event, validate_args=False)


class ReadColumns(nn.Module):
    def __init__(self, columns: int, features: int) -> None:
        super().__init__()
        self.net = MLP((2 * columns,), (features,), hidden=(32,))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        seen = x.isfinite()
        return self.net(torch.cat([torch.where(seen, x, 0.0), seen.float()], 1))


def table(data: Spec) -> Recipe:
    columns = data.shape[0]
    likelihood = ObservedColumns()
    model = Autoencoder(
        encoder=ReadColumns(columns, 4),
        bottleneck=Gaussian(2),
        decoder=MLP((2,), (likelihood.params * columns,), hidden=(32,)),
        likelihood=likelihood,
        prior=StandardNormal(2),
        latent=(2,),
    )
    return Recipe(model, (Player(model, Objective([nll, kl], {"nll": 1.0, "kl": 1.0})),))
