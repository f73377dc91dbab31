"""Clones of a patcher whose LoRA stands beside a quantised layer: used in turn, each gives what it should."""

import json

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter.lora import LoRAAdapter
from comfyui_wegen.wegen_nodes.host.side_lora import with_side_lora
from torch import nn


class Quantised(nn.Linear):
    layout_type = "toy"


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = Quantised(8, 8, bias=False)

    def forward(self, x):
        return self.layer(x)


torch.manual_seed(0)
cpu = torch.device("cpu")
model, x = Model().requires_grad_(False), torch.randn(4, 8)
plain = with_side_lora(ModelPatcher)(model, cpu, cpu)
weights = torch.randn(8, 2), torch.randn(2, 8), None, None, None, None
patch = {"layer.weight": LoRAAdapter(set(), weights)}
before, added = model(x), x @ (weights[0] @ weights[1]).T


def effect(patcher):
    """How many times the LoRA is added."""
    comfy.model_management.load_models_gpu([patcher])
    return round(float(((model(x) - before) * added).sum() / added.square().sum()), 4)


once = plain.clone()
once.add_patches(patch)
effects = [effect(once)]
again = once.clone()  # of one that is loaded
effects.append(effect(again))
twice = again.clone()
twice.add_patches(patch)
effects.append(effect(twice))
del again
effects += [effect(once), effect(plain)]
print(json.dumps({"effects": effects}))
