"""The Frechet inception distance, for those who must compare with published figures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zspace.analysis.generation import MOST_MADE, SAMPLERS, made_images, resolved
from zspace.analysis.latents import labels
from zspace.analysis.measure import Measure, metric
from zspace.analysis.trained import TrainedModel, subset
from zspace.data.dataset import Data
from zspace.models.priors import Sampler
from zspace.system.bars import bar
from zspace.system.errors import NotMeasured
from zspace.system.pixels import to_uint8

BATCH = 64


@metric("inception", place=60, asked_for=True)
def inception_distance(
    trained: TrainedModel,
    data: Data,
    *,
    seed: int = 0,
    quiet: bool = True,
    sampler: Sampler = "auto",
    network: nn.Module | None = None,
) -> dict[str, Measure]:
    """The Frechet distance of made images to test images in 2,048 features of Inception-v3.

    As many images are made as there are test images, at most 10,000. Figures of other numbers of
    images do not compare, and published ones mostly take 50,000. Grey images are shown as colour.
    The network was trained on photographs; of digits its features say little. Raises NotMeasured
    where the network or its weights are missing, and for images that are neither grey nor colour.

    Reference: Heusel et al. GANs trained by a two time-scale update rule converge to a local Nash
    equilibrium. 2017, arXiv 1706.08500.

    Arguments:
        trained: The model, usually a run.
        data: Its data; labels are not needed.
        seed: Of the draws, and of the test images where there are more than 10,000.
        quiet: Whether no progress bar is shown.
        sampler: Where codes come from, as in `sample_quality`.
        network: uint8 images (N, 3, H, W) -> features (N, D), with an attribute `num_features`;
            by default the published Inception-v3, through torchmetrics.

    >>> class Means(torch.nn.Module):  # in place of Inception, which would have to be fetched
    ...     num_features = 3
    ...
    ...     def forward(self, x):
    ...         return x.float().mean((2, 3))
    >>> inception_distance(run, data, network=Means())["fid"].value >= 0
    True
    """
    if len(trained.spec.shape) != 3 or trained.spec.shape[0] not in (1, 3):
        raise NotMeasured(
            f"Inception reads images of 1 or 3 channels, but these are {trained.spec.shape}: "
            "leave the section 'inception' out"
        )
    distance = _distance(network)
    distance.inception = _On(trained.device, distance.inception)
    real = subset(data.test, MOST_MADE, seed)
    sampler = resolved(trained, sampler)
    made = made_images(
        trained, data, len(real), labels(real), sampler=sampler, seed=seed, quiet=quiet
    )
    with bar("looking with Inception", 2 * len(made), quiet) as did:
        for x, is_real in ((real.images(), True), (torch.from_numpy(made), False)):
            for part in x.split(BATCH):
                colour = to_uint8(part).expand(-1, 3, -1, -1)
                distance.update(colour, real=is_real)
                did(len(part))
    about = (
        f"Frechet distance in features of Inception-v3: {len(made):,} images drawn from "
        f"{SAMPLERS[sampler]}, against as many test images"
    )
    return {"fid": Measure(float(distance.compute()), about, better="low")}


class _On(nn.Module):
    """A network on a device, which features leave: torchmetrics adds them up in float64, which
    GPUs have not, or are slow in.
    """

    def __init__(self, device: torch.device, network: nn.Module) -> None:
        super().__init__()
        self.device, self.network = device, network.to(device)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.to(self.device)).cpu()


def _distance(network: nn.Module | None) -> Any:
    from torchmetrics.image.fid import FrechetInceptionDistance

    try:
        return FrechetInceptionDistance(feature=network or 2048)
    except ModuleNotFoundError:
        raise NotMeasured(
            "the inception distance needs torch-fidelity, which is not installed: pip install "
            "'zspace[fid]'"
        ) from None
    except OSError as error:
        raise NotMeasured(
            f"the weights of Inception-v3 could not be fetched ({error}): try again online"
        ) from None
