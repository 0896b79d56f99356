"""How to train: the settings and the learning rates that they mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from zspace.system.device import DTYPES, Precision
from zspace.system.errors import UserError, unknown
from zspace.system.schedules import RATES

SMALLEST, LARGEST, SEQUENCES = 16, 128, 32
"""Default batches; the last one is the largest of tokens. A sequence is many samples of the next
token: after equal seconds batches of 32 were better than of 64, see benchmarks/README.md."""
SAMPLES, FEW, MANY = 650_000, 12, 60
"""Samples that a training reads by default, in so few to so many epochs."""
STEPS, WAIT = 1500, 50
"""Fewest steps by default, and fewest epochs of a default patience."""
HURRIED = 1000
"""Steps below which a default batch is halved, to 32 at least: after 15 seconds a VAE of colour
photographs stood at 92.6 with batches of 128, at 83.4 with 64 and at 82.3 with 32."""
Compile = Literal["off", "on", "auto"]
Graph = Literal["off", "on", "auto"]


@dataclass(frozen=True)
class Settings:
    """How to train: flags of `zspace train`, and keywords of `zspace.train`."""

    epochs: int | None = None
    """Passes over the training set; by default enough for 650,000 samples, from 12 to 60, and more
    than 60 where those are fewer than 1,500 steps."""
    minutes: float = 0.0
    """Choose the epochs by time: as many as fit into these minutes, measured before the first step
    and kept in run.json; 0 takes `epochs`. Loading and what comes before the steps is not counted.
    """
    batch: int | None = None
    """Samples per step, over all processes together; by default 128, or 32 for tokens, and for few
    training samples the power of two that gives two to four steps per epoch, at least 16. Where
    the epochs that were asked for would be fewer than 1,000 steps, it is 64 or 32."""
    lr: float = 3e-3
    """Peak learning rate of AdamW."""
    schedule: Literal["cosine", "one-cycle", "constant"] = "cosine"
    """Learning rate over training: cosine to zero, one cycle (30% up, cosine down), constant."""
    warmup: float | None = None
    """Fraction of training with a linearly growing learning rate; by default 0.02 for cosine and
    none for constant (one-cycle has its own)."""
    betas: tuple[float, float] = (0.8, 0.95)
    """Decay rates of AdamW's moments; faster ones than 0.9 and 0.999 suit short trainings."""
    weight_decay: float = 0.01
    """Decoupled weight decay of AdamW."""
    clip: float = 1.0
    """Largest gradient norm; 0 turns clipping off."""
    ema: float = 0.999
    """Decay of an exponential moving average of the weights; 0 keeps none."""
    patience: int | None = None
    """Stop after this many epochs without a better validation objective; 0 never stops early. By
    default an eighth of the epochs and at least 50, where a small set makes them more than 60.
    """
    precision: Precision = "auto"
    """Number format of matrix products; auto takes bf16 where it is faster on this machine. tf32
    keeps float32 and multiplies in TF32, which NVIDIA GPUs do faster; elsewhere it is off."""
    freeze: tuple[str, ...] = ()
    """Parts of the model that stay as they are, such as encoder, where a training goes on from a
    finished run."""
    keep_state: bool = False
    """Keep what an exact continuation needs once training has ended, some four times the weights:
    `zspace resume RUN --epochs N` then trains on."""
    snapshots: int = 0
    """How many times to keep codes and reconstructions during training, for an animation."""
    compile: Compile = "off"
    """Compile the step with torch.compile: off, on, or auto, which tests whether it is faster."""
    graph: Graph = "auto"
    """Record the step as a CUDA graph and replay it: off, on, or auto, which does so on a GPU
    where the step can be recorded."""
    device: str = "auto"
    """cpu, cuda, cuda:1 or mps; auto takes the first of cuda, mps and cpu that is available."""
    seed: int = 0
    """Seed of the initial weights, the order of samples and the draws of codes."""

    def check(self) -> Settings:
        """These settings. Raises UserError where one makes no sense."""
        choices = {
            "schedule": RATES,
            "precision": ("auto", *DTYPES),
            "compile": get_args(Compile),
            "graph": get_args(Graph),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        _check_number("epochs", 1 if self.epochs is None else self.epochs, 1)
        _check_number("batch", 1 if self.batch is None else self.batch, 1)
        _check_number("patience", self.patience or 0, 0)
        for name in ("seed", "snapshots"):
            _check_number(name, getattr(self, name), 0)
        for name in ("clip", "weight_decay", "minutes"):
            _check_number(name, getattr(self, name), 0.0)
        if not 0 < self.lr < math.inf:
            raise UserError(f"lr is {self.lr}: use a finite number above 0, for example 0.002")
        if len(self.betas) != 2 or not all(0 <= b < 1 for b in self.betas):
            raise UserError(f"betas are {self.betas}: give two numbers in [0, 1)")
        for name, value in (("ema", self.ema), ("warmup", self.warmup or 0.0)):
            if not 0 <= value < 1:
                raise UserError(f"{name} is {value}: use a number in [0, 1)")
        return self

    def decided(self, samples: int, kind: str = "image") -> Settings:
        """These settings with what follows from the number of training samples and their kind.

        >>> small, large = Settings().decided(100), Settings().decided(54_000)
        >>> small.batch, small.epochs, small.patience
        (32, 375, 50)
        >>> large.batch, large.epochs, large.patience
        (128, 12, 0)
        >>> Settings(epochs=1).decided(54_000).batch, Settings().decided(54_000, "tokens").batch
        (32, 32)
        """
        half = max(2, samples) // 2
        largest = SEQUENCES if kind == "tokens" else LARGEST
        batch = self.batch or min(max(1 << half.bit_length() - 1, SMALLEST), largest)
        while not self.batch and self.epochs and batch > LARGEST // 4:
            if self.epochs * math.ceil(samples / batch) >= HURRIED:
                break
            batch //= 2
        steps = math.ceil(samples / batch)
        usual = min(MANY, max(FEW, round(SAMPLES / samples)))
        epochs = self.epochs or max(usual, math.ceil(STEPS / steps))
        patience = self.patience
        if patience is None:
            small = epochs > MANY and not (self.epochs or self.minutes)
            patience = max(WAIT, epochs // 8) if small else 0
        warmup = self._warmup
        return replace(self, batch=batch, epochs=epochs, patience=patience, warmup=warmup)

    @property
    def _warmup(self) -> float:
        usual = 0.0 if self.schedule == "constant" else 0.02
        return usual if self.warmup is None else self.warmup

    def rate(self, progress: float, peak: float | None = None) -> float:
        """The learning rate at this progress in [0, 1]; peak: of it, by default `lr`."""
        return (peak or self.lr) * RATES[self.schedule](progress, self._warmup)


def _check_number(name: str, value: float, least: float) -> None:
    """A whole number where the bound is one, and at least the bound."""
    whole = isinstance(least, int)
    if not least <= value < 2**63 or (whole and value != int(value)):
        raise UserError(f"{name} is {value}: use a {'whole ' * whole}number >= {least}")
