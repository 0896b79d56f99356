"""A fully connected VAE on MNIST as the tutorials write it: the plain PyTorch side of a benchmark.

Encoder q(z|x) = N(μ(x), diag exp(log σ²(x))): 784 → 784 → 784 → two heads of 20.
Decoder x̂(z): 20 → 784 → 784 → 784, sigmoid at the end; ReLU between the layers.
Loss, a mean over the images of a batch: Σ_pixels (x − x̂)² + KL(q(z|x) ‖ N(0, I)), one z per x.
Optimiser: AdamW at a constant 1e-3, PyTorch's other defaults (so a weight decay of 0.01).

The data path is the usual one: a `Dataset` that returns one normalised image, a shuffling
`DataLoader`, and one `loss.item()` per step. Everything runs on the CPU. The last line printed is
one JSON object, alone on standard output; progress goes to standard error. Validation is the loss
above, one z per image, over the last 6,000 images of a seeded permutation, after every epoch.

With glibc, compare programs under fixed allocator thresholds. Left to itself it may hand the freed
gradients back to the system at every step and fault them in again, which costs some 7 ms per step
on one machine and depends on what large blocks the program happened to free before training.

    export MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=2147483648
    python textbook.py --data-dir DIR --batch 128 --steps 200
    python textbook.py --data-dir DIR --batch 128 --epochs 20 --target 35

DIR is a folder that holds mnist/train-images-idx3-ubyte.gz.
"""

import argparse
import contextlib
import gzip
import json
import statistics
import struct
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

PIXELS = 28 * 28
HIDDEN = 784
LATENT = 20
LEARNING_RATE = 1e-3
VALIDATION = 6_000
VALIDATION_BATCH = 1_000  # divides VALIDATION, so a mean of batch means is the mean over images
WARM_UP = 5  # steps that never enter the median: first allocations, lazy imports


def read_images(folder):
    """Return MNIST's training images as uint8 of shape (60000, 28, 28) from `folder`/mnist."""
    path = Path(folder) / "mnist" / "train-images-idx3-ubyte.gz"
    with gzip.open(path) as file:
        magic, count, height, width = struct.unpack(">4i", file.read(16))
        pixels = np.frombuffer(file.read(), dtype=np.uint8)
    if magic != 2051:
        raise ValueError(f"{path} is no IDX file of images: its magic number is {magic}, not 2051")
    return pixels.reshape(count, height, width)


def split(images, seed):
    """Return (training, validation) images by a permutation that depends on `seed` alone."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).numpy()
    return images[order[:-VALIDATION]], images[order[-VALIDATION:]]


class Images(Dataset):
    """One float image of shape (1, 28, 28) in [0, 1] per index."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return torch.from_numpy(self.images[index]).unsqueeze(0).float() / 255


def mlp(*sizes):
    """Return the linear layers sizes[0] → … → sizes[-1], a ReLU after each of them."""
    layers = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class VAE(nn.Module):
    """The network of the module's docstring; `forward` returns (x̂, μ, log σ²)."""

    def __init__(self):
        super().__init__()
        self.encoder = mlp(PIXELS, HIDDEN, HIDDEN)
        self.mu = nn.Linear(HIDDEN, LATENT)
        self.log_var = nn.Linear(HIDDEN, LATENT)
        self.decoder = mlp(LATENT, HIDDEN, HIDDEN)
        self.output = nn.Linear(HIDDEN, PIXELS)

    def forward(self, x):
        h = self.encoder(x.flatten(1))
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)
        return torch.sigmoid(self.output(self.decoder(z))), mu, log_var


def loss_of(model, x):
    """Return the mean over images of the squared error summed over pixels, plus the KL term."""
    x_hat, mu, log_var = model(x)
    error = (x.flatten(1) - x_hat).pow(2).sum(dim=1)
    kl = -0.5 * (1 + log_var - mu.pow(2) - log_var.exp()).sum(dim=1)
    return (error + kl).mean()


class Stop(Exception):
    """The steps or the validation loss that the command line asked for are reached."""


class Clock:
    """Time the steps from end to end, so that loading the next batch counts.

    `start` opens an epoch, `tick` closes a step, `validated` closes the epoch; the time between
    the last `tick` and the next `start` (validation, bookkeeping) is nobody's. `tick` and
    `validated` raise `Stop` once what the options ask for is reached.
    """

    def __init__(self, options):
        self.options = options
        self.times = []
        self.epochs = []
        self.last = time.perf_counter()

    def start(self):
        self.last = time.perf_counter()

    def tick(self):
        now = time.perf_counter()
        self.times.append(now - self.last)
        self.last = now
        if self.options.steps is not None and len(self.times) == WARM_UP + self.options.steps:
            raise Stop

    def validated(self, loss):
        epoch = len(self.epochs) + 1
        self.epochs.append({"epoch": epoch, "seconds": sum(self.times), "validation": loss})
        print(f"epoch {epoch}: validation {loss:.3f}", file=sys.stderr)
        if self.options.target is not None and loss < self.options.target:
            raise Stop

    def report(self, who):
        """Print the run as one line of JSON; the median is over the steps after the warm-up."""
        timed = self.times[WARM_UP:]
        median = statistics.median(timed) if timed else None
        line = {
            "who": who,
            "batch": self.options.batch,
            "steps": len(timed),
            "seconds_per_step": median,
            "samples_per_second": self.options.batch / median if median else None,
            "epochs": self.epochs,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        print(json.dumps(line), flush=True)


def positive(text):
    """Return `text` as an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, received {text}")
    return value


def parse(description):
    """Return the command line's options, which both scripts of this folder share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data-dir", type=Path, required=True, help="holds mnist/train-images-idx3-ubyte.gz"
    )
    parser.add_argument("--batch", type=positive, default=128)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=positive, help=f"timed steps, after {WARM_UP} of warm-up")
    length.add_argument("--epochs", type=positive, default=10)
    parser.add_argument("--target", type=float, help="stop once validation falls below this")
    parser.add_argument("--threads", type=positive, help="of PyTorch; its own default without")
    parser.add_argument("--workers", type=int, default=0, help="of the training DataLoader")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def prepare(options):
    """Set threads and seed; return (training, validation) images."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    try:
        return split(read_images(options.data_dir), options.seed)
    except (OSError, ValueError) as error:
        raise SystemExit(f"--data-dir: {error}") from error


@torch.no_grad()
def validate(model, loader):
    """Return the mean loss over the images of `loader`."""
    model.eval()
    return statistics.fmean(loss_of(model, x).item() for x in loader)


def train_epoch(model, optimiser, loader, clock):
    """Run one epoch of training; return the mean of its steps' losses."""
    model.train()
    total = 0.0
    clock.start()
    for x in loader:
        loss = loss_of(model, x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.item()
        clock.tick()
    return total / len(loader)


def train(options, clock):
    """Train until the options' steps, epochs or target are reached."""
    training, validation = (Images(part) for part in prepare(options))
    model = VAE()
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    # Seeded again so that order and noise do not hang on how many numbers the model drew.
    torch.manual_seed(options.seed)
    loader = DataLoader(
        training, batch_size=options.batch, shuffle=True, num_workers=options.workers
    )
    validation_loader = DataLoader(validation, batch_size=VALIDATION_BATCH)
    while options.steps is not None or len(clock.epochs) < options.epochs:
        loss = train_epoch(model, optimiser, loader, clock)
        print(f"epoch {len(clock.epochs) + 1}: training {loss:.3f}", file=sys.stderr)
        clock.validated(validate(model, validation_loader))


def main():
    """Train as the command line asks and print the report."""
    options = parse("Train a VAE on MNIST with a plain PyTorch loop and report its speed.")
    clock = Clock(options)
    with contextlib.suppress(Stop):
        train(options, clock)
    clock.report("textbook")


if __name__ == "__main__":
    main()
