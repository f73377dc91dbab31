"""What comes of a load that fails: what is said, and whether the next one works.

Argument: a folder with parts in 16 bits.
"""

import json
import sys
from unittest import mock

import comfy.model_management as mm
import torch
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.wegen_nodes.host import parts
from comfyui_wegen.wegen_nodes.host.loading import load_vae

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


result = {}
with torch.inference_mode():
    result["vae"] = vae_without_memory()
print(json.dumps(result))
