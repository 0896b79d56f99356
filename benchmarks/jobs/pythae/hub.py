from pathlib import Path

from pythae.models import AutoModel

model = AutoModel.load_from_folder(next(Path("pythae-run").glob("*/final_model")))
model.push_to_hf_hub(hf_hub_path="USER/NAME")
