from pathlib import Path

from pythae.models import AutoModel
from pythae.samplers import NormalSampler

model = AutoModel.load_from_folder(next(Path("pythae-run").glob("*/final_model")))
made = NormalSampler(model).sample(num_samples=16)
print(made.shape)
