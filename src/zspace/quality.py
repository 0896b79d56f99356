"""How near decoded images come to the images they stand for: squared error, SSIM and PSNR.

All three are numbers of one image x and its reconstruction y, (C, H, W) with values in [0, 1], so
that the data range L is 1.0:

    mse    mean over pixels and channels of (x - y)^2; 0 is equal
    ssim   structural similarity, in [-1, 1]; 1 is equal
    psnr   10 log10(L^2 / mse), in decibels; more is nearer

They are means over pixels and compare images of different sizes, as the sum `mse` of
`zspace.terms` does not.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from zspace.types import Batch, Model

WINDOW = 11
"""The side of SSIM's window in pixels; smaller images have no SSIM."""
CAP = 100.0
"""Decibels, the PSNR of a perfect copy and the most that is reported: an mse of 1e-10."""
MOST = 1000
"""Images that are measured after every epoch, at most."""


def quality(x: Tensor, y: Tensor) -> dict[str, Tensor]:
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


@torch.no_grad()
def measure(model: Model, batches: Iterable[Batch], most: int = MOST) -> dict[str, float]:
    """Means of those measures over the first `most` images and their reconstructions.

    A reconstruction is the mean of p(x|z) at the code `encode` gives: nothing is drawn, the model
    is in eval mode meanwhile, and no generator moves. Numbers are read from the device once, at
    the end. Samples that are no images (C, H, W) have no such measures: the result is empty.
    """
    training, total, count = model.training, dict[str, Tensor](), 0
    model.eval()
    try:
        for batch in batches:
            if batch.x.dim() != 4 or count >= most:
                break
            x = batch.x[: most - count]
            c = None if batch.c is None else batch.c[: len(x)]
            values = quality(x, model.decode(model.encode(x, c), c).mean)
            for name, value in values.items():
                total[name] = total.get(name, 0) + value.sum(dtype=torch.float64)
            count += len(x)
    finally:
        model.train(training)
    if not total:
        return {}
    means = torch.stack(list(total.values())) / count
    return dict(zip(total, means.tolist(), strict=True))
