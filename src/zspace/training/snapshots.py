"""Snapshots: codes and reconstructions of a few test images at moments of training, for
animations.

snapshots.npz   epoch (S,); codes (S, M, Z) float16; y (M,) where there are labels;
                x (R, C, H, W) uint8; reconstructions (S, R, C, H, W) uint8;
                of a table R is 0: codes alone
"""

from __future__ import annotations

import io
import zlib
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from zspace.analysis.trained import evenly, subset
from zspace.data.conditions import columns_of
from zspace.data.dataset import Data, Samples
from zspace.models.draws import typical
from zspace.runs.record import SNAPSHOTS, Place
from zspace.system.pixels import to_uint8
from zspace.training.trainer import Trainer

POINTS, PICTURES = 1000, 10


class Snapshots:
    """Takes `wanted` snapshots over a training, close together at its start, where most happens.

    What an interrupted training has left there is taken up again.
    """

    def __init__(self, place: Place, data: Data, trainer: Trainer) -> None:
        self.place, self.wanted = place, trainer.settings.snapshots
        moments = np.geomspace(1, trainer.settings.epochs or 1, max(1, self.wanted))
        self.epochs = set(moments.round().astype(int).tolist())
        if not self.wanted:
            return
        points = subset(data.test, POINTS)
        shown = evenly(data.test, PICTURES if data.spec.kind == "image" else 0)
        self.x, self.c = self._inputs(points, None, trainer)
        self.shown = self._inputs(data.test, shown, trainer)
        self.y = points.labels()
        self.taken = self._earlier(trainer.epoch)

    @staticmethod
    def _inputs(
        samples: Samples, i: Tensor | None, trainer: Trainer
    ) -> tuple[Tensor, Tensor | None]:
        """Images of positions i and their contexts on the device."""
        c = columns_of(samples, trainer.model.context, i)
        x = samples.images(i).to(trainer.device)
        return x, None if c is None else c.to(trainer.device)

    def _earlier(self, epoch: int) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        if SNAPSHOTS not in self.place:
            return {}
        try:
            with np.load(io.BytesIO(self.place.read(SNAPSHOTS)), allow_pickle=False) as old:
                rows = zip(
                    old["epoch"].tolist(), old["codes"], old["reconstructions"], strict=True
                )
                return {number: (codes, shown) for number, codes, shown in rows if number <= epoch}
        except (ValueError, KeyError, BadZipFile, OSError, EOFError, zlib.error):
            return {}  # damaged: the animation begins here, the training is not harmed

    @torch.no_grad()
    def take(self, trainer: Trainer) -> None:
        """Take one if this epoch is among the moments, and write the file."""
        if not self.wanted or trainer.epoch not in self.epochs:
            return
        with trainer.average.used():
            trainer.model.eval()
            z = trainer.model.encode(self.x, self.c)
            x, c = self.shown
            made = typical(trainer.model.decode(trainer.model.encode(x, c), c))
            shown = to_uint8(made).cpu().numpy()
        self.taken[trainer.epoch] = (z.cpu().numpy().astype(np.float16), shown)
        arrays = {
            "epoch": np.array(list(self.taken)),
            "codes": np.stack([codes for codes, _ in self.taken.values()]),
            "reconstructions": np.stack([shown for _, shown in self.taken.values()]),
            "x": to_uint8(x).cpu().numpy(),
        }
        if self.y is not None:
            arrays["y"] = self.y.numpy()
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **arrays)
        self.place.write(SNAPSHOTS, content.getvalue())
