import zspace

run = zspace.train("vae", data="rows.csv", latent=4, epochs=20, out="rows")
run.sample(100).to_csv("made.csv", index=False)
