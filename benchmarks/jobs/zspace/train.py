import zspace

zspace.train("vae", data="pictures", latent=8, epochs=3, out="run")
