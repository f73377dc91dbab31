"""Prints for each folder, part, budget and LoRA what differs from the same fully loaded, and what the LoRA changes.

The first folder is what the LoRA's changes in the others are compared with.
"""

import json
import sys
from unittest import mock

import comfy.lora
import comfy.model_management as mm
import torch
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.network.prefix_cache import BLOCK
from comfyui_wegen.models.prompting.decoding import Decoding
from comfyui_wegen.wegen_nodes.host.bundle import WeGenBundle
from comfyui_wegen.wegen_nodes.host.loading import load_unet, load_vae

BUDGETS = (0.05, 0.25, 0.5, 1.0)
RANK = 4


def with_lora(patcher, marks, *strengths):
    """A clone with a LoRA, in the form of files, on every weight whose name has one of the marks."""
    clone, generator = patcher.clone(), torch.Generator().manual_seed(0)
    weights, names = {}, {}
    for key in clone.model.state_dict():
        if key.endswith(".weight") and any(mark in key for mark in marks):
            name = key.removesuffix(".weight")
            module = clone.model.get_submodule(name)
            shape = (module.out_features, module.in_features)
            weights[f"{name}.lora_up.weight"] = torch.randn(shape[0], RANK, generator=generator) * 0.1
            weights[f"{name}.lora_down.weight"] = torch.randn(RANK, shape[1], generator=generator) * 0.1
            names[name] = key
    patches = comfy.lora.load_lora(weights, names)
    for strength in strengths:
        clone = clone.clone()
        assert len(clone.add_patches(patches, strength)) == len(names) > 0
    return clone


class Parts:
    def __init__(self, folder):
        self.wegen, self.unet = WeGenBundle(folder), load_unet(folder)

    def see(self, patcher):
        self.wegen.vision_patcher = patcher
        size = self.wegen.config.vision.image_size
        pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        return self.wegen.load_vision(1).encode_pixels(pixels)

    def write(self, patcher):
        self.wegen.patcher = patcher
        model = self.wegen.load_language(2, 200)
        prompt = model.embed(model.tokenizer.encode("a red cat <img>"))
        # Of these random weights a written picture tells nothing: small differences grow with each of its features.
        return model.agent.llm(prompt[None])

    def decode(self, patcher):
        """What is read with nothing remembered, and then with a block that is."""
        self.wegen.patcher = patcher
        model = self.wegen.load_language(2, BLOCK + 20)
        prompts = [model.embed([*range(BLOCK), *rest]) for rest in ([7, 8, 9], [5])]
        found, missed = model.prefixes.found, model.prefixes.missed
        states = []
        for _ in range(2):
            decoding = Decoding(model, prompts, room=8)
            decoding.write_text(8)
            states.append(decoding.hidden)
        assert (model.prefixes.found - found, model.prefixes.missed - missed) == (1, 1)
        return torch.cat(states)

    def denoise(self, patcher):
        config, model = self.wegen.config, patcher.model
        mm.load_models_gpu([patcher])
        kind, generator = model.get_dtype_inference(), torch.Generator().manual_seed(1)
        context = torch.randn(2, 64, config.unet.cross_attention_dim, generator=generator).to(kind)
        noise = torch.randn(2, config.unet.in_channels, 16, 16, generator=generator).to(kind)
        sizes = model.encode_adm(pooled_output=context.mean(1), width=128, height=128).to(kind)
        return model.diffusion_model(noise, torch.tensor([500.0, 500.0]), context=context, y=sizes).float()


def run(patcher, compute):
    full = compute(patcher)
    found = []
    for budget in BUDGETS:
        mm.unload_all_models()
        memory = int(budget * patcher.model_size()) + 1
        patcher.patch_model(patcher.load_device, lowvram_model_memory=0 if budget == 1 else memory)
        loaded = patcher.loaded_size() / patcher.model_size()
        # Left alone, the host would see that there is room and load the rest.
        with mock.patch.object(mm, "load_models_gpu"):
            found.append([loaded, relative(compute(patcher), full)])
        patcher.detach()
    mm.unload_all_models()
    return full, found


def relative(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


def vae(folder):
    """How much of the VAE each budget loaded, and what differs then."""
    one = load_vae(folder)
    side = one.downscale_ratio * 8
    picture = torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(0))

    def there_and_back(_):
        latent = one.encode(picture)
        return torch.cat([latent.flatten(), one.decode(latent).flatten()])

    return run(one.patcher, there_and_back)[1]


def parts(folder, changes):
    """Of each part; `changes` holds what the LoRA changes in the first folder."""
    model, found = Parts(folder), {}
    for name, patcher, compute, marks in (
        ("vision_encoder", model.wegen.vision_patcher, model.see, ("attn.proj", "mlp.fc1")),
        ("language_model", model.wegen.patcher, model.write, ("q_proj", "down_proj")),
        ("decoding", model.wegen.patcher, model.decode, ("q_proj", "down_proj")),
        ("unet", model.unet, model.denoise, ("to_q", "to_v")),
    ):
        plain, without = run(patcher, compute)
        lora = with_lora(patcher, marks, 1.0)
        changed, with_it = run(lora, compute)
        again, twice = compute(patcher), compute(with_lora(patcher, marks, 0.5, 0.5))
        mm.unload_all_models()
        mm.load_models_gpu([lora], force_patch_weights=True)
        with mock.patch.object(mm, "load_models_gpu"):
            forced = compute(lora)
        mm.unload_all_models()
        change = changes.setdefault(name, changed - plain)
        found[name] = {
            "plain": without,
            "lora": with_it,
            "effect": relative(changed, plain),
            "left behind": relative(again, plain),
            "two at half": relative(twice, changed),
            "put in by force": relative(forced, plain),
            "other change": relative(changed - plain, change),
        }
    return found


with torch.inference_mode():
    changes = {}
    result = [parts(folder, changes) for folder in sys.argv[1:]]
    print(json.dumps([result, [vae(sys.argv[1]), vae(str(BUNDLED))]]))
