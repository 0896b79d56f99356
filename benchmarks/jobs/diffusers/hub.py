from diffusers import AutoencoderKL

AutoencoderKL.from_pretrained("diffusers-run").push_to_hub("USER/NAME")
