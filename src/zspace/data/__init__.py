"""Where samples come from, how they are split, and how batches are made.

data = load("mnist5k")                          # or a folder, an .npz or .npy file, hf:NAME
batches = Batches(data.train, batch=128, device=torch.device("cpu"), seed=0)
for batch in batches.epoch(0):
    batch.x                                     # (128, 1, 28, 28), float32 in [0, 1]
"""

from zspace.data.batches import Batches
from zspace.data.dataset import Data, Samples
from zspace.data.loading import DataOptions, describe, load, sources
from zspace.data.spec import Batch, Spec

__all__ = [
    "Batch",
    "Batches",
    "Data",
    "DataOptions",
    "Samples",
    "Spec",
    "describe",
    "load",
    "sources",
]
