"""Tutors: networks that terms look through and that do not move, made ready before training."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from zspace.data import Data
from zspace.errors import UserError, unknown
from zspace.judge import Judge, train_judge
from zspace.nets.vgg import VGG16Features, find_weights
from zspace.types import Spec


class Tutor(nn.Module, ABC):
    """Sees images at several depths (see `zspace.perceptual.Features`), once it is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.network: Judge | VGG16Features | None = None

    @abstractmethod
    def ready(self, data: Data, device: torch.device, *, quiet: bool = False) -> Tutor:
        """This tutor with its weights: read, fetched, or trained on these data."""

    def features(self, x: Tensor) -> list[Tensor]:
        return self._seeing().features(x)

    def weights(self) -> list[Tensor]:
        return self._seeing().weights()

    def _seeing(self) -> Judge | VGG16Features:
        if self.network is None:
            raise UserError("the perceptual term was used before its network was made ready")
        return self.network


class JudgeTutor(Tutor):
    """A small classifier trained on the run's own labelled data (see `zspace.judge`)."""

    def ready(self, data: Data, device: torch.device, *, quiet: bool = False) -> Tutor:
        self.network = train_judge(data, device, quiet=quiet)
        return self


class VGGTutor(Tutor):
    """VGG16 with the weights of LPIPS (see `zspace.nets.vgg`)."""

    def ready(self, data: Data, device: torch.device, *, quiet: bool = False) -> Tutor:
        self.network = VGG16Features.pretrained(quiet=quiet)
        return self


TUTORS: dict[str, type[Tutor]] = {"judge": JudgeTutor, "vgg16": VGGTutor}


def choose(wanted: str, data: Spec) -> str:
    """The name of a tutor, or 'none'; 'auto' takes the best that is at hand, and says so.

    Raises UserError for an unknown name, and for a judge of data without labels.
    """
    names = ("auto", *TUTORS, "none")
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
