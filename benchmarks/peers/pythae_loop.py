"""The network, loss and optimiser of textbook.py, trained by pythae 0.1.2.

Model, data set, trainer and loop are pythae's own: `VAE` with a custom encoder and decoder,
`BaseDataset`, `BaseTrainer`. A training callback reads the clock at the end of each step, so a
step counts all that pythae does between two of them: drawing the batch, moving it, forward,
backward, `loss.item()`, its progress bar. A pythae "train step" is an epoch, so
`on_train_step_begin` comes once per epoch and `on_train_step_end` once per batch. Left out of the
seconds of an epoch are validation and the deep copy of the best model that follows it.

Options and report are those of textbook.py. pythae's logs go to standard error and what it
saves goes to a temporary folder that is removed.

pythae needs an environment of its own; nothing had to be held back or patched. Tested on Python
3.11 with a CPU build of torch 2.13.0, numpy 2.4.6 and pydantic 2.14.3:

    python3 -m venv pythae-env
    pythae-env/bin/pip install torch==2.13.0 numpy==2.4.6 pydantic==2.14.3
    pythae-env/bin/pip install pythae==0.1.2
    pythae-env/bin/python pythae_loop.py --data-dir DIR --batch 128 --steps 200

The note on allocator thresholds in textbook.py holds here as well.
"""

import contextlib
import tempfile

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from textbook import (
    HIDDEN,
    LATENT,
    LEARNING_RATE,
    PIXELS,
    VALIDATION_BATCH,
    Clock,
    Stop,
    mlp,
    parse,
    prepare,
)
from torch import nn


class Encoder(BaseEncoder):
    """Images (B, 1, 28, 28) → μ and log σ², each (B, 20)."""

    def __init__(self):
        super().__init__()
        self.hidden = mlp(PIXELS, HIDDEN, HIDDEN)
        self.mu = nn.Linear(HIDDEN, LATENT)
        self.log_var = nn.Linear(HIDDEN, LATENT)

    def forward(self, x):
        h = self.hidden(x.flatten(1))
        return ModelOutput(embedding=self.mu(h), log_covariance=self.log_var(h))


class Decoder(BaseDecoder):
    """Codes (B, 20) → images (B, 1, 28, 28) in [0, 1]."""

    def __init__(self):
        super().__init__()
        self.hidden = mlp(LATENT, HIDDEN, HIDDEN)
        self.output = nn.Linear(HIDDEN, PIXELS)

    def forward(self, z):
        x_hat = torch.sigmoid(self.output(self.hidden(z)))
        return ModelOutput(reconstruction=x_hat.reshape(-1, 1, 28, 28))


class SquaredErrorVAE(VAE):
    """pythae's VAE with the squared error at full weight.

    With reconstruction_loss="mse", pythae 0.1.2 computes 0.5 · Σ_pixels (x − x̂)² + KL, a mean
    over images: a Gaussian likelihood of variance 1. textbook.py has no factor 0.5, hence the 2
    here, which costs two operations on scalars per step.
    """

    def loss_function(self, recon_x, x, mu, log_var, z):
        _, half_error, kl = super().loss_function(recon_x, x, mu, log_var, z)
        error = 2 * half_error
        return error + kl, error, kl


class ClockCallback(TrainingCallback):
    """Forward pythae's events to the clock."""

    def __init__(self, clock):
        self.clock = clock

    def on_train_step_begin(self, training_config, **kwargs):
        self.clock.start()

    def on_train_step_end(self, training_config, **kwargs):
        self.clock.tick()

    def on_log(self, training_config, logs, **kwargs):
        self.clock.validated(logs["eval_epoch_loss"])


def dataset(images):
    """Return uint8 images as pythae's data set; it asks for labels, which nothing reads."""
    x = torch.from_numpy(images).unsqueeze(1).float() / 255
    return BaseDataset(x, torch.zeros(len(x)))


def configure(options, folder):
    """Return pythae's training configuration for `options`."""
    return BaseTrainerConfig(
        output_dir=folder,
        per_device_train_batch_size=options.batch,
        per_device_eval_batch_size=VALIDATION_BATCH,
        num_epochs=options.epochs if options.steps is None else 10**6,  # the clock stops steps
        train_dataloader_num_workers=options.workers,
        optimizer_cls="AdamW",
        learning_rate=LEARNING_RATE,
        seed=options.seed,
        no_cuda=True,
    )


def train(options, clock, folder):
    """Train until the options' steps, epochs or target are reached; write to `folder`."""
    training, validation = (dataset(part) for part in prepare(options))
    model = SquaredErrorVAE(
        VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="mse"),
        encoder=Encoder(),
        decoder=Decoder(),
    )
    trainer = BaseTrainer(
        model,
        training,
        validation,
        training_config=configure(options, folder),
        callbacks=[ClockCallback(clock)],
    )
    trainer.train()


def main():
    """Train as the command line asks and print the report."""
    options = parse("Train a VAE on MNIST with pythae's trainer and report its speed.")
    clock = Clock(options)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Stop):
        train(options, clock, folder)
    clock.report("pythae")


if __name__ == "__main__":
    main()
