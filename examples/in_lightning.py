"""A model of zspace in a LightningModule.

    pip install lightning
    python examples/in_lightning.py

Takes about 20 seconds on two cores. Expect Lightning's bar, and terms of the validation set in the
end.
"""

from __future__ import annotations

import argparse

import lightning
import torch

import zspace
from zspace.models import vae


class LitVAE(lightning.LightningModule):
    """The VAE of a recipe; its objective is the loss, and every term is logged by its name."""

    def __init__(self, latent: int = 20, lr: float = 1e-3) -> None:
        super().__init__()
        recipe = vae(zspace.Spec((1, 28, 28)), latent=latent)
        self.model, self.objective, self.lr = recipe.model, recipe.players[0].objective, lr

    def training_step(self, x: torch.Tensor, index: int) -> torch.Tensor:
        progress = self.global_step / max(1, self.trainer.estimated_stepping_batches)
        loss, terms = self.objective(self.model(x), progress=min(1.0, progress))
        self.log_dict({f"train/{name}": value for name, value in terms.items()})
        return loss

    def validation_step(self, x: torch.Tensor, index: int) -> None:
        _, terms = self.objective(self.model(x))
        self.log_dict({f"validation/{name}": value for name, value in terms.items()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.model.parameters(), lr=self.lr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    epochs = parser.parse_args().epochs

    lightning.seed_everything(0)
    data, loader = zspace.data.load("mnist5k"), torch.utils.data.DataLoader
    train = loader(data.train.images(), batch_size=128, shuffle=True)
    validation = loader(data.validation.images(), batch_size=500)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", **quiet)
    module = LitVAE()
    trainer.fit(module, train, validation)
    print({name: round(float(value), 2) for name, value in trainer.callback_metrics.items()})


if __name__ == "__main__":
    main()
