"""Runs each part of a checkpoint once, one after the other, and prints what memory the process had at each moment."""

import gc
import json
import sys
import time

import comfy.model_management as mm
import psutil
import torch
from comfyui_wegen.models.prompting.asking import ask
from comfyui_wegen.models.prompting.decoding import Decoding
from comfyui_wegen.models.values import SamplerSettings
from comfyui_wegen.wegen_nodes.host.bundle import WeGenBundle
from comfyui_wegen.wegen_nodes.host.loading import load_unet, load_vae
from comfyui_wegen.wegen_nodes.host.painter import sample
from PIL import Image

folder, threads, tokens, side = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(threads)
process = psutil.Process()
moments = []


def peak():
    with open("/proc/self/status") as status:  # unlike ru_maxrss, without what held the process that started this one
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def note(what, begin, **more):
    memory = process.memory_full_info()
    moments.append({
        "what": what,
        "seconds": round(time.perf_counter() - begin, 1),
        "gb": memory.rss / 1e9,
        "swapped_gb": getattr(memory, "swap", 0) / 1e9,
        "peak_gb": peak() / 1e9,
        **more,
    })  # fmt: skip
    print(moments[-1], file=sys.stderr, flush=True)


def free(patcher, part):
    begin = time.perf_counter()
    mm.unload_all_models()
    gc.collect()
    note(f"{part} freed", begin, present=patcher.weights.present)


with torch.inference_mode():
    begin = time.perf_counter()
    wegen, unet, vae = WeGenBundle(folder), load_unet(folder), load_vae(folder)
    config = wegen.config
    note("opened", begin)
    begin = time.perf_counter()
    model = wegen.load_language(1, 200)
    note("language model read", begin, size_gb=wegen.patcher.model_size() / 1e9)
    written = []
    begin = time.perf_counter()
    ask(model, "what is in the picture?", limit=tokens, on_token=lambda done, _: written.append(done))
    note("question answered", begin, tokens=len(written))
    begin = time.perf_counter()
    prompt = model.embed(model.tokenizer.encode("a red cat <img>"))
    features = Decoding(model, [prompt], config.tokens_per_picture + 2).write_picture().features
    note("features written", begin, finite=bool(features.isfinite().all()))
    del model
    free(wegen.patcher, "language model")
    begin = time.perf_counter()
    noise = torch.randn(1, config.vae.latent_channels, side, side, generator=torch.Generator().manual_seed(0))
    settings = SamplerSettings(steps=1, guidance_scale=1.0)
    latent = sample(unet, config, features, noise, torch.zeros_like(noise), settings)
    note("one step", begin, finite=bool(latent.isfinite().all()), size_gb=unet.model_size() / 1e9)
    free(unet, "unet")
    begin = time.perf_counter()
    picture = vae.decode(latent)
    note("vae decoded", begin, finite=bool(picture.isfinite().all()), size_gb=vae.model_size() / 1e9)
    free(vae.patcher, "vae")
    begin = time.perf_counter()
    seen = wegen.load_vision(1).encode_pictures([Image.new("RGB", (64, 64), "red")])
    note("picture seen", begin, finite=bool(seen.isfinite().all()), size_gb=wegen.vision_patcher.model_size() / 1e9)
    free(wegen.vision_patcher, "vision encoder")
print(json.dumps(moments))
