"""Images: how a user's values become numbers in [0, 1], and how near a reconstruction is.

Values are taken as their type says: bytes divided by 255, 16 bits by 65,535, floats as they are. A
declared range (`--values LOW HIGH`) goes before that. What may mean two things, such as bytes of
only 0 and 1, is refused with the option that says which.

Nearness is measured by three numbers of an image x and its reconstruction y, both (C, H, W) with
values in [0, 1], so that the data range L is 1:

    mse    mean over pixels and channels of (x - y)^2; 0 for equal images
    ssim   structural similarity, in [-1, 1]; 1 for equal images
    psnr   10 log10(L^2 / mse), in decibels; higher is nearer

They are means over pixels, so images of different sizes can be compared. The sum `mse` of
`zspace.models.terms` is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zspace.data.dataset import to_float
from zspace.data.spec import Fact
from zspace.system.device import exact
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


def as_images(x: Any, shape: tuple[int, ...], values: tuple[float, float] | None = None) -> Tensor:
    """Images as float32 (N, *shape) in [0, 1].

    Arguments:
        x: (N, C, H, W) or one image (C, H, W), also with channels last; grey ones also as
            (N, H, W) or (H, W). Floats in [0, 1], or integers as the model was trained on.
        shape: (C, H, W), what the model reads.
        values: The integers that are 0 and 1, if they were declared; None: as their type says.

    Raises UserError for another shape, type or range: nothing is scaled by guessing.

    >>> as_images(np.full((28, 28), 255, np.uint8), (1, 28, 28)).shape
    torch.Size([1, 1, 28, 28])
    """
    images = as_tensor(x, "images")
    if shape[0] == 1 and tuple(images.shape[-2:]) == shape[1:] and images.dim() in (2, 3):
        images = images.reshape(-1, *shape)
    last = (*shape[1:], shape[0])
    if tuple(images.shape[1:]) == last != shape or tuple(images.shape) == last != shape:
        images = images.movedim(-1, -3)
    if tuple(images.shape) == shape:
        images = images[None]
    if images.dim() and not len(images):
        raise UserError("there are no images in the array: give at least one")
    if tuple(images.shape[1:]) != shape:
        raise UserError(
            f"images have shape {tuple(images.shape)}, but this model reads "
            f"({', '.join(['N', *map(str, shape)])})"
        )
    what = "x"
    if images.is_floating_point():
        low, high = images.min().item(), images.max().item()  # on its device, where it may stay
        if not (np.isfinite(low) and np.isfinite(high)):
            raise UserError(f"{what} holds NaN or infinite values; clean it first")
        if low < -SLACK or high > 1 + SLACK:
            black, white = _guess(np.dtype(np.float32), low, high)
            shifted = f"(x - {black:g})" if black > 0 else f"(x + {-black:g})" if black else "x"
            raise UserError(
                f"x holds values from {low:g} to {high:g}, but floats must lie in [0, 1]: give "
                f"{shifted} / {white - black:g}"
            )
        return images.float().clamp(0, 1)
    if images.is_complex():
        raise UserError(f"{what} is of type {images.dtype}: give integers, or floats in [0, 1]")
    array = images.cpu().numpy()
    low, high = extent([array], what)
    if values is None and array.dtype == np.uint8:
        high = 255  # a dark image may well hold only 0 and 1
    scale = scale_of(array.dtype, low, high, values or (), what)
    return to_float(torch.from_numpy(scale(array))).to(images.device)


BRIGHT = 64
"""A byte of this value or more uses enough of the range of a byte."""
SLACK = 1e-5
"""How far floats may leave their range, as a share of it, by rounding: they are clipped."""


@dataclass(frozen=True)
class Scale:
    """How raw values become [0, 1]: ``low`` becomes 0 and ``high`` becomes 1.

    Arguments:
        low: The raw value that becomes 0.
        high: The raw value that becomes 1.
        about: What was taken, in words.

    >>> Scale(-1, 1, "")(np.array([-1.0, 0.0, 1.0])).tolist()
    [0.0, 0.5, 1.0]
    >>> Scale(0, 1, "")(np.array([0, 1], np.uint8))
    array([  0, 255], dtype=uint8)
    """

    low: float
    high: float
    about: str

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The same values as uint8 in 0..255, where none is lost by it, or float32 in [0, 1]."""
        if x.dtype.kind in "iub" and (self.low, self.high) in ((0, 255), (0, 1)):
            return x.astype(np.uint8) if self.high == 255 else x.astype(np.uint8) * np.uint8(255)
        if x.dtype.kind == "f" and (self.low, self.high) == (0, 1):
            return x.astype(np.float32).clip(0, 1)
        wide: type[np.floating] = np.float32 if x.dtype.itemsize < 4 else np.float64
        return (
            ((x.astype(wide) - wide(self.low)) / (self.high - self.low))
            .clip(0, 1)
            .astype(np.float32)
        )

    def dtype(self, raw: np.dtype) -> np.dtype:
        """The type of what a call returns for values of this type."""
        return self(np.zeros(1, raw)).dtype


def parse_values(values: Sequence[Any]) -> tuple[float, float] | None:
    """``--values LOW HIGH`` as numbers; None for nothing and for ``auto``.

    Raises UserError for anything else.

    >>> parse_values(("-1", "1")), parse_values(("auto",))
    ((-1.0, 1.0), None)
    """
    if not values or tuple(values) == ("auto",):
        return None
    try:
        low, high = map(float, values)
        if not -1e300 < low < high < 1e300:
            raise ValueError
    except (TypeError, ValueError):
        told = " ".join(map(str, values))
        raise UserError(
            f"values are '{told:.60}': give the lowest and the highest value that there may be, "
            "such as --values 0 4095, or --values auto"
        ) from None
    return low, high


def extent(
    pieces: Iterable[np.ndarray], what: str, *, enough: float = float("inf")
) -> tuple[float, float]:
    """The lowest and the highest of all values, or of the first up to one above ``enough``.

    Raises UserError for NaN and infinite values.
    """
    low, high = float("inf"), float("-inf")
    for piece in pieces:
        if piece.size == 0:
            continue
        least, most = float(piece.min()), float(piece.max())
        low, high = min(low, least), max(high, most)
        if not (np.isfinite(least) and np.isfinite(most)):
            raise UserError(f"{what} holds NaN or infinite values; clean it first")
        if high > enough:
            break
    return low, high


def scale_of(dtype: np.dtype, low: float, high: float, values: Sequence[Any], what: str) -> Scale:
    """How values of this type, which run from low to high, are to be taken.

    Arguments:
        dtype: Of the raw values.
        low: The lowest of them.
        high: The highest of them.
        values: What was declared: (LOW, HIGH), ("auto",), or nothing.
        what: Whose they are, for the sentence.

    Raises UserError for values outside the declared range, and where nothing was declared and the
    type does not say it.

    >>> scale_of(np.dtype("uint8"), 0, 255, (), "x").about
    'uint8 values, 0 to 255 as 0 to 1'
    >>> scale_of(np.dtype("float64"), -1, 1, (), "x")
    Traceback (most recent call last):
    zspace.system.errors.UserError: x holds values from -1 to 1, but floats must lie in [0, 1]: ...
    """
    span = f"from {low:.6g} to {high:.6g}"
    declared = parse_values(values)
    if declared is None and values:
        declared = _guess(dtype, low, high)
        return _taken(dtype, *declared, f", taken by --values auto: they run {span}")
    if declared is not None:
        slack = SLACK * (declared[1] - declared[0])
        if low < declared[0] - slack or high > declared[1] + slack:
            told = "{:g} {:g}".format(*declared)
            raise UserError(
                f"{what} holds values {span}, outside --values {told}: give their range"
            )
        return _taken(dtype, *declared)
    return _usual(dtype, low, high, what)


def _taken(dtype: np.dtype, low: float, high: float, more: str = "") -> Scale:
    return Scale(low, high, f"{dtype.name} values, {low:g} to {high:g} as 0 to 1{more}")


def _usual(dtype: np.dtype, low: float, high: float, what: str) -> Scale:
    """Where nothing was declared."""
    span = f"from {low:.6g} to {high:.6g}"
    whole = dtype.kind in "iu"
    if dtype.kind == "b":
        return _taken(dtype, 0, 1)
    if whole and high == 1 and low >= 0:
        raise UserError(
            f"{what} is of type {dtype} and holds only 0 and 1, which may mean black and white or "
            "two near blacks: give --values 0 1, or --values 0 255"
        )
    if whole and low >= 0 and (high <= 255 or dtype == np.uint16):
        top = 65535 if dtype == np.uint16 else 255
        bits = max(1, int(high).bit_length())
        dark = f"; they reach only {high:g}: --values 0 {2**bits - 1} would use the whole range"
        return _taken(dtype, 0, top, dark * (high > 0 and 4 * high < top))
    if dtype.kind == "f" and low >= -SLACK and high <= 1 + SLACK:
        over = max(-low, high - 1)
        more = f", up to {over:.1g} beyond clipped" if over > 0 else ""
        if 0 < high < 1 / 16:
            more = f"; they reach only {high:.4g}: --values 0 {high:.4g} would use the whole range"
        return Scale(0, 1, f"{dtype.name} values in [0, 1]{more}")
    if dtype.kind not in "iuf":
        raise UserError(f"{what} is of type {dtype}: give uint8 in 0..255 or floats in [0, 1]")
    must = "floats must lie in [0, 1]" if dtype.kind == "f" else "integers must lie in 0..255"
    raise UserError(
        f"{what} holds values {span}, but {must}: say which values are black and white with "
        f"--values {_told(_guess(dtype, low, high))}{_or_else(low, high)}"
    )


def _told(range_: tuple[float, float]) -> str:
    return "{:g} {:g}".format(*range_)


def _or_else(low: float, high: float) -> str:
    """What else may be meant, where the guess is a usual range."""
    usual = (low >= -1 and high <= 1) or (low >= 0 and high <= 65535)
    return "" if usual else ", which is what is there, or with a range of your own"


def _guess(dtype: np.dtype, low: float, high: float) -> tuple[float, float]:
    """The usual range that holds these values, else the values' own."""
    if low >= -SLACK and high <= 1 + SLACK:
        return 0.0, 1.0
    if low >= -1 - SLACK and high <= 1 + SLACK:
        return -1.0, 1.0
    if low >= 0 and high <= 65535:
        return 0.0, float(2 ** max(8, int(np.ceil(high)).bit_length()) - 1)
    return (low, high) if high > low else (low, low + 1)


def by(shape: tuple[int, ...]) -> str:
    """A shape as people write it.

    >>> by((1, 28, 28))
    '1×28×28'
    """
    return "×".join(map(str, shape))


QUALITY = {
    "mse": Fact("MSE", code="mean"),
    "ssim": Fact("SSIM", better="high", code="mean"),
    "psnr": Fact("PSNR", "dB", "high", code="mean"),
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
    with exact(x.device):  # variances would drown in bf16 and TF32
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
