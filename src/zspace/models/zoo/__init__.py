"""Every named model: importing this registers them all."""

from zspace.models.zoo.classic import ae, beta_vae, cvae, iwae, tcvae, vae
from zspace.models.zoo.gans import vaegan

__all__ = ["ae", "beta_vae", "cvae", "iwae", "tcvae", "vae", "vaegan"]
