"""The networks for CIFAR of pythae 0.1.2, in the loop of strided.py.

`resnet` is pythae's residual one, 2.2 million parameters. `conv` has four strided convolutions of
128 to 1,024 channels with BatchNorm and ReLU, 26 million, of which one core takes 4 steps of 32
images in 15 seconds. Options and report are those of strided.py; the environment is that of
pythae_loop.py.

    pythae-env/bin/python pythae_images.py --data DATA --recipe vae --latent 64 --budget 15
"""

from __future__ import annotations

import argparse

from pythae.models.base import BaseAEConfig
from pythae.models.nn.benchmarks import cifar
from strided import parser, race, reparameterised
from torch import Tensor, nn


class Pythae(nn.Module):
    """pythae's encoder and decoder; `forward` is that of `Strided`."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        config = BaseAEConfig(input_dim=options.shape, latent_dim=options.latent)
        net = {"conv": "Conv", "resnet": "ResNet"}[options.net]
        self.variational = options.recipe == "vae"
        self.encoder = getattr(cifar, f"Encoder_{net}_{options.recipe.upper()}_CIFAR")(config)
        self.decoder = getattr(cifar, f"Decoder_{net}_AE_CIFAR")(config)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        out = self.encoder(x)
        if not self.variational:
            return self.decoder(out.embedding).reconstruction, None, None
        mu, log_var = out.embedding, out.log_covariance
        return self.decoder(reparameterised(mu, log_var)).reconstruction, mu, log_var


def main() -> None:
    options = parser("pythae's networks for CIFAR.", batch=16, lr=2e-3)
    options.add_argument("--net", choices=("resnet", "conv"), default="resnet")
    race(Pythae, options.parse_args())


if __name__ == "__main__":
    main()
