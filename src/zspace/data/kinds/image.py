"""Images (N, C, H, W) in [0, 1]: how they are taken in, and how near a reconstruction comes.

Numbers of one image x and its reconstruction y, (C, H, W), whose data range L is 1.0:

    mse    mean over pixels and channels of (x - y)^2; 0 is equal
    ssim   structural similarity, in [-1, 1]; 1 is equal
    psnr   10 log10(L^2 / mse), in decibels; more is nearer

They are means over pixels and compare images of different sizes, as the sum `mse` of
`zspace.models.terms` does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from zspace.data.dataset import to_float
from zspace.data.spec import Fact
from zspace.system.errors import UserError


def as_tensor(x: Any, what: str) -> Tensor:
    """Numbers as a tensor of their own. Raises UserError for anything that is not an array."""
    if isinstance(x, Tensor):
        return x.detach()
    try:
        array = np.array(x)  # a copy: torch dislikes read-only, reversed and foreign-endian ones
    except ValueError:
        raise UserError(f"{what} are rows of unequal length: give an array of numbers") from None
    if array.dtype.kind not in "iufb":
        raise UserError(
            f"{what} are {type(x).__name__} of {array.dtype}: give an array of numbers"
        )
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))


def as_images(x: Any, shape: tuple[int, ...]) -> Tensor:
    """Images as floats (N, *shape). Raises UserError for a wrong shape, type or range."""
    images = as_tensor(x, "images")
    if shape[0] == 1 and tuple(images.shape[-2:]) == shape[1:] and images.dim() in (2, 3):
        images = images.reshape(-1, *shape)
    if tuple(images.shape) == shape:
        images = images[None]
    if tuple(images.shape[1:]) != shape or len(images) == 0:
        raise UserError(
            f"images have shape {tuple(images.shape)}, but this model reads "
            f"({', '.join(['N', *map(str, shape)])})"
        )
    if images.dtype == torch.uint8:
        return to_float(images)
    if not images.is_floating_point():
        raise UserError(f"images are {images.dtype}: give uint8 in 0..255 or floats in [0, 1]")
    if not images.isfinite().all():
        raise UserError("images hold NaN or infinite values: give floats in [0, 1]")
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):
        raise UserError(
            f"image values lie in [{low:.4g}, {high:.4g}], not in [0, 1]: divide by 255?"
        )
    return images.float()


def by(shape: tuple[int, ...]) -> str:
    """A shape as people write it, 1×28×28."""
    return "×".join(map(str, shape))


QUALITY = {
    "mse": Fact("MSE"),
    "ssim": Fact("SSIM", better="high"),
    "psnr": Fact("PSNR", "dB", "high"),
}
"""What `image_quality` measures."""
WINDOW = 11
"""The side of SSIM's window in pixels; smaller images have no SSIM."""
CAP = 100.0
"""Decibels, the PSNR of a perfect copy and the most that is reported: an mse of 1e-10."""


def image_quality(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Measures of each image: name -> (B,).

    x, y: images and what is compared to them, (B, C, H, W) floats in [0, 1]; data range 1.0.
    `ssim` is left out where a side is below 11 pixels; `psnr` is at most 100 dB.
    """
    mse = (x - y).square().flatten(1).mean(1)
    found = {"mse": mse}
    if min(x.shape[-2:]) >= WINDOW:
        found["ssim"] = ssim(x, y)
    found["psnr"] = -10 * mse.clamp(min=10 ** (-CAP / 10)).log10()
    return found


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of images (B, C, H, W) in [0, 1], sides of 11 pixels or more: (B,).

    torchmetrics' map under a Gaussian window of 11 x 11 pixels and standard deviation 1.5, of
    which places are averaged whose window lies within the image. torchmetrics itself averages
    over the mirrored border too, which on digits is equal background and flatters.

    Reference: Wang, Bovik, Sheikh, Simoncelli. Image quality assessment: from error visibility to
    structural similarity. IEEE Transactions on Image Processing 13, 2004,
    doi 10.1109/TIP.2003.819861.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure  # takes 1 s

    with torch.autocast(x.device.type, enabled=False):  # variances would drown in bf16
        _, full = structural_similarity_index_measure(
            y, x, data_range=1.0, reduction="none", return_full_image=True
        )
    edge = WINDOW // 2
    return full[..., edge:-edge, edge:-edge].flatten(1).mean(1)
