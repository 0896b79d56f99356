import pandas as pd

import zspace

run = zspace.train("vae", data="ordinary.csv", latent=4, epochs=20, out="scorer")
scores = -run.log_likelihood(pd.read_csv("new.csv"))
print(scores[:3])
