"""How the UNet holds its weights: in the precision asked for, also as the host loads it under DynamicVRAM."""

import json
import sys
from unittest import mock

import comfy.memory_management
import comfy.model_management
import comfy.utils
import torch
from comfyui_wegen.wegen_nodes.host import loading

folder = sys.argv[1]


def weights_of(precision):
    patcher = loading.load_unet(folder, precision)
    comfy.model_management.load_models_gpu([patcher])
    weights = {name: value.clone() for name, value in patcher.model.diffusion_model.state_dict().items()}
    comfy.model_management.unload_all_models()
    return weights


def types(weights):
    return sorted({str(value.dtype) for value in weights.values()})


whole = weights_of("fp32")
found = {precision: types(weights_of(precision)) for precision in ("fp32", "fp16", "bf16")}

# Without a card only a part of it can be set: layers that get their weights when they are loaded.
read = comfy.utils.load_torch_file


def read_plainly(*arguments, **named):
    with mock.patch.object(comfy.memory_management, "aimdo_enabled", False):
        return read(*arguments, **named)


if hasattr(comfy.memory_management, "aimdo_enabled"):
    with (
        mock.patch.object(comfy.memory_management, "aimdo_enabled", True),
        mock.patch.object(loading, "loads_on_demand", lambda _: True),
        mock.patch.object(comfy.utils, "load_torch_file", read_plainly),
    ):
        weights = loading.load_unet(folder, "fp32").model.diffusion_model.state_dict()
    same = weights.keys() == whole.keys() and all(torch.equal(weights[name], whole[name]) for name in whole)
    found["dynamic"] = [len(weights) > 0, same]
print(json.dumps(found))
