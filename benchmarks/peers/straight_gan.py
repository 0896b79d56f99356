"""A straightforward loop for a VAE with a discriminator and a perceptual loss, as one writes it.

The same networks, terms and weights as `zspace train vaegan`, in fp32: samples one by one through
a DataLoader, a pass of the model for the discriminator and another for the model, features of real
and made images, the adaptive weight, and Python floats for the log at every step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from zspace.models.terms import kl
from zspace.training.build import Build


def steps(session: Build, batch: int) -> Iterator[dict[str, float]]:
    """Endless steps on copies of the session's networks; each gives its log."""
    ours, tells = session.trainer.players
    term: Any  # a `Perceptual`
    model, discriminator, term = copy.deepcopy(
        (session.trainer.model, tells.module, ours.objective.terms[3])
    )
    weights = ours.objective.weights
    images = session.data.train.images()
    loader = DataLoader(TensorDataset(images), batch_size=batch, shuffle=True)
    makes = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95))
    sharpens = torch.optim.AdamW(discriminator.parameters(), lr=2e-3, betas=(0.9, 0.95))
    last = [p for p in model.decoder.parameters() if p.dim() > 1][-1]
    model.train()
    while True:
        for (x,) in loader:
            with torch.no_grad():
                made = model(x).px.mean[0]
            loss = 0.5 * (F.relu(1 - discriminator(x)) + F.relu(1 + discriminator(made))).mean()
            sharpens.zero_grad()
            loss.backward()
            sharpens.step()

            p = model(x)
            made = p.px.mean[0]
            error = (made - x).square().flatten(1).sum(1).mean()
            divergence = kl(p)["kl"].mean()
            seen = term.distance(made, x).mean()
            rest = error + weights["kl"] * divergence + weights["perceptual"] * seen
            game = -discriminator(made).mean()
            of_rest = torch.autograd.grad(rest, last, retain_graph=True)[0].norm()
            of_game = torch.autograd.grad(game, last, retain_graph=True)[0].norm()
            ratio = (of_rest / (of_game + 1e-4)).clamp(max=1e4).detach()
            total = rest + 0.5 * ratio * game
            makes.zero_grad()
            total.backward()
            makes.step()
            yield {"error": error.item(), "kl": divergence.item(), "discriminator": loss.item()}
