import zspace

run = zspace.train("cvae", data="pictures", latent=8, epochs=3, out="conditional")
sevens = run.sample(16, label="7")
print(sevens.shape)
