import torch
from diffusers import AutoencoderKL

model = AutoencoderKL.from_pretrained("diffusers-run")
made = model.decode(torch.randn(16, 4, 16, 16)).sample / 2 + 0.5
print(made.shape)
