from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

x = np.stack([np.asarray(Image.open(p))[None] for p in sorted(Path("pictures").rglob("*.png"))])
x = torch.from_numpy(x).float() / 127.5 - 1
model = AutoencoderKL(1, 1, ["DownEncoderBlock2D"] * 2, ["UpDecoderBlock2D"] * 2, (32, 32))
adam = torch.optim.AdamW(model.parameters(), 1e-3)
for _ in range(3):
    for rows in torch.randperm(len(x)).split(64):
        q = model.encode(x[rows]).latent_dist
        y = model.decode(q.sample()).sample
        loss = ((y - x[rows]) ** 2).sum((1, 2, 3)).mean() + q.kl().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
model.save_pretrained("diffusers-run")
