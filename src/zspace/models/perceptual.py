"""The perceptual term: how far apart two images are in the features of a frozen network.

    d(x, y) = sum_l  mean_hw  sum_c  w_lc (f_lc(x) - f_lc(y))^2,      |f_l| = 1 at every position

f_l are the network's maps (B, C_l, H_l, W_l), w_l >= 0 its weight of every channel.

Reference: Zhang, Isola, Efros, Shechtman, Wang. The unreasonable effectiveness of deep features as
a perceptual metric. 2018, arXiv 1801.03924 (LPIPS).

A feature network is made ready before training and does not move.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from zspace.data.dataset import Data
from zspace.data.spec import Fact, Spec
from zspace.models.distributions import refuse_missing
from zspace.models.flow import Pass
from zspace.models.judge import Judge, train_judge
from zspace.models.networks.vgg import VGG16Features, find_weights
from zspace.system.errors import UserError, unknown

EPSILON = 1e-10  # the published one; added to the norm there, to its square here


class Features(Protocol):
    """A frozen module that sees images at several depths, like `VGG16Features` and `Judge`."""

    def features(self, x: Tensor) -> list[Tensor]:
        """Maps (B, C_l, H_l, W_l) of images (B, C, H, W) in [0, 1]; gradients reach x only."""

    def weights(self) -> list[Tensor]:
        """The weight (C_l,) >= 0 of every channel of every map."""


class Perceptual(nn.Module):
    """The term ``perceptual``: the distance between x and the mean of p(x|z), for every sample.

    It has no unit and is no likelihood: its weight in an objective is a choice. As a module it
    moves its network to a device; it has no parameters that learn.

    Arguments:
        network: A module with `features` and `weights`, see `FeatureNetwork`. Its maps may be in
            half precision (under autocast); lengths and differences are always in float32.

    Raises UserError where samples are not images (C, H, W).

    >>> from zspace.models.judge import Classifier
    >>> perceptual = Perceptual(Judge(Classifier((1, 8, 8), classes=10).fuse(), accuracy={}))
    >>> x = torch.rand(2, 1, 8, 8)
    >>> perceptual.distance(x, x)
    tensor([0., 0.])
    """

    network: Features
    gives: ClassVar = {"perceptual": Fact("perceptual distance", code="drawn")}

    def __init__(self, network: Features) -> None:
        super().__init__()
        self.network = network

    def forward(self, p: Pass) -> dict[str, Tensor]:
        """The distance (B,), a mean over the K draws of the code."""
        if p.x.dim() != 4:
            raise UserError(
                "the perceptual term compares images (C, H, W), but these samples have shape "
                f"{tuple(p.x.shape[1:])}: leave it out"
            )
        refuse_missing(p.px, "the perceptual term")
        mean = p.px.mean  # (K, B, C, H, W)
        with p.autocast():
            with torch.no_grad():
                real = self._seen(p.x)
            fake = [f.unflatten(0, mean.shape[:2]) for f in self._seen(mean.flatten(0, 1))]
        return {"perceptual": self._compare(fake, real).mean(0)}

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """The distance (B,) between images x and y (B, C, H, W) in [0, 1]."""
        return self._compare(self._seen(x), self._seen(y))

    def _seen(self, x: Tensor) -> list[Tensor]:
        """Maps whose channels have length 1 at every position."""
        # In this form both ways are cheap, and there is a gradient where all channels are 0.
        maps = [f.float() for f in self.network.features(x)]
        return [f * f.square().sum(1, keepdim=True).add(EPSILON**2).rsqrt() for f in maps]

    def _compare(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        layers = zip(a, b, self.network.weights(), strict=True)
        parts = [((f - g).square().mean((-2, -1)) * w).sum(-1) for f, g, w in layers]
        return torch.stack(parts).sum(0)


class NotReady(UserError):
    """A feature network was used that has no weights yet."""


class FeatureNetwork(nn.Module):
    """A frozen network that sees images at several depths, once it is ready.

    ``features(x)`` are its maps (B, C_l, H_l, W_l) of images x (B, C, H, W) in [0, 1], and
    ``weights()`` the weight (C_l,) of every channel. Training makes it ready; loading a run does
    not, for a trained model works without it.

    Arguments:
        make: (data, device, quiet=) -> the network; see `FEATURE_NETWORKS`.

    Raises NotReady, a UserError, where it is used before it is ready.

    >>> from zspace.models.judge import Classifier
    >>> def untrained(data: Data, device: torch.device, *, quiet: bool) -> Judge:
    ...     return Judge(Classifier((1, 8, 8), classes=10).fuse(), accuracy={})
    >>> network = FeatureNetwork(untrained).ready(None, torch.device("cpu"))
    >>> [f.shape for f in network.features(torch.rand(2, 1, 8, 8))]
    [torch.Size([2, 32, 8, 8]), torch.Size([2, 64, 4, 4])]
    """

    def __init__(self, make: Callable[..., Judge | VGG16Features]) -> None:
        super().__init__()
        self.make = make
        self.network: Judge | VGG16Features | None = None

    def ready(self, data: Data, device: torch.device, *, quiet: bool = False) -> FeatureNetwork:
        """This network with its weights: read, fetched, or trained on these data."""
        self.network = self.make(data, device, quiet=quiet)
        return self

    def features(self, x: Tensor) -> list[Tensor]:
        return self._seeing().features(x)

    def weights(self) -> list[Tensor]:
        return self._seeing().weights()

    def _seeing(self) -> Judge | VGG16Features:
        if self.network is None:
            raise NotReady("a feature network was used before it was ready: call ready() first")
        return self.network


def _vgg16(data: Data, device: torch.device, *, quiet: bool = False) -> VGG16Features:
    return VGG16Features.pretrained(quiet=quiet)


FEATURE_NETWORKS: dict[str, Callable[..., Judge | VGG16Features]] = {
    "judge": train_judge,
    "vgg16": _vgg16,
}
"""What makes each network, from data, a device and ``quiet``."""


def choose_features(wanted: str, data: Spec) -> str:
    """The name of a feature network, or 'none'.

    'auto' takes VGG16 if its weights are on this machine, else a judge if the data have labels,
    else none; it warns where it cannot take VGG16.

    Raises UserError for an unknown name, and for a judge of data without labels.

    >>> choose_features("none", Spec((1, 28, 28)))
    'none'
    """
    names = ("auto", *FEATURE_NETWORKS, "none")
    if wanted not in names:
        raise unknown("perceptual", wanted, names)
    if wanted == "judge" and not data.classes:
        raise UserError(
            "a judge learns from labels, but these data have none: use --perceptual vgg16 or none"
        )
    if wanted != "auto":
        return wanted
    if find_weights() is not None:
        return "vgg16"
    taken = "judge" if data.classes else "none"
    what = (
        "the perceptual loss uses a small classifier trained on these data instead"
        if taken == "judge"
        else "there is no perceptual loss, since these data have no labels to train a judge on"
    )
    warnings.warn(f"the weights of VGG16 are not on this machine: {what}", stacklevel=2)
    return taken
