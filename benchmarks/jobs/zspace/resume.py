import zspace

zspace.train("vae", data="pictures", latent=8, epochs=1, out="more", keep_state=True)
zspace.resume("more", epochs=2)
