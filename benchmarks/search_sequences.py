"""The search for the defaults of sentence-vae and for how gaps are filled, by validation.

    python benchmarks/search_sequences.py tokens --data FILE.smi [--cut smiles] --seconds 80
        --try '{}' '{"word_dropout": 0.2}' '{"encoder": "temporal"}' [--made FOLDER]
    python benchmarks/search_sequences.py weights RUN FILE.npz [--missing -200]

tokens   each candidate is a JSON object of options of sentence-vae, or of `batch`, `lr` and
         `encoder` (gru or temporal). All train for the same CPU seconds on one thread, or for as
         many --steps, with the optimizer, the schedule and the averaged weights of `zspace train`.
         FOLDER takes 1,000 draws of each, for peers/chemistry.py
weights  of the ways to weigh a decoded curve against a straight line in a gap: the absolute error
         in standard deviations, for a run that was trained on windows with gaps. The windows of
         the .npz are split as `sequences.py gaps` does
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import sequences
import zspace
from zspace.data.kinds.series import between
from zspace.models.draws import heated, typical
from zspace.models.networks.sequence import SequenceEncoder
from zspace.models.networks.temporal import Temporal
from zspace.models.zoo.text import sentence_vae
from zspace.runs.settings import Settings

DRAWS, ROWS, TIGHT = 30, 1000, 300
"""Draws of the bound, and samples of validation for terms and for the bound."""
WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "line": torch.zeros_like,
    "curve": torch.ones_like,
    "half": lambda g: torch.full_like(g, 0.5),
    "1 - 1/g": lambda g: 1 - 1 / g,
    "g/(g+1)": lambda g: g / (g + 1),
    "g/(g+2)": lambda g: g / (g + 2),
    "g/(g+4)": lambda g: g / (g + 4),
}
"""What the curve counts in a gap of g steps."""


def tokens(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    data = zspace.data.load(args.data, tokens=args.cut, quiet=True)
    x = {name: samples.images().long() for name, samples in data.splits.items()}
    for text in args.tries:
        given = json.loads(text), args.seconds, args.steps, args.seed
        made = trained(data.spec, x["train"], *given)
        print(text, told(*made, x["validation"]), flush=True)
        if args.made:
            name = "".join(c if c.isalnum() else "-" for c in text)
            raw = data.encoding.decode(heated(made[0].sample(ROWS)))
            (args.made / f"{name}.txt").write_text("\n".join(raw) + "\n")


def trained(
    spec: Any, x: Tensor, options: dict[str, Any], seconds: float, most: int, seed: int
) -> tuple[Any, int, float]:
    """A model after so many CPU seconds, or the most steps if not 0; its steps, passes over x."""
    torch.manual_seed(seed)
    batch, lr = options.pop("batch", 64), options.pop("lr", Settings.lr)
    encoder = options.pop("encoder", "gru")
    recipe = sentence_vae(spec, **options)
    model, objective = recipe.model, recipe.players[0].objective
    if encoder == "temporal":
        trunk = Temporal(64, 3, spec.shape[0])
        features = model.encoder.out.out_features
        model.encoder = SequenceEncoder(
            trunk, spec.shape, features, width=64, vocabulary=spec.vocabulary
        )
    weights = list(model.parameters())
    own = Settings()
    adam = torch.optim.AdamW(weights, lr, betas=own.betas, weight_decay=own.weight_decay)
    averaged = [w.detach().clone() for w in weights]
    used, steps, progress = 0.0, 0, 0.0
    while progress < 1:
        for rows in torch.randperm(len(x)).split(batch):
            begin = time.process_time()
            adam.param_groups[0]["lr"] = own.rate(max(progress, 1e-4), lr)
            loss, _ = objective(model(x[rows]), progress)
            adam.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, own.clip)
            adam.step()
            steps += 1
            with torch.no_grad():
                decay = min(own.ema, (1 + steps) / (10 + steps))
                torch._foreach_lerp_(averaged, weights, 1 - decay)
            used += time.process_time() - begin
            progress = steps / most if most else used / seconds
            if progress >= 1:
                break
    with torch.no_grad():
        for w, mean in zip(weights, averaged, strict=True):
            w.copy_(mean)
    return model.eval(), steps, steps * batch / len(x)


@torch.no_grad()
def told(model: Any, steps: int, epochs: float, x: Tensor) -> str:
    """What is measured on validation."""
    torch.manual_seed(1)
    x = x[:ROWS]
    p = model(x)
    level = p.latents[0]
    kl = torch.distributions.kl_divergence(level.q.base_dist, level.p.base_dist)
    kl = kl.flatten(0, -2).mean(0)
    per_token = len(x) / (math.log(2) * int((x >= 0).sum()))
    bits = per_token * float(kl.sum() - p.px.log_prob(x).mean())
    tight = 0.0
    for part in x[:TIGHT].split(100):
        p = model(part, samples=DRAWS)
        level = p.latents[0]
        ratio = p.px.log_prob(part) + level.p.log_prob(level.z) - level.q.log_prob(level.z)
        tight -= float((ratio.logsumexp(0) - math.log(DRAWS)).sum())
    tight /= math.log(2) * int((x[:TIGHT] >= 0).sum())
    back = typical(model.decode(model.encode(x)))
    same = (back == x) | (x < 0)
    return (
        f"steps {steps} epochs {epochs:.2f} bits {bits:.4f} bits of {DRAWS} draws {tight:.4f} "
        f"KL {float(kl.sum()):.2f} active {int((kl > 0.01).sum())} of {len(kl)} "
        f"tokens {float(same[x >= 0].float().mean()):.3f} "
        f"whole {float(same.all(1).float().mean()):.3f}"
    )


def weights(args: argparse.Namespace) -> None:
    run = zspace.load(args.run)
    with np.load(args.windows) as archive:
        x = archive["data"].astype(np.float64)
    if args.missing is not None:
        x[x == args.missing] = np.nan
    validation = sequences._cut(x)["validation"]
    true = torch.from_numpy(run.encoding.encoded(validation))
    for sort, hide in sequences.SORTS.items():
        hidden = hide(validation.shape, np.random.default_rng(100))
        given = torch.from_numpy(run.encoding.encoded(np.where(hidden, np.nan, validation)))
        curve = torch.as_tensor(run.reconstructed(given))
        line, left, right = between(given)
        moved = curve + between(given - curve)[0]
        gap = (right - left - 1).clamp(min=1).float()
        off = {n: (line + w(gap) * (moved - line) - true).abs() for n, w in WEIGHTS.items()}
        at = torch.from_numpy(hidden) & ~true.isnan()
        channels = [j for j in range(true.shape[2]) if at[..., j].any()]
        errors = {n: np.mean([float(e[..., j][at[..., j]].mean()) for j in channels])
                  for n, e in off.items()}  # fmt: skip
        print(sort, " ".join(f"{name} {error:.4f}" for name, error in errors.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("tokens")
    part.add_argument("--data", required=True)
    part.add_argument("--cut", default="auto")
    part.add_argument("--seconds", type=float, default=80)
    part.add_argument("--steps", type=int, default=0, help="instead of --seconds")
    part.add_argument("--seed", type=int, default=0)
    part.add_argument("--try", dest="tries", nargs="+", default=["{}"])
    part.add_argument("--made", type=Path)
    part.set_defaults(do=tokens)
    part = parts.add_parser("weights")
    part.add_argument("run")
    part.add_argument("windows")
    part.add_argument("--missing", type=float)
    part.set_defaults(do=weights)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
