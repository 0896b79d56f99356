"""Random changes that leave an image as likely as it was, for training only.

flip   left and right change places in half of the images
crop   an image is moved by up to an eighth of its sides, what leaves it mirrored at the border

Both only choose which pixel comes where, so that a batch takes two look-ups, on its device. The
draws are from torch's global generator, whose state checkpoints keep.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Augment = Literal["none", "flip", "crop", "flip-crop"]


def augmented(x: Tensor, how: Augment) -> Tensor:
    """Images (B, C, H, W) of any type, each changed by draws of its own."""
    height, width = x.shape[2:]
    if "crop" in how:
        rows, columns = _moved(x, height), _moved(x, width)
    else:
        rows, columns = None, torch.arange(width, device=x.device).expand(len(x), -1)
    if "flip" in how:
        turned = torch.rand(len(x), 1, device=x.device) < 0.5
        columns = torch.where(turned, columns.flip(1), columns)
    if rows is not None:
        x = x.gather(2, rows[:, None, :, None].expand(x.shape))
    return x if how == "none" else x.gather(3, columns[:, None, None].expand(x.shape))


def _moved(x: Tensor, side: int) -> Tensor:
    """For each image the positions (B, side) that its pixels come from, along one side."""
    reach = side // 8
    by = torch.randint(-reach, reach + 1, (len(x), 1), device=x.device)
    at = (torch.arange(side, device=x.device) + by).abs()
    return side - 1 - (side - 1 - at).abs()
