"""How parts hold their weights: in the precision asked for, also as the host loads them under DynamicVRAM.

Arguments: a folder with parts in 16 bits in the published layout, and packed ones in several precisions.
"""

import json
import os
import sys
from contextlib import ExitStack, contextmanager
from unittest import mock

import comfy.memory_management
import comfy.model_management as mm
import comfy.model_patcher
import comfy.utils
import torch
from comfyui_wegen.models.checkpoints.reader import Part
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.wegen_nodes.host import loading, parts
from comfyui_wegen.wegen_nodes.host.bundle import WeGenBundle

published, *packed = sys.argv[1:]
read = comfy.utils.load_torch_file
open_checkpoint = loading.open_checkpoint


def read_plainly(*arguments, **named):
    with mock.patch.object(comfy.memory_management, "aimdo_enabled", False):
        return read(*arguments, **named)


@contextmanager
def on_demand():
    """Without a card only a part of it can be set: layers without weights until some are loaded, which are those of the
    file itself."""
    with ExitStack() as stack:
        for owner, name, value in (
            (comfy.memory_management, "aimdo_enabled", True),
            (comfy.model_patcher.ModelPatcher, "is_dynamic", lambda _: True),
            (loading, "loads_on_demand", lambda _: True),
            (comfy.utils, "load_torch_file", read_plainly),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        yield


class Model:
    def __init__(self, folder):
        self.wegen, self.unet = WeGenBundle(folder), loading.load_unet(folder)
        self.patchers = {
            "vision_encoder": self.wegen.vision_patcher,
            "language_model": self.wegen.patcher,
            "unet": self.unet,
        }

    def weights(self):
        mm.load_models_gpu(list(self.patchers.values()))
        return {name: patcher.model.state_dict() for name, patcher in self.patchers.items()}

    def results(self):
        config, generator = self.wegen.config, torch.Generator().manual_seed(0)
        size = config.vision.image_size
        seen = self.wegen.load_vision(1).encode_pixels(torch.randn(1, 3, size, size, generator=generator))
        model = self.wegen.load_language(1, 200)
        written = model.agent.llm(model.embed(model.tokenizer.encode("a red cat <img>"))[None])
        mm.load_models_gpu([self.unet])
        kind = self.unet.model.get_dtype_inference()
        context = torch.randn(1, 64, config.unet.cross_attention_dim, generator=generator).to(kind)
        noise = torch.randn(1, config.unet.in_channels, 16, 16, generator=generator).to(kind)
        sizes = self.unet.model.encode_adm(pooled_output=context.mean(1), width=128, height=128).to(kind)
        painted = self.unet.model.diffusion_model(noise, torch.tensor([500.0]), context=context, y=sizes)
        return dict(zip(self.patchers, (seen, written, painted), strict=True))

    def with_unet(self, patcher):
        """What the decoder computes in another patcher."""
        self.unet = patcher
        return self.results()["unet"]


def equal(a, b):
    return torch.equal(a.float(), b.float())  # what is not quantised is held as it is stored, and cast when it is used


def cast_when_used(model):
    """The host does this when it loads a model on demand."""
    for module in model.modules():
        if hasattr(module, "comfy_cast_weights"):
            module.comfy_cast_weights = True


def compared(folder):
    """For each part how many of its weights are in 8 bits or less, and whether weights and results are the same."""
    usual = Model(folder)
    weights, results = usual.weights(), usual.results()
    with on_demand():
        model = Model(folder)
    for patcher in model.patchers.values():
        cast_when_used(patcher.model)
    found = {}
    own_weights, own_results = model.weights(), model.results()
    for name, own in own_weights.items():
        same = own.keys() == weights[name].keys() and all(equal(own[key], weights[name][key]) for key in own)
        whole = sum(value.dtype == torch.int8 for value in own.values())
        found[name] = [whole, same, equal(own_results[name], results[name])]
    mm.unload_all_models()
    return found


def vae_compared(folder):
    """Whether the VAE loads on demand, gives its weights to be saved, and computes the same, also in a copy that does
    not load on demand."""
    config, generator = open_checkpoint(folder).config.vae, torch.Generator().manual_seed(0)
    latent = torch.randn(1, config.latent_channels, 8, 8, generator=generator)
    usual = loading.load_vae(folder)
    wanted, state = usual.decode(latent), usual.get_sd()
    with on_demand():
        vae = loading.load_vae(folder)
        found = [isinstance(vae.patcher, comfy.model_patcher.CoreModelPatcher) and not hasattr(vae.patcher, "weights")]
        copied = vae.patcher.clone(disable_dynamic=True)
    cast_when_used(vae.first_stage_model)
    own = vae.get_sd()
    found.append(own.keys() == state.keys() and all(equal(own[key], state[key]) for key in own))
    found.append(equal(vae.decode(latent), wanted))
    vae.patcher, vae.first_stage_model = copied, copied.model
    found.append(equal(vae.decode(latent), wanted))
    mm.unload_all_models()
    return found


def copies(folder):
    """Whether copies that do not load on demand compute the same: those of nodes that compile or have hooks, before and
    after another part needed all memory, and that of a node that trains."""
    usual = Model(folder)
    wanted = usual.results()["unet"]
    with on_demand():
        model = loading.load_unet(folder)
        copied, trained = model.clone(disable_dynamic=True), model.clone(force_deepcopy=True)
        types = {str(value.dtype) for value in copied.model.diffusion_model.state_dict().values()}
    found = [types == {str(value.dtype) for value in usual.unet.model.diffusion_model.state_dict().values()}]
    found.append(equal(usual.with_unet(copied), wanted))
    mm.unload_all_models()
    with mock.patch.object(parts, "SPARE", 2**60):  # all other parts must go
        usual.wegen.patcher.read()
    found.append(equal(usual.with_unet(copied), wanted))
    found.append(equal(usual.with_unet(trained), wanted))
    mm.unload_all_models()
    return found


def types(precision):
    patcher = loading.load_unet(packed[0], precision)
    mm.load_models_gpu([patcher])
    return sorted({str(value.dtype) for value in patcher.model.diffusion_model.state_dict().values()})


def outcome(work):
    try:
        with on_demand():
            work()
    except (WeGenError, RuntimeError, mm.InterruptProcessingException) as error:
        return [type(error).__name__, str(error)]
    return None


def without(part):
    """Opens a checkpoint whose file then goes away."""

    def opened(folder):
        found = open_checkpoint(folder)
        os.rename(found.parts[part].files[0], f"{folder}/away")
        return found

    return opened


def interrupted(folder, part):
    """What came of an interrupt in the middle of the third tensor, and how many were read."""
    count, get = 0, Part.__getitem__

    def counted(self, key):
        nonlocal count
        count += 1
        if count == 3:
            mm.interrupt_current_processing(True)
        return get(self, key)

    with on_demand():
        patcher = loading.load_part(folder, part)
    with mock.patch.object(Part, "__getitem__", counted):
        return [*outcome(patcher.read), count]


def without_room(folder):
    """What is said of each part of a folder that is opened as on demand, where there is no memory to use it."""
    with on_demand():
        patchers = Model(folder).patchers
    with mock.patch.object(parts, "_available", lambda: 1000), mock.patch.object(parts, "_free_swap", lambda: 0):
        return {name: outcome(lambda one=one: mm.load_models_gpu([one])) for name, one in patchers.items()}


def no_memory(*_, **__):
    torch.empty(2**60, dtype=torch.uint8)


result = {"types": {precision: types(precision) for precision in ("fp32", "fp16", "bf16")}}
with torch.inference_mode():
    if hasattr(comfy.memory_management, "aimdo_enabled"):
        result["same"] = [compared(folder) for folder in (published, *packed)]
        result["vae"] = [vae_compared(folder) for folder in (published, packed[0])]
        result["copies"] = [copies(folder) for folder in (published, *packed)]
        for part, load in (
            ("language_model", lambda: loading.load_part(packed[0], "language_model")),
            ("unet", lambda: loading.load_unet(packed[0])),
        ):
            mm.interrupt_current_processing(True)
            cancelled = outcome(load)
            with mock.patch.object(loading, "open_checkpoint", without(part)):
                gone = outcome(load)
            file = f"{packed[0]}/{part}.safetensors"
            os.rename(f"{packed[0]}/away", file)
            with on_demand():
                patcher = load()
            clone = patcher.clone()
            before = outcome(lambda clone=clone: clone.load(clone.load_device))
            os.utime(file)
            changed = outcome(lambda clone=clone: mm.load_models_gpu([clone]))
            with mock.patch.object(torch.nn.Module, "load_state_dict", no_memory):
                memory = outcome(load)
            result[part] = {
                "cancelled": cancelled,
                "gone": gone,
                "unchanged": before,
                "changed": changed,
                "memory": memory,
            }
        result["without room"] = without_room(published)
        result["interrupted"] = interrupted(published, "vision_encoder")
print(json.dumps(result))
