"""A plain LSTM language model of token sequences, for so many CPU seconds of training.

    python benchmarks/peers/lstm_lm.py FILE.npz SECONDS [--seed 0] [--width 256] [--lr 0.002]

FILE.npz holds train, validation and test (N, T) of token numbers, 0 the end and -1 what follows,
and `vocabulary`. Adam with a learning rate that falls as a cosine of the seconds; the weights of
the best of ten looks at validation are kept. Prints JSON: bits per token on the splits, seconds.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Language(nn.Module):
    """An embedding, an LSTM, a linear layer."""

    def __init__(self, vocabulary: int, width: int, layers: int) -> None:
        super().__init__()
        self.start = vocabulary
        self.embed = nn.Embedding(vocabulary + 1, width)
        self.lstm = nn.LSTM(width, width, layers, batch_first=True)
        self.out = nn.Linear(width, vocabulary)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T) -> the loss (B, T) of each, 0 after the end."""
        before = torch.cat([torch.full_like(x[:, :1], self.start), x[:, :-1].clamp(min=0)], 1)
        logits = self.out(self.lstm(self.embed(before))[0])
        flat = logits.flatten(0, 1), x.flatten()
        return F.cross_entropy(*flat, ignore_index=-1, reduction="none").unflatten(0, x.shape)


@torch.no_grad()
def bits(model: Language, x: torch.Tensor) -> float:
    """Bits per token."""
    total = sum(model(part).sum().item() for part in x.split(256))
    return total / (math.log(2) * int((x >= 0).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    with np.load(args.file) as archive:
        splits = {
            n: torch.from_numpy(archive[n].astype(np.int64)) for n in archive if n != "vocabulary"
        }
        model = Language(int(archive["vocabulary"]), args.width, args.layers)
    adam = torch.optim.Adam(model.parameters(), args.lr)
    used, looks, best, kept = 0.0, 0, math.inf, copy.deepcopy(model.state_dict())
    train = splits["train"]
    while used < args.seconds:
        for rows in torch.randperm(len(train)).split(args.batch):
            begin = time.process_time()
            adam.param_groups[0]["lr"] = (
                args.lr * 0.5 * (1 + math.cos(math.pi * min(1, used / args.seconds)))
            )
            x = train[rows]
            x = x[:, : int((x >= 0).sum(1).max())]
            loss = model(x).sum() / len(x)
            adam.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            adam.step()
            used += time.process_time() - begin
            if used >= (looks + 1) * args.seconds / 10 or used >= args.seconds:
                looks += 1
                found = bits(model, splits["validation"][:2000])
                if found < best:
                    best, kept = found, copy.deepcopy(model.state_dict())
            if used >= args.seconds:
                break
    model.load_state_dict(kept)
    parameters = sum(p.numel() for p in model.parameters())
    print(
        json.dumps(
            {
                "seconds": used,
                "parameters": parameters,
                "validation": best,
                "test": bits(model, splits["test"]),
            }
        )
    )


if __name__ == "__main__":
    main()
