import pandas as pd
from pyod.models.vae import VAE

model = VAE(epoch_num=20, latent_dim=4)
model.fit(pd.read_csv("ordinary.csv").to_numpy())
scores = model.decision_function(pd.read_csv("new.csv").to_numpy())
print(scores[:3])
