"""A judge: a small convolutional classifier trained on the data themselves, then frozen.

Its features stand in for those of a pretrained network. The perceptual term compares images by
`Judge.features`, Frechet distances use `Judge.embed`, and the balance of classes uses
`Judge.logits`. It needs labels, but no download. It is trained once for a data set, in at most a
tenth of the time that the default training of `vaegan` takes, and then kept.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from zspace.data.batches import Batches
from zspace.data.dataset import Data, Samples
from zspace.system import files
from zspace.system.bars import bar
from zspace.system.device import DTYPES, keep_freed_memory, pick_precision
from zspace.system.downloads import cache_folder
from zspace.system.errors import UserError, ran_out
from zspace.system.schedules import RATES

SMALLEST = 8
FIRST, GREY, COLOUR = 16, 64, 128
"""Widths of the first stage and of the last, for one channel and for more of them."""


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class Classifier(nn.Module):
    """Images (B, C, H, W) -> logits (B, classes).

    Stages of 3 x 3 convolutions, BatchNorm and ReLU, with a maximum over 2 x 2 pixels between,
    halve the image until its shorter side is 4 to 11 pixels. Widths double up to 64 for grey
    images and 128 for colour. The mean over the last map is `embed`; a linear layer reads it.

    Arguments:
        shape: (C, H, W) of one image, H and W at least 8.
        classes: How many there are.

    Raises UserError for samples that are not images, and for images below 8 x 8 pixels.

    >>> Classifier((1, 28, 28), 10).widths
    [16, 32, 64]
    """

    def __init__(self, shape: Sequence[int], classes: int) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape[1:]) < SMALLEST:
            raise UserError(
                f"a judge reads images (C, H, W) of at least {SMALLEST} x {SMALLEST} pixels, but "
                f"these samples have shape {tuple(shape)}: use larger images, or no judge"
            )
        stages = max(2, round(math.log2(min(shape[1:]) / 4)))
        self.width = GREY if shape[0] == 1 else COLOUR
        self.widths = [max(FIRST, self.width >> i) for i in reversed(range(stages))]
        ins = [shape[0], *self.widths]
        self.stages = nn.ModuleList(
            nn.Sequential(*_layer(a, b), *(_layer(b, b) if i else []))
            for i, (a, b) in enumerate(zip(ins, self.widths, strict=False))
        )
        self.head = nn.Linear(self.width, classes)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The output (B, width, H', W') of every stage, before it is halved."""
        found: list[Tensor] = []
        x = x.contiguous(memory_format=torch.channels_last)  # a CPU convolves it faster
        for stage in self.stages:
            found.append(stage(F.max_pool2d(found[-1], 2) if found else x))
        return found

    def embed(self, x: Tensor) -> Tensor:
        """What the last layer reads, (B, width)."""
        return self.maps(x)[-1].mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, classes)."""
        return self.head(self.embed(x))

    def fuse(self) -> Classifier:
        """This network for use, frozen: every BatchNorm becomes part of its convolution."""
        self.eval()
        stages: list[Any] = list(self.stages)
        for stage in stages:
            for i in range(0, len(stage), 3):
                stage[i], stage[i + 1] = fuse_conv_bn_eval(*stage[i : i + 2]), nn.Identity()
        return self.requires_grad_(False)


VERSION = 2  # raise it when a judge of the same data would come out different
SAMPLES, LEAST_EPOCHS, MOST_EPOCHS = {GREY: 144_000, COLOUR: 180_000}, 2, 12
BATCH, RATE, DECAY = 128, 5e-3, 0.05
SHIFT, CONTRAST, BRIGHTNESS = 2, 0.3, 0.15
SPLITS = ("validation", "test")
"""On which its accuracy is measured."""


class Judge(nn.Module):
    """A trained classifier, frozen: gradients reach images, never its weights.

    Arguments:
        network: The classifier, of images (B, C, H, W) in [0, 1].
        accuracy: The fraction of images that it labels correctly, by split: "validation", "test".
    """

    def __init__(self, network: Classifier, accuracy: dict[str, float]) -> None:
        super().__init__()
        self.network, self.accuracy = network, accuracy
        for i, width in enumerate(network.widths):
            self.register_buffer(f"weight{i}", torch.ones(width), persistent=False)

    def features(self, x: Tensor) -> list[Tensor]:
        """The maps (B, C_l, H_l, W_l) of every stage, fine to coarse."""
        return self.network.maps(x)

    def weights(self) -> list[Tensor]:
        """1 for every channel: these features were not fitted to people's judgements.

        Squared differences of unit vectors are then twice one minus their cosine, the uncalibrated
        distance that the LPIPS paper starts from.
        """
        return [self.get_buffer(f"weight{i}") for i in range(len(self.network.widths))]

    def embed(self, x: Tensor) -> Tensor:
        """(B, D): what the last layer reads, D = 64 for grey and 128 for colour images."""
        return self.network.embed(x)

    def logits(self, x: Tensor) -> Tensor:
        """(B, classes), unnormalised log-probabilities."""
        return self.network(x)


def train_judge(data: Data, device: torch.device, *, quiet: bool = False, seed: int = 0) -> Judge:
    """The judge of these data on the device: from the cache, else trained on ``data.train``.

    On a CPU, the same data, seed and number of threads give the same judge; the global random
    state stays as it was. The judge is kept in the user's cache folder, under the fingerprint of
    the data and of how it is trained; a damaged file is replaced. Of several processes one trains
    it, the others wait.

    Arguments:
        data: With labels; batches take images to [0, 1].
        device: Where the judge is trained, and where it is returned.
        quiet: Without a progress bar.
        seed: Of its weights and of the order of the images.

    Raises UserError for data without labels, with one class, and with images below 8 pixels.
    """
    if data.train.y is None or len(data.classes) < 2:
        raise UserError(
            f"a judge learns from labels of two classes or more, but data '{data.name}' have "
            f"{len(data.classes) or 'none'}: use --perceptual vgg16 or none"
        )
    path = _place(data, seed)
    judge = _read(path, data)
    if judge is None:
        with _alone(path):
            judge = _read(path, data)  # once more: whoever held the lock may have trained it
            if judge is None:
                judge = _learn(data, device, quiet, seed)
                _keep(path, judge)
    return judge.to(device)


def _learn(data: Data, device: torch.device, quiet: bool, seed: int) -> Judge:
    keep_freed_memory()
    with torch.random.fork_rng(devices=[]):  # every draw is made on the CPU
        torch.random.default_generator.manual_seed(seed)
        network = _network(data).to(device)
        _fit(network, data, quiet, seed)
    network.fuse()
    return Judge(network, {name: _accuracy(network, data.splits[name]) for name in SPLITS})


def _network(data: Data) -> Classifier:
    return Classifier(data.spec.shape, len(data.classes))


def _fit(network: Classifier, data: Data, quiet: bool, seed: int) -> None:
    device = network.head.weight.device
    dtype = DTYPES[pick_precision("auto", device)]
    batches = _batches(network, data.train.labelled(), seed=seed, shuffle=True)
    wanted = round(SAMPLES[network.width] / len(data.train))
    epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS, wanted))
    total = epochs * len(batches)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=DECAY, fused=True)
    network.train()
    with bar(f"training a judge on {data.name}", total, quiet) as made:
        for step, batch in enumerate(b for epoch in range(epochs) for b in batches.epoch(epoch)):
            for group in optimizer.param_groups:
                group["lr"] = RATE * RATES["one-cycle"]((step + 0.5) / total, 0)
            assert batch.c is not None
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                loss = F.cross_entropy(network(_varied(batch.x)), batch.c)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            made(1)


def _batches(network: Classifier, samples: Samples, *, seed: int, shuffle: bool) -> Batches:
    device, classes = network.head.weight.device, network.head.out_features
    return Batches(
        samples, batch=BATCH, device=device, seed=seed, classes=classes, shuffle=shuffle
    )


def _varied(x: Tensor) -> Tensor:
    """The batch (B, C, H, W) moved by up to two pixels, each image a little brighter or darker.

    Without the second, a lighter background costs 3.7 times as much (on mnist5k), and more than a
    blur of the same squared error.
    """
    top, left = torch.randint(0, 2 * SHIFT + 1, (2,)).tolist()
    wide = F.pad(x, (SHIFT,) * 4, mode="replicate")
    moved = wide[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    contrast, brightness = (2 * torch.rand(2, len(x), 1, 1, 1) - 1).to(x.device)
    return moved * (1 + CONTRAST * contrast) + BRIGHTNESS * brightness


@torch.no_grad()
def _accuracy(network: Classifier, samples: Samples) -> float:
    right = torch.zeros((), device=network.head.weight.device)
    for batch in _batches(network, samples, seed=0, shuffle=False).epoch(0):
        assert batch.c is not None
        right += (network(batch.x).argmax(1) == batch.c.argmax(1)).sum()
    return float(right) / len(samples)


def _place(data: Data, seed: int) -> Path:
    """Where the judge is kept, sealed: named by the data, the version, how it is trained, seed."""
    how = (SMALLEST, FIRST, *SAMPLES.items(), LEAST_EPOCHS, MOST_EPOCHS, BATCH, RATE, DECAY)
    told = repr((*how, SHIFT, CONTRAST, BRIGHTNESS)).encode()
    recipe = hashlib.sha256(told).hexdigest()[:8]
    name = f"{data.fingerprint}-{VERSION}-{recipe}-{seed}.safetensors"
    return cache_folder() / "judges" / name


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Within, no other process trains this judge, if the folder can be written to."""
    with ExitStack() as held:
        with suppress(files.CannotWrite), files.explained(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(files.locked(path.with_suffix(".lock")))
        yield


def _read(path: Path, data: Data) -> Judge | None:
    """The judge kept there; None where there is none, or where it is not what was written."""
    try:
        tensors, note = files.read_sealed_tensors(path)
        with torch.random.fork_rng(devices=[]):  # its first weights are drawn
            network = _network(data).fuse()
        network.load_state_dict(tensors)
        return Judge(network, {name: float(note["accuracy"][name]) for name in SPLITS})
    except (OSError, UserError, RuntimeError, ValueError, KeyError, TypeError) as error:
        if ran_out(error):
            raise
        return None


def _keep(path: Path, judge: Judge) -> None:
    try:
        with files.explained(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        tensors = judge.network.state_dict()
        files.write_sealed_tensors(path, tensors, {"accuracy": judge.accuracy})
    except files.CannotWrite as error:
        warnings.warn(f"the judge was not kept and will be trained again: {error}", stacklevel=3)
