"""What comes of a load that fails: what is said, and whether the next one works.

Argument: a folder with parts in 16 bits.
"""

import json
import sys
from unittest import mock

import comfy.model_management as mm
import torch
from comfy.model_patcher import ModelPatcher
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.wegen_nodes.host import parts
from comfyui_wegen.wegen_nodes.host.loading import load_part, load_unet, load_vae

folder = sys.argv[1]
NO_MEMORY = RuntimeError("DefaultCPUAllocator: can't allocate memory")


def outcome(work):
    try:
        work()
    except RuntimeError as error:
        return [type(error).__name__, str(error)]
    return None


def vae_without_memory():
    """What its methods say where memory runs out while it is read, and whether they work afterwards."""
    vae, latent = load_vae(folder), torch.ones(1, open_checkpoint(folder).config.vae.latent_channels, 8, 8)
    found = {}
    for name, given in (
        ("decode", latent),
        ("decode_tiled", latent),
        ("encode", torch.ones(1, 64, 64, 3)),
        ("encode_tiled", torch.ones(1, 64, 64, 3)),
    ):
        mm.unload_all_models()
        work = getattr(vae, name)
        with mock.patch.object(parts.Part, "__getitem__", side_effect=NO_MEMORY):
            said = outcome(lambda work=work, given=given: work(given))
        found[name] = [said, outcome(lambda work=work, given=given: work(given))]
    return found


class Full(ModelPatcher):
    """A model for which the card has no room."""

    def partially_load(self, *args, **kwargs):
        raise RuntimeError("out of memory")


def patched_unet():
    """How much a patch adds to a weight of the UNet: loaded, and loaded again after another model could not be loaded
    with it and another part needed the memory."""
    key, unet, language = "diffusion_model.out.2.weight", load_unet(folder), load_part(folder, "language_model")
    mm.load_models_gpu([unet])
    plain = unet.model.get_parameter(key).clone()
    clone = unet.clone()
    clone.add_patches({key: ("diff", (torch.ones_like(plain),))})
    full = Full(torch.nn.Linear(8, 8), clone.load_device, clone.offload_device)

    def added():
        mm.load_models_gpu([clone])
        return float((clone.model.get_parameter(key) - plain).mean())

    found = [added()]
    failed = outcome(lambda: mm.load_models_gpu([clone, full]))
    with mock.patch.object(parts, "SPARE", 2**60):  # all other parts must go
        language.read()
    present = clone.weights.present
    return {"failed": failed, "present": present, "added": [*found, added()]}


result = {}
with torch.inference_mode():
    result["vae"] = vae_without_memory()
    result["patched"] = patched_unet()
print(json.dumps(result))
