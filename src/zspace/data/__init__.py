"""Where samples come from, how they are split, and how batches are made.

    name, folder, file -> load -> Data (three splits) -> Batches -> Batch x (B, C, H, W), c (B, C)

`DataOptions` are the choices that the command line offers, `sources` lists the sets with a name,
and `describe` gives the facts of one of them.

>>> data = load("mnist5k", quiet=True)        # or a folder, an .npz or .npy file, hf:NAME
>>> batches = Batches(data.train, batch=128, device=torch.device("cpu"), seed=0)
>>> next(batches.epoch(0)).x.shape            # float32 in [0, 1]
torch.Size([128, 1, 28, 28])
"""

from zspace.data.batches import Batches
from zspace.data.dataset import Data, Samples
from zspace.data.loading import load
from zspace.data.options import DataOptions
from zspace.data.sets.catalogue import describe, sources
from zspace.data.spec import Batch, Spec

__all__ = [
    "Batch", "Batches", "Data", "DataOptions", "Samples", "Spec", "describe", "load", "sources",
]  # fmt: skip
