"""Clones of a patcher whose LoRA stands beside a quantised layer: used in turn, each gives what it should."""

import json
from unittest import mock

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


def effect(patcher, for_good=False):
    """How many times the LoRA is added."""
    comfy.model_management.load_models_gpu([patcher], force_patch_weights=for_good)
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

# A model is saved with everything in its weights, and the next turn has them as they were.
loaded = model.layer.weight.clone()
effects.append(effect(twice, for_good=True))
turned = bool((model.layer.weight != loaded).any())
further = twice.clone()
further.add_patches(patch)
effects += [effect(twice), effect(further)]
same = bool((model.layer.weight == loaded).all())
# A load that fails leaves nothing beside the layers, which all clones share.
comfy.model_management.unload_all_models()
with mock.patch.object(ModelPatcher, "load", side_effect=RuntimeError("out of memory")):
    try:
        comfy.model_management.load_models_gpu([once])
    except RuntimeError as error:
        failed = str(error)
after = [round(float((model(x) - before).abs().max()), 4), effect(plain), effect(once)]
print(
    json.dumps({"failed": failed, "after": after, "effects": effects, "in weights": turned, "weights as before": same})
)
