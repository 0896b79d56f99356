import pandas as pd

import zspace

run = zspace.train("vae", data="gaps.csv", latent=4, epochs=20, out="gaps")
run.impute(pd.read_csv("gaps.csv")).to_csv("filled.csv", index=False)
