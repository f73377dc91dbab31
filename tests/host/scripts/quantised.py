"""Prints, for each folder given, the features and the noise that its parts compute, against those of the first; and in
which type the UNet of the last one computes on a card, by precision."""

import json
import sys

import comfy.model_management
import torch
from comfyui_wegen.models.prompting.decoding import Decoding
from comfyui_wegen.wegen_nodes.host.bundle import WeGenBundle
from comfyui_wegen.wegen_nodes.host.loading import PRECISIONS, load_unet

SCENE = "in the snow at night, a small red house with the lights on at the lower far right."


def compute(folder):
    wegen, unet = WeGenBundle(folder), load_unet(folder)
    config = wegen.config
    generator = torch.Generator().manual_seed(0)
    size = config.vision.image_size
    pixels = torch.randn(1, 3, size, size, generator=generator)
    seen = wegen.load_vision(1).encode_pixels(pixels)
    model = wegen.load_language(1, 200)
    text = config.templates.text_to_picture.format(pictures="", text=SCENE)
    decoding = Decoding(model, [model.embed(model.tokenizer.encode(text + "<img>"))], 70)
    features = decoding.write_picture().features
    comfy.model_management.load_models_gpu([unet])
    kind = unet.model.get_dtype_inference()
    sample = torch.randn(1, config.unet.in_channels, 16, 16, generator=generator).to(kind)
    context = torch.randn(1, 64, config.unet.cross_attention_dim, generator=generator).to(kind)
    sizes = unet.model.encode_adm(pooled_output=context.mean(1), width=128, height=128).to(kind)
    noise = unet.model.diffusion_model(sample, torch.tensor([500.0]), context=context, y=sizes)
    bytes_held = [patcher.model_size() for patcher in (*wegen.get_models(), unet)]
    return {"seen": seen, "features": features, "noise": noise}, bytes_held


def on_a_card(device=None, **_):
    """As on a card that multiplies in fp8, where the host would round what goes into a layer too."""
    return True


def types_on_a_card(folder):
    comfy.model_management.should_use_fp16 = comfy.model_management.should_use_bf16 = on_a_card
    return {precision: str(load_unet(folder, precision).model.get_dtype_inference()) for precision in PRECISIONS}


with torch.inference_mode():
    exact, size = compute(sys.argv[1])
    result = []
    for folder in sys.argv[2:]:
        found, smaller = compute(folder)
        if "fp8" in folder:
            comfy.model_management.supports_fp8_compute, before = on_a_card, comfy.model_management.supports_fp8_compute
            on_card, _ = compute(folder)
            comfy.model_management.supports_fp8_compute = before
            assert all(torch.equal(on_card[name], value) for name, value in found.items())
        cosines = {
            name: float(torch.nn.functional.cosine_similarity(exact[name].flatten(), value.float().flatten(), dim=0))
            for name, value in found.items()
        }
        result.append({**cosines, "sizes": [a / b for a, b in zip(smaller, size, strict=True)]})
print(json.dumps([*result, types_on_a_card(sys.argv[-1])]))
