import matplotlib.pyplot as plt
import numpy as np
import torch
from diffusers import AutoencoderKL
from sklearn.decomposition import PCA

model = AutoencoderKL.from_pretrained("diffusers-run")
x = torch.from_numpy(np.load("new.npy")) * 2 - 1
z = model.encode(x).latent_dist.mode().flatten(1).detach().numpy()
plt.scatter(*PCA(2).fit_transform(z).T)
plt.savefig("map.png")
