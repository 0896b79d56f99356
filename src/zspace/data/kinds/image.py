"""Images: how a user's arrays become tensors, and how near a reconstruction is to its image.

Nearness is measured by three numbers of an image x and its reconstruction y, both (C, H, W) with
values in [0, 1], so that the data range L is 1:

    mse    mean over pixels and channels of (x - y)^2; 0 for equal images
    ssim   structural similarity, in [-1, 1]; 1 for equal images
    psnr   10 log10(L^2 / mse), in decibels; higher is nearer

They are means over pixels, so images of different sizes can be compared. The sum `mse` of
`zspace.models.terms` is not.
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
    """Numbers as a tensor that shares no memory with a numpy array.

    Arguments:
        x: A tensor, an array, or nested lists of numbers.
        what: What they are, in the plural, for the sentence.

    Raises UserError for rows of unequal length, and for text and objects.

    >>> as_tensor([[0, 1], [2, 3]], "labels").shape
    torch.Size([2, 2])
    """
    if isinstance(x, Tensor):
        return x.detach()
    try:
        array = np.array(x)  # a copy: torch dislikes read-only, reversed and foreign-endian ones
    except ValueError:
        raise UserError(f"{what} are rows of unequal length: give an array of numbers") from None
    if array.dtype.kind not in "iufb":
        raise UserError(f"{what} are of type {array.dtype}: give an array of numbers")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))


def as_images(x: Any, shape: tuple[int, ...]) -> Tensor:
    """Images as float32 (N, *shape) in [0, 1].

    Arguments:
        x: (N, C, H, W) or one image (C, H, W); grey ones also as (N, H, W) or (H, W). uint8 in
            0..255, which is divided by 255, or floats in [0, 1].
        shape: (C, H, W), what the model reads.

    Raises UserError for another shape, type or range: nothing is scaled by guessing.

    >>> as_images(np.full((28, 28), 255, np.uint8), (1, 28, 28)).shape
    torch.Size([1, 1, 28, 28])
    """
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
        raise UserError(f"images lie in [{low:.4g}, {high:.4g}], not in [0, 1]: divide by 255?")
    return images.float()


def by(shape: tuple[int, ...]) -> str:
    """A shape as people write it.

    >>> by((1, 28, 28))
    '1×28×28'
    """
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
"""Decibels: the highest PSNR that is reported, that of a perfect copy. It is an mse of 1e-10."""


def image_quality(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Measures of each image: name -> (B,).

    Arguments:
        x: Images, (B, C, H, W) floats in [0, 1].
        y: What is compared with them, of the same shape.

    `ssim` is left out where a side is below 11 pixels, the size of its window; `psnr` is at most
    100 dB, so that means over images stay finite.

    >>> x = torch.zeros(1, 1, 8, 8)
    >>> image_quality(x, x + 0.1)["psnr"]          # 10 log10(1 / 0.01)
    tensor([20.])
    """
    mse = (x - y).square().flatten(1).mean(1)
    found = {"mse": mse}
    if min(x.shape[-2:]) >= WINDOW:
        found["ssim"] = ssim(x, y)
    found["psnr"] = -10 * mse.clamp(min=10 ** (-CAP / 10)).log10()
    return found


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of images (B, C, H, W) in [0, 1], sides of 11 pixels or more: (B,).

        (2 mx my + c1) (2 sxy + c2) / ((mx^2 + my^2 + c1) (sx^2 + sy^2 + c2))

    with means m and (co)variances s under a Gaussian window of 11 x 11 pixels and standard
    deviation 1.5, c1 = 0.01^2, c2 = 0.03^2; averaged over the places whose window lies within the
    image.

    Reference: Wang, Bovik, Sheikh, Simoncelli. Image quality assessment: from error visibility to
    structural similarity. IEEE Transactions on Image Processing 13, 2004,
    doi 10.1109/TIP.2003.819861.

    >>> x = torch.rand(2, 1, 16, 16)
    >>> torch.allclose(ssim(x, x), torch.ones(2))
    True
    """
    with torch.autocast(x.device.type, enabled=False):  # variances would drown in bf16
        rows, columns = (_windows(side, x) for side in x.shape[-2:])
        mx, my, xx, yy, xy = rows @ torch.stack([x, y, x * x, y * y, x * y]) @ columns.T
        product, squares = mx * my, mx * mx + my * my
        luminance = (2 * product + 0.01**2) / (squares + 0.01**2)
        structure = (2 * (xy - product) + 0.03**2) / (xx + yy - squares + 0.03**2)
        return (luminance * structure).flatten(1).mean(1)


def _windows(side: int, like: Tensor) -> Tensor:
    """SSIM's Gaussian at each place along a side, (side - 10, side).

    The window in two dimensions is a product of two of them, so that means under it are two
    products of matrices.
    """
    at = torch.arange(side, dtype=like.dtype, device=like.device)
    offset = at - at[: side - WINDOW + 1, None]
    near = torch.exp(-0.5 * ((offset - WINDOW // 2) / 1.5) ** 2)
    near = near * ((offset >= 0) & (offset < WINDOW))
    return near / near.sum(1, keepdim=True)
