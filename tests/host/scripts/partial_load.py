"""Prints, by precision and part, its size, how much a quarter's budget loaded, and what differs from the full load."""

import json
import sys
from unittest import mock

import comfy.model_management
import torch
from comfyui_wegen.models.prompting.decoding import Decoding
from comfyui_wegen.wegen_nodes.host.bundle import WeGenBundle
from comfyui_wegen.wegen_nodes.host.loading import load_unet
from safetensors.torch import load_file

folder, *precisions = sys.argv[1:]
expected = load_file(f"{folder}/expected.safetensors")


def write(wegen):
    model = wegen.load_language(2, 200)
    prompt = model.embed(model.tokenizer.encode("[INST] a red cat [/INST]\n<img>"))
    decoding = Decoding(model, [prompt], 90, guided=True)
    features = decoding.write_picture(2.0).features
    return torch.cat([features.flatten(), torch.tensor(decoding.write_text(12)[0]).float()])


def denoise(unet):
    conditions = unet.model.encode_adm(pooled_output=expected["unet.pooled"], width=128, height=128)
    model = unet.model.diffusion_model
    kind = unet.model.get_dtype_inference()
    inputs = (expected["unet.sample"].to(kind), expected["unet.timesteps"])
    return model(*inputs, context=expected["unet.context"].to(kind), y=conditions.to(kind)).float()


def differences(precision):
    wegen, unet = WeGenBundle(folder, precision), load_unet(folder, precision)
    parts = {
        "vision encoder": (wegen.vision_patcher, lambda: wegen.load_vision(2).encode_pixels(expected["encode.pixels"])),
        "language model": (wegen.patcher, lambda: write(wegen)),
        "unet": (unet, lambda: denoise(unet)),
    }
    result = {}
    for name, (patcher, compute) in parts.items():
        comfy.model_management.load_models_gpu([patcher])
        full = compute()
        comfy.model_management.unload_all_models()
        size = patcher.model_size()
        patcher.load(patcher.load_device, lowvram_model_memory=size // 4)
        result[name] = {"size": size, "loaded": patcher.loaded_size()}
        # Left alone, the host would see that there is room and load the rest.
        with mock.patch.object(comfy.model_management, "load_models_gpu"):
            partly = compute()
        result[name]["difference"] = float((full - partly).abs().max())
    return result


with torch.inference_mode():
    print(json.dumps([differences(precision) for precision in precisions]))
