from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from pythae.models import AutoModel
from sklearn.decomposition import PCA

model = AutoModel.load_from_folder(next(Path("pythae-run").glob("*/final_model")))
z = model.embed(torch.from_numpy(np.load("new.npy"))).detach().numpy()
plt.scatter(*PCA(2).fit_transform(z).T)
plt.savefig("map.png")
