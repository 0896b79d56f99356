"""VGG16's convolutions with their published weights, as LPIPS looks through them.

References: Simonyan, Zisserman. Very deep convolutional networks for large-scale image
recognition. 2014, arXiv 1409.1556; Zhang, Isola, Efros, Shechtman, Wang. The unreasonable
effectiveness of deep features as a perceptual metric. 2018, arXiv 1801.03924 (scaling of images,
weights of channels).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zspace.data.readers.fetch import data_root
from zspace.system.bars import download_bar
from zspace.system.downloads import cache_folder, pooch
from zspace.system.errors import UserError

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of LPIPS, for [-1, 1]
SMALLEST = 32  # the fifth map of a smaller image would be less than 2 x 2
TIMEOUT = 30


@dataclass(frozen=True)
class Published:
    """A file of weights: its name, where it is published, and its SHA-256."""

    name: str
    url: str
    sha256: str


NETWORK = Published(
    "vgg16-397923af.pth",  # torchvision's, trained on ImageNet
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
)
LINEAR = Published(
    "vgg.pth",  # LPIPS v0.1; MD5 d507d7349b931f0638a25a48a722f98a
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/"
    "lpips/weights/v0.1/vgg.pth",
    "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
)


class VGG16Features(nn.Module):
    """The 13 convolutions of VGG16, frozen: gradients reach images, never the weights.

    Weights are buffers that no state_dict holds, so that checkpoints do not carry 59 MB of them.

    Arguments:
        network: Tensors by torchvision's names, ``features.0.weight`` (64, 3, 3, 3) and so on.
        linear: Tensors by LPIPS' names, ``lin0.model.1.weight`` (1, 64, 1, 1) and so on.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, network: Mapping[str, Tensor], linear: Mapping[str, Tensor]) -> None:
        super().__init__()
        for stage, layer, name in _layers():
            for kind in ("weight", "bias"):
                self._keep(f"{kind}{stage}_{layer}", network[f"features.{name}.{kind}"])
        for stage in range(len(STAGES)):
            self._keep(f"linear{stage}", linear[f"lin{stage}.model.1.weight"].flatten())
        self._keep("shift", torch.tensor(SHIFT)[:, None, None])
        self._keep("scale", torch.tensor(SCALE)[:, None, None])

    @classmethod
    def pretrained(cls, data_dir: Path | None = None, *, quiet: bool = False) -> VGG16Features:
        """With the published weights; those missing are downloaded once (VGG16: 528 MB).

        Raises UserError where they cannot be fetched, or are not what was published.
        """
        paths = {f: _find(f, data_dir) or _download(f, quiet) for f in (NETWORK, LINEAR)}
        return cls(*(_read(path, file) for file, path in paths.items()))

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.detach().float(), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x (B, 3, H, W), scaled as VGG16 was trained -> maps after relu1_2, 2_2, 3_3, 4_3, 5_3.

        They have 64, 128, 256, 512 and 512 channels; each is half as large as the one before.
        """
        maps: list[Tensor] = []
        for stage, layer, _ in _layers():
            if maps and layer == 0:
                x = F.max_pool2d(x, 2)
            weight, bias = (self.get_buffer(f"{k}{stage}_{layer}") for k in ("weight", "bias"))
            x = F.relu(F.conv2d(x, weight, bias, padding=1))
            if layer + 1 == len(STAGES[stage]):
                maps.append(x)
        return maps

    def features(self, x: Tensor) -> list[Tensor]:
        """The maps of images x (B, 1 or 3, H, W) in [0, 1].

        Grey images are repeated over three channels. Images with a side below 32 pixels are
        enlarged bilinearly until it has 32. Raises UserError for other numbers of channels.
        """
        if x.shape[1] not in (1, 3):
            raise UserError(
                f"VGG16 reads images of 1 or 3 channels, but these have {x.shape[1]}: use "
                "--perceptual judge or none"
            )
        short = min(x.shape[2:])
        if short < SMALLEST:
            size = [round(side * SMALLEST / short) for side in x.shape[2:]]
            x = F.interpolate(x, size, mode="bilinear", align_corners=False)
        x = (x.expand(-1, 3, -1, -1) * 2 - 1 - self.shift) / self.scale
        return self(x.contiguous(memory_format=torch.channels_last))

    def weights(self) -> list[Tensor]:
        """LPIPS' weight (C_l,) >= 0 of every channel, fitted to people's judgements."""
        return [self.get_buffer(f"linear{stage}") for stage in range(len(STAGES))]


def _layers() -> Iterator[tuple[int, int, int]]:
    """For every convolution: its stage, its place there, and its number in torchvision's file."""
    number = 0
    for stage, widths in enumerate(STAGES):
        for layer in range(len(widths)):
            yield stage, layer, number
            number += 2  # the ReLU has a number, too
        number += 1  # and so has the maximum after each stage


def find_weights(data_dir: Path | None = None) -> tuple[Path, Path] | None:
    """The files of VGG16 and of LPIPS on this machine, or None; no network is used.

    They are looked for in ``data_dir`` or ZSPACE_DATA, in its sub-folder weights, in the cache of
    torch.hub and in that of zspace; those of LPIPS come with torchmetrics. What they contain is
    checked when they are read.
    """
    network, linear = _find(NETWORK, data_dir), _find(LINEAR, data_dir)
    return (network, linear) if network and linear else None


def _cache() -> Path:
    return cache_folder() / "weights"


def _find(file: Published, data_dir: Path | None) -> Path | None:
    root = data_root(data_dir)
    folders = [root, root / "weights"] if root else []
    folders += [Path(torch.hub.get_dir()) / "checkpoints", _cache()]
    package = importlib.util.find_spec("torchmetrics")
    if file is LINEAR and package is not None and package.origin is not None:
        folders.append(Path(package.origin).parent / "functional" / "image" / "lpips_models")
    return next((path for f in folders if (path := f / file.name).is_file()), None)


def _download(file: Published, quiet: bool) -> Path:
    pooch.get_logger().setLevel("WARNING")  # its lines would break the progress bar
    known, folder = f"sha256:{file.sha256}", _cache()
    try:
        with download_bar(file.name, quiet) as progress:
            downloader = pooch.HTTPDownloader(progressbar=progress, timeout=TIMEOUT)
            path = pooch.retrieve(file.url, known, file.name, folder, downloader=downloader)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        why = "wrong checksum" if "hash" in str(error) else f"{type(error).__name__}: {error}"
        raise UserError(
            f"{file.url} could not be fetched ({why[:160]}): put '{file.name}' into '{folder}' or "
            "the folder that ZSPACE_DATA names, or use --perceptual judge"
        ) from None
    return Path(path)


def _read(path: Path, file: Published) -> dict[str, Tensor]:
    """The tensors of a file whose content is what was published."""
    found = pooch.file_hash(str(path), alg="sha256")
    if found != file.sha256:
        raise UserError(
            f"'{path}' is not the published {file.name}: its SHA-256 begins with {found[:8]}, not "
            f"{file.sha256[:8]}; delete it, and it is fetched again, or use --perceptual judge"
        )
    return torch.load(path, map_location="cpu", weights_only=True)
