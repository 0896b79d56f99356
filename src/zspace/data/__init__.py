"""Where samples come from, how they are split, and how batches are made.

data = load("mnist5k")                          # or a folder, an .npz or .npy file, hf:NAME
batches = Batches(data.train, batch=128, device=torch.device("cpu"), seed=0)
for batch in batches.epoch(0):
    batch.x                                     # (128, 1, 28, 28), float32 in [0, 1]
"""

from zspace.data.batches import Batches
from zspace.data.conditions import attribute_columns, columns, turns
from zspace.data.options import DataOptions
from zspace.data.samples import Data, Samples
from zspace.data.sources import describe, is_known, is_resized, lasting, load, sources

__all__ = [
    "Batches",
    "Data",
    "DataOptions",
    "Samples",
    "attribute_columns",
    "columns",
    "describe",
    "is_known",
    "is_resized",
    "lasting",
    "load",
    "sources",
    "turns",
]
