from pathlib import Path

import numpy as np
import torch
from pythae.models import AutoModel

model = AutoModel.load_from_folder(next(Path("pythae-run").glob("*/final_model")))
again = model.reconstruct(torch.from_numpy(np.load("new.npy")))
print(again.shape)
