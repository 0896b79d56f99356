"""The perceptual term: how far apart two images are in the features of a frozen network.

    d(x, y) = sum_l  mean_hw  sum_c  w_lc (f_lc(x) - f_lc(y))^2,      |f_l| = 1 at every position

Reference: Zhang, Isola, Efros, Shechtman, Wang. The unreasonable effectiveness of deep features as
a perceptual metric. 2018, arXiv 1801.03924 (LPIPS).

Tutors: networks that terms look through and that do not move, made ready before training.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from zspace.data.dataset import Data
from zspace.data.spec import Fact, Spec
from zspace.models.flow import Pass
from zspace.models.judge import Judge, train_judge
from zspace.models.networks.vgg import VGG16Features, find_weights
from zspace.system.errors import UserError, unknown

EPSILON = 1e-10  # the published one, added to the norm


class Features(Protocol):
    """A frozen module that sees images at several depths, as `VGG16Features` and `Judge` do."""

    def features(self, x: Tensor) -> list[Tensor]:
        """Maps (B, C_l, H_l, W_l) of images (B, C, H, W) in [0, 1]; gradients reach x only."""

    def weights(self) -> list[Tensor]:
        """The weight (C_l,) >= 0 of every channel of every map."""


class Perceptual(nn.Module):
    """The term ``perceptual``: the distance between x and the mean of p(x|z), for every sample.

    It has no unit and is no likelihood: its weight in an objective is a choice. As a module it
    moves its network to a device; it has no parameters that learn.

    network: a module with `features` and `weights`. Its maps may come in half precision (under
    autocast); lengths and differences are always computed in float32.

    Raises UserError where samples are no images (C, H, W).
    """

    network: Features
    gives: ClassVar = {"perceptual": Fact("perceptual distance")}

    def __init__(self, network: Features) -> None:
        super().__init__()
        self.network = network

    def forward(self, p: Pass) -> dict[str, Tensor]:
        """The distance (B,), a mean over the K draws of the code."""
        if p.x.dim() != 4:
            raise UserError(
                "the perceptual term compares images (C, H, W), but these samples have the shape "
                f"{tuple(p.x.shape[1:])}: leave it out"
            )
        mean = p.px.mean  # (K, B, C, H, W)
        with torch.no_grad():
            real = self._seen(p.x)
        fake = [f.unflatten(0, mean.shape[:2]) for f in self._seen(mean.flatten(0, 1))]
        return {"perceptual": self._compare(fake, real).mean(0)}

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """The distance (B,) between images x and y (B, C, H, W) in [0, 1]."""
        return self._compare(self._seen(x), self._seen(y))

    def _seen(self, x: Tensor) -> list[Tensor]:
        """Maps whose channels have length 1 at every position."""
        # vector_norm, unlike the root of a sum, has a gradient where all channels are 0.
        maps = [f.float() for f in self.network.features(x)]
        return [f / (torch.linalg.vector_norm(f, dim=1, keepdim=True) + EPSILON) for f in maps]

    def _compare(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        layers = zip(a, b, self.network.weights(), strict=True)
        parts = [
            ((f - g).square() * w[:, None, None]).sum(-3).mean((-2, -1)) for f, g, w in layers
        ]
        return torch.stack(parts).sum(0)


class FeatureNetwork(nn.Module, ABC):
    """Sees images at several depths (see `Features`), once it is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.network: Judge | VGG16Features | None = None

    @abstractmethod
    def ready(self, data: Data, device: torch.device, *, quiet: bool = False) -> FeatureNetwork:
        """This tutor with its weights: read, fetched, or trained on these data."""

    def features(self, x: Tensor) -> list[Tensor]:
        return self._seeing().features(x)

    def weights(self) -> list[Tensor]:
        return self._seeing().weights()

    def _seeing(self) -> Judge | VGG16Features:
        if self.network is None:
            raise UserError("the perceptual term was used before its network was made ready")
        return self.network


class JudgeFeatures(FeatureNetwork):
    """A small classifier trained on the run's own labelled data (see `zspace.models.judge`)."""

    def ready(self, data: Data, device: torch.device, *, quiet: bool = False) -> FeatureNetwork:
        self.network = train_judge(data, device, quiet=quiet)
        return self


class VGGFeatures(FeatureNetwork):
    """VGG16 with the weights of LPIPS (see `zspace.models.networks.vgg`)."""

    def ready(self, data: Data, device: torch.device, *, quiet: bool = False) -> FeatureNetwork:
        self.network = VGG16Features.pretrained(quiet=quiet)
        return self


FEATURE_NETWORKS: dict[str, type[FeatureNetwork]] = {"judge": JudgeFeatures, "vgg16": VGGFeatures}


def choose_features(wanted: str, data: Spec) -> str:
    """The name of a tutor, or 'none'; 'auto' takes the best that is at hand, and says so.

    Raises UserError for an unknown name, and for a judge of data without labels.
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
        "the perceptual loss looks through a small classifier trained on these data"
        if taken == "judge"
        else "there is no perceptual loss, for these data have no labels to train a judge on"
    )
    warnings.warn(f"the weights of VGG16 are not here: {what}", stacklevel=2)
    return taken
