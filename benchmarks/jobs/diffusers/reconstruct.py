import numpy as np
import torch
from diffusers import AutoencoderKL

model = AutoencoderKL.from_pretrained("diffusers-run")
x = torch.from_numpy(np.load("new.npy")) * 2 - 1
again = model.decode(model.encode(x).latent_dist.mode()).sample / 2 + 0.5
print(again.shape)
