"""`AutoencoderKL` of diffusers 0.42.1, small, in the loop of strided.py.

Three halvings, one residual block (two in the decoder) at each resolution, GroupNorm, and one
attention layer in the middle; codes are maps of 1/8 of the image's sides, whose channels follow
from --latent (4 x 4 x 4 for 64 numbers and images of 32 x 32). Pixels are scaled to [-1, 1] and
back. An ae takes the mean for the code. Options and report are those of strided.py.

    python3 -m venv peers-env
    peers-env/bin/pip install torch==2.13.0 numpy==2.4.6 diffusers==0.42.1
    peers-env/bin/python diffusers_images.py --data DATA --recipe vae --latent 64 --budget 15
"""

from __future__ import annotations

import argparse

from diffusers import AutoencoderKL
from strided import parser, race
from torch import Tensor, nn


class Diffusers(nn.Module):
    """The model; `forward` is that of `Strided`."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        channels, height, width = options.shape
        levels = len(options.widths)
        self.variational = options.recipe == "vae"
        self.model = AutoencoderKL(
            in_channels=channels,
            out_channels=channels,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=tuple(options.widths),
            layers_per_block=1,
            norm_num_groups=8,
            latent_channels=options.latent * 4 ** (levels - 1) // (height * width),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        q = self.model.encode(2 * x - 1).latent_dist
        z = q.sample() if self.variational else q.mean
        x_hat = (self.model.decode(z).sample + 1) / 2
        return (x_hat, q.mean, q.logvar) if self.variational else (x_hat, None, None)


def main() -> None:
    options = parser("AutoencoderKL of diffusers.", batch=8, lr=2e-3)
    options.add_argument("--widths", type=int, nargs=4, default=[8, 16, 32, 64])
    race(Diffusers, options.parse_args())


if __name__ == "__main__":
    main()
