"""Every named model: importing this registers them all."""

from zspace.models.zoo.classic import ae, beta_vae, cvae, iwae, tcvae, vae
from zspace.models.zoo.gans import vaegan
from zspace.models.zoo.text import sentence_vae

__all__ = ["ae", "beta_vae", "cvae", "iwae", "sentence_vae", "tcvae", "vae", "vaegan"]
