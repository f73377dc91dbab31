"""Prints how far LoRA files on a model, loaded whole and by a quarter, are from the same in its weights."""

import json
import sys
from unittest import mock

import comfy.model_management
import comfy.sd
import comfy.utils
import torch
from comfyui_wegen.models.checkpoints.lora import read_lora
from comfyui_wegen.models.prompting.decoding import Decoding
from comfyui_wegen.wegen_nodes.host.bundle import WeGenBundle
from comfyui_wegen.wegen_nodes.host.loading import load_unet

folder, merged, language, unet_file, strengths = *sys.argv[1:5], [float(value) for value in sys.argv[5:]]


def write(wegen):
    model = wegen.load_language(1, 200)
    prompt = model.embed(model.tokenizer.encode("[INST] a red cat [/INST]\n<img>"))
    return Decoding(model, [prompt], 70).write_picture().features


def denoise(unet):
    generator = torch.Generator().manual_seed(0)
    config = unet.model.model_config.unet_config
    side = 16
    sample = torch.randn(1, config["in_channels"], side, side, generator=generator)
    context = torch.randn(1, 64, config["context_dim"], generator=generator)
    sizes = unet.model.encode_adm(pooled_output=context.mean(1), width=128, height=128)
    kind = unet.model.get_dtype_inference()
    inputs = sample.to(kind), torch.tensor([500.0])
    return unet.model.diffusion_model(*inputs, context=context.to(kind), y=sizes.to(kind)).float()


def quarter(patcher, compute):
    comfy.model_management.unload_all_models()
    patcher.load(patcher.load_device, lowvram_model_memory=patcher.model_size() // 4)
    loaded = patcher.loaded_size() / patcher.model_size()
    # Left alone, the host would see that there is room and load the rest.
    with mock.patch.object(comfy.model_management, "load_models_gpu"):
        return compute(), loaded


def whole(patcher, compute):
    comfy.model_management.unload_all_models()
    comfy.model_management.load_models_gpu([patcher])
    return compute()


def add_all(bundle, unet):
    for strength in strengths:
        bundle = bundle.with_lora(read_lora(language), strength)
        unet, _ = comfy.sd.load_lora_for_models(unet, None, comfy.utils.load_torch_file(unet_file), strength, 0)
    return bundle, unet


with torch.inference_mode():
    plain, decoder = WeGenBundle(folder), load_unet(folder)
    target, target_decoder = WeGenBundle(merged), load_unet(merged)
    bundle, unet = add_all(plain, decoder)
    parts = {
        "language model": (
            bundle.patcher,
            target.patcher,
            plain.patcher,
            lambda b: lambda: write(b),
            (bundle, target, plain),
        ),
        "unet": (unet, target_decoder, decoder, lambda u: lambda: denoise(u), (unet, target_decoder, decoder)),
    }
    result = {}
    for name, (patched, exact, without, make, (a, b, c)) in parts.items():
        wanted = whole(exact, make(b))
        before = whole(without, make(c))
        full = whole(patched, make(a))
        partly, loaded = quarter(patched, make(a))
        comfy.model_management.unload_all_models()
        after = whole(without, make(c))
        result[name] = {
            "full": float((full - wanted).abs().max()),
            "quarter": float((partly - wanted).abs().max()),
            "loaded": loaded,
            "effect": float((before - wanted).abs().max()),
            "left behind": float((before - after).abs().max()),
        }
print(json.dumps(result))
