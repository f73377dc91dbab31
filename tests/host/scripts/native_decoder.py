"""Prints how far the host's MODEL and VAE are from the published decoder's values."""

import json
import sys

import torch
from comfyui_wegen.models.values import SamplerSettings
from comfyui_wegen.wegen_nodes.host.bundle import WeGenBundle
from comfyui_wegen.wegen_nodes.host.loading import load_unet, load_vae
from comfyui_wegen.wegen_nodes.host.painter import sample
from PIL import Image
from safetensors.torch import load_file

folder = sys.argv[1]
expected = load_file(f"{folder}/expected.safetensors")
errors = {}
with torch.inference_mode():
    model, vae, wegen = load_unet(folder), load_vae(folder), WeGenBundle(folder)
    scale = wegen.config.vae.scaling_factor
    for name, steps, guidance in (("cfg7_steps8", 8, 7.0), ("cfg2_steps5", 5, 2.0)):
        noise = expected["decode.start_noise"]
        settings = SamplerSettings(steps=steps, guidance_scale=guidance)
        latent = sample(model, wegen.config, expected["decode.features"], noise, torch.zeros_like(noise), settings)
        errors[f"{name}.latent"] = float((latent * scale - expected[f"decode.{name}.latent"]).abs().max())
        image = vae.decode(latent).permute(0, 3, 1, 2)
        errors[f"{name}.image"] = float((image - expected[f"decode.{name}.image"]).abs().max())
    pictures = [Image.open(f"{folder}/reference_{index}.png") for index in range(2)]
    features = wegen.load_vision(2).encode_pictures(pictures)
    errors["pooled_features"] = float((features - expected["encode.pooled_features"]).abs().max())
print(json.dumps(errors))
