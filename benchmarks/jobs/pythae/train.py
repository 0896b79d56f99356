from pathlib import Path

import numpy as np
from PIL import Image
from pythae.models import VAE, VAEConfig
from pythae.pipelines import TrainingPipeline
from pythae.trainers import BaseTrainerConfig

x = np.stack([np.asarray(Image.open(p))[None] for p in sorted(Path("pictures").rglob("*.png"))])
x = np.random.default_rng(0).permutation(x)
model = VAE(VAEConfig(input_dim=(1, 32, 32), latent_dim=8))
training = BaseTrainerConfig(output_dir="pythae-run", num_epochs=3)
TrainingPipeline(training_config=training, model=model)(x[180:] / 255, x[:180] / 255)
