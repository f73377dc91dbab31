"""Prints which parts are in memory after each step, and what goes wrong when files or memory are not there."""

import json
import os
import shutil
import sys
import tempfile
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import comfy.model_management as mm
import psutil
import torch
from comfyui_wegen.models.container_memory import ContainerMemory
from comfyui_wegen.models.editing.refinement import Masks
from comfyui_wegen.models.engine import TurnRequest, TurnResult
from comfyui_wegen.models.engine.drafting import DraftRequest
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.network.language_model import KVCache, LanguageModel
from comfyui_wegen.models.network.prefix_cache import BLOCK
from comfyui_wegen.models.network.vision_encoder import VisionEncoder
from comfyui_wegen.models.painting.painter import PaintJob
from comfyui_wegen.models.prompting.decoding import Decoding
from comfyui_wegen.models.values import Answer, Chat, Reference, References, SamplerSettings, Turn
from comfyui_wegen.wegen_nodes import load_lora, load_model
from comfyui_wegen.wegen_nodes.ask import WeGenAsk
from comfyui_wegen.wegen_nodes.chat import NO_FILE, WeGenChat
from comfyui_wegen.wegen_nodes.diversity import WeGenDiversity
from comfyui_wegen.wegen_nodes.encode_reference import WeGenEncodeReference
from comfyui_wegen.wegen_nodes.generate import WeGenGenerate
from comfyui_wegen.wegen_nodes.host import bundle as bundle_module
from comfyui_wegen.wegen_nodes.host import folders, parts
from comfyui_wegen.wegen_nodes.host import painter as painter_module
from comfyui_wegen.wegen_nodes.host.bundle import WeGenBundle
from comfyui_wegen.wegen_nodes.host.loading import load_unet, load_vae
from comfyui_wegen.wegen_nodes.host.painter import HostPainter, sample
from comfyui_wegen.wegen_nodes.rewrite_prompt import WeGenRewritePrompt
from torch.profiler import ProfilerActivity, profile

folder = sys.argv[1]


class Model:
    def __init__(self):
        self.wegen, self.unet, self.vae = WeGenBundle(folder), load_unet(folder), load_vae(folder)
        self.patchers = {
            "vision": self.wegen.vision_patcher,
            "language": self.wegen.patcher,
            "unet": self.unet,
            "vae": self.vae.patcher,
        }

    def present(self):
        return [name for name, patcher in self.patchers.items() if patcher.weights.present]

    def see(self):
        size = self.wegen.config.vision.image_size
        return self.wegen.load_vision(1).encode_pixels(torch.ones(1, 3, size, size))

    def write(self):
        model = self.wegen.load_language(1, 200)
        return Decoding(model, [model.embed(model.tokenizer.encode("a red cat <img>"))], 90).write_picture().features

    def paint(self):
        config = self.wegen.config
        side = config.size // config.vae.downscale
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(1, config.vae.latent_channels, side, side, generator=generator)
        features = torch.randn(1, 64, config.vision.width, generator=generator)
        return sample(self.unet, config, features, noise, torch.zeros_like(noise), SamplerSettings(steps=2))

    def decode(self):
        config = self.wegen.config
        side = config.size // config.vae.downscale
        return self.vae.decode(torch.ones(1, config.vae.latent_channels, side, side))


def outcome(work):
    try:
        work()
    except (WeGenError, RuntimeError, mm.InterruptProcessingException) as error:
        return [type(error).__name__, str(error)]
    return None


def with_memory(available, work, container=None):
    """Do work with so much memory left in the machine; `container` limits its memory and swap."""
    kind = namedtuple("Memory", "available free total")
    with (
        mock.patch.object(psutil, "virtual_memory", lambda: kind(available, available, available)),
        mock.patch.object(psutil, "swap_memory", lambda: kind(0, 2**40 if container else 0, 0)),
        mock.patch.object(parts, "container_memory", lambda: container),
    ):
        return work()


def wired_names(place):
    """What tells nodes apart whose name comes from another node, before and after what it may mean was changed."""
    some = place / "some.safetensors"
    stamps = []
    for content in (b"one", b"other"):
        some.write_bytes(content)
        with (
            mock.patch.object(load_model, "list_checkpoints", lambda: ["some"]),
            mock.patch.object(load_model, "checkpoint_folder", lambda name: place),
            mock.patch.object(load_lora, "list_loras", lambda: ["some"]),
            mock.patch.object(load_lora, "lora_path", lambda name: some),
            mock.patch.object(folders, "list_chats", lambda: ["some"]),
            mock.patch.object(folders, "chat_path", lambda name: some),
        ):
            stamps.append(
                [
                    load_model.WeGenLoadModel.fingerprint_inputs(None, "default"),
                    load_lora.WeGenLoadLoRA.fingerprint_inputs(None, None, 1.0),
                    WeGenChat.fingerprint_inputs(None),
                    WeGenChat.fingerprint_inputs(NO_FILE, None),
                    WeGenChat.fingerprint_inputs(None, save_as="kept"),
                    WeGenChat.fingerprint_inputs(None, "kept"),
                    WeGenChat.fingerprint_inputs(NO_FILE, None, chat=None),
                ]
            )
    return [before != after for before, after in zip(*stamps, strict=True)]


def no_memory(*_, **__):
    torch.empty(2**60, dtype=torch.uint8)


class Generate(WeGenGenerate):
    """The node as the host runs it."""

    hidden = SimpleNamespace(unique_id="1", prompt={}, extra_pnginfo={})


def nodes(model):
    """What nodes do with the language model alone, and with the vision encoder."""
    wegen, picture = model.wegen, torch.zeros(1, 64, 64, 3)
    unseen = References((Reference("cat", None, picture[0]),))
    write = {
        "ask": lambda: WeGenAsk.execute(wegen, "what is there?", picture),
        "rewrite": lambda: WeGenRewritePrompt.execute(wegen, "a cat", 0, 1, 0.5),
        "generate": lambda: Generate.execute(wegen, model.unet, model.vae, instruction="a cat", seed=0, steps=1),
    }
    look = {
        "encode": lambda: WeGenEncodeReference.execute(wegen, picture, "cat"),
        "ask": lambda: WeGenAsk.execute(wegen, "what is there?", picture),
        "chat": lambda: WeGenChat.execute(0, 0, NO_FILE, "", image=picture, wegen=wegen),
        "diversity": lambda: WeGenDiversity.execute([picture, picture], [wegen]),
        "rewrite": lambda: WeGenRewritePrompt.execute(wegen, "a @cat", 0, 1, 0.5, references=unseen),
        "chat of another model": lambda: wegen.read(Chat((Turn("a cat", (Answer("", None, picture[0], 0),)),))),
    }
    return write, look


def most_in_reading(patcher):
    """The most memory that is held while its weights are read, as a multiple of theirs."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        patcher.read()
    held = most = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    patcher.let_go()
    return most / patcher.weights.bytes


def asked_for(wegen, prefixes):
    """How much more memory the language model asks the host for because it remembers what it reads: by how much may
    still be remembered, and where it is kept elsewhere."""

    def memory():
        with mock.patch.object(mm, "load_models_gpu") as load:
            wegen.load_language(2, 200)
        return load.call_args.kwargs["memory_required"]

    found, held, here = [], prefixes.bytes, prefixes.device
    for most, device in ((held, here), (held + 1000, here), (2**30, here), (2**30, torch.device("meta"))):
        with mock.patch.multiple(prefixes, most_bytes=most, device=device):
            found.append(memory())
    cache = wegen.config.language.kv_cache_bytes(200, 4)
    return [[one - found[0] for one in found], [0, 1000, cache, 0]]


def remembered(entries):
    """How many turns the chats have that are kept with painted turns, when each chat was read anew, as the panel's are:
    there is room for 20 pictures."""
    limit, bundle_module.LARGEST = bundle_module.LARGEST, 20 * 4 * 64 * 64 * 3
    bundle = WeGenBundle(folder)
    for count in range(entries):
        turns = [Turn("a star", (Answer("a star", None, torch.zeros(64, 64, 3), 0),)) for _ in range(count + 1)]
        question = TurnRequest(str(count)), Chat()
        bundle.recall_painted(question, "one", lambda turns=tuple(turns): TurnResult(Chat(turns), ()))
    bundle_module.LARGEST = limit
    return [len(one.chat.turns) for *_, one in bundle._painted]


def asked_with(entries):
    """How many turns, and how many drafts, are kept that each were asked with three pictures, and the turns with a mask
    that takes a third of one: there is room for 20 pictures."""
    limit, bundle_module.LARGEST = bundle_module.LARGEST, 20 * 4 * 64 * 64 * 3
    bundle = WeGenBundle(folder)
    for count in range(entries):
        references = References(
            tuple(Reference(name, None, torch.zeros(64, 64, 3)) for name in ("one", "two", "three"))
        )
        request = TurnRequest(str(count), references=references, masks=Masks(torch.zeros(64, 64)))
        bundle.recall_painted((request, Chat()), "one", lambda: TurnResult(Chat(), ()))
        drafts = DraftRequest(Chat(), str(count), references, (0,), ("",), None, 1.0, "aligned")
        bundle.recall(drafts, lambda: ())
    bundle_module.LARGEST = limit
    return [len(bundle._painted), len(bundle._answers)]


def painters():
    """By which models the turns were painted that are kept after turns of four models, and one of the second again."""
    bundle = WeGenBundle(folder)
    for painter in ("a", "b", "b", "c", "d", "b"):
        question = TurnRequest(str(len(bundle._painted))), Chat()
        bundle.recall_painted(question, painter, lambda: TurnResult(Chat(), ()))
    return [one for _, one, _ in bundle._painted]


result = {}
with torch.inference_mode():
    model = Model()
    result["opened"] = model.present()
    before = model.write()
    result["written"] = model.present()
    seen, painted = model.see(), model.paint()
    decoded = model.decode()
    result["all"] = model.present()
    sizes = {name: patcher.model_size() for name, patcher in model.patchers.items()}
    held = {name: mm.module_size(parts.network_of(patcher.model)) for name, patcher in model.patchers.items()}
    result["sizes"] = {name: [sizes[name], held[name]] for name in sizes}
    mm.unload_all_models()
    result["unloaded"] = model.present()
    result["meta"] = all(
        value.is_meta for patcher in model.patchers.values() for value in parts.network_of(patcher.model).parameters()
    )
    result["reading"] = {name: most_in_reading(patcher) for name, patcher in model.patchers.items()}
    model.paint()
    result["painted"] = model.present()
    again = [model.see(), model.write(), model.paint(), model.decode()]
    result["same"] = [torch.equal(a, b) for a, b in zip((seen, before, painted, decoded), again, strict=True)]
    # A clone with a patch of its own shares the weights.
    clone = model.unet.clone()
    key = "diffusion_model.out.2.weight"
    clone.add_patches({key: ("diff", (torch.ones_like(clone.model.diffusion_model.out[2].weight),))})
    mm.unload_all_models()
    whole, model.unet = model.unet, clone
    result["patched"] = float((model.paint() - painted).abs().max())
    model.unet = whole
    result["unpatched"] = torch.equal(model.paint(), painted)

    spare = parts.SPARE
    model.write()
    model.paint()
    # As much as the UNet takes, but not more: what is unused for longest goes first.
    mm.unload_all_models()
    model.see()
    model.write()
    with_memory(spare + model.unet.weights.bytes - 1, model.paint)
    result["little room"] = model.present()
    # The host lists what a prompt uses before it loads the first of them, which is no call to load.
    model.unet.model_patches_models()
    with_memory(spare + model.wegen.patcher.weights.bytes - 1, model.write)
    result["listed"] = model.present()
    # In one call both are wanted: neither makes room for the other.
    mm.unload_all_models()
    model.see()
    pair = [model.wegen.patcher, model.unet]
    room = spare + min(patcher.weights.bytes for patcher in pair) - 1
    with_memory(room, lambda: mm.load_models_gpu(pair))
    result["both"] = model.present()
    with_memory(room, lambda: mm.load_models_gpu(pair))
    result["both again"] = model.present()
    with_memory(spare + model.wegen.vision_patcher.weights.bytes - 1, model.see)
    result["neither"] = model.present()
    mm.unload_all_models()
    result["no room"] = outcome(lambda: with_memory(model.unet.weights.bytes - 1, model.paint))
    container = ContainerMemory(2**34, model.unet.weights.bytes - 1, 0)
    result["no room in the container"] = outcome(lambda: with_memory(2**40, model.paint, container))
    result["room again"] = torch.equal(model.paint(), painted)

    mm.unload_all_models()
    mm.interrupt_current_processing(True)
    result["cancelled"] = outcome(model.write)
    result["after cancel"] = [model.present(), torch.equal(model.write(), before)]

    mm.unload_all_models()
    with mock.patch.object(
        parts.Part, "__getitem__", side_effect=RuntimeError("DefaultCPUAllocator: can't allocate memory")
    ):
        result["out of memory"] = outcome(model.write)
    result["after out of memory"] = [model.present(), torch.equal(model.write(), before)]

    write, look = nodes(model)
    for name, network, works in (("writing", LanguageModel, write), ("looking", VisionEncoder, look)):
        with mock.patch.object(network, "forward", no_memory):
            result[f"out of memory in {name}"] = {key: outcome(work) for key, work in works.items()}
    result["nodes after"] = [outcome(work) for work in (write["ask"], look["encode"])]

    config = model.wegen.config
    painter = HostPainter(model.unet, model.vae, config)
    features = torch.zeros(1, 64, config.vision.width)
    job = PaintJob(features, [1], SamplerSettings(steps=2, guidance_scale=1.0), config.size, config.size)
    with mock.patch.object(painter_module, "sample", side_effect=RuntimeError("CUDA out of memory. Tried to allocate")):
        result["out of memory in sampling"] = outcome(lambda: painter.paint(job))
    result["sampled after"] = bool(painter.paint(job).isfinite().all())

    wide, deep = (Model() for _ in range(2))
    wide.unet.model.model_config.unet_config["context_dim"] += 1
    deep.vae.latent_channels += 1
    result["of another model"] = [
        outcome(lambda: HostPainter(wide.unet, model.vae, config)),
        outcome(lambda: HostPainter(model.unet, deep.vae, config)),
    ]

    file = os.path.join(folder, "language_model.safetensors")
    copy = file + ".copy"
    mm.unload_all_models()
    shutil.copy2(file, copy)
    os.remove(file)
    result["gone"] = outcome(model.write)
    shutil.move(copy, file)
    result["back"] = torch.equal(model.write(), before)
    mm.unload_all_models()
    os.utime(file)
    result["changed"] = outcome(model.write)
    result["loaded anew"] = torch.equal(Model().write(), before)
    result["saved"] = not any(value.is_meta for value in load_vae(folder).get_sd().values())
    result["remembered"] = remembered(10)
    result["asked with"] = asked_with(10)
    result["painters"] = painters()
    # Loading what is loaded does not forget what was read before.
    model = Model()
    model.write()
    prefixes = model.wegen.patcher.get_attachment(parts.PREFIXES)
    prefixes._remember(b"name", KVCache(model.wegen.config.language, 1, BLOCK, torch.float32, "cpu"), slice(0, BLOCK))
    model.wegen.load_language(1, 200)
    kept = prefixes.bytes
    result["asked for"] = asked_for(model.wegen, prefixes)
    mm.unload_all_models()
    result["prefixes"] = [kept > 0, prefixes.bytes]
    with tempfile.TemporaryDirectory() as place:
        result["wired names"] = wired_names(Path(place))
    on_demand = SimpleNamespace(is_dynamic=lambda: True, load_device=torch.device("cuda"))
    result["beside weights on demand"] = bundle_module._prefix_cache(on_demand).device.type
    process = psutil.Process()
    # Pieces as small as those of a UNet, behind one that made the C library keep pieces of that size to itself.
    torch.zeros(2**23)
    pieces = [torch.zeros(2**18) for _ in range(400)]
    pinned = torch.zeros(2**10)
    held = process.memory_info().rss
    del pieces
    parts.give_back()
    result["given back"] = held - process.memory_info().rss
    result["mapped"] = any(one.path.endswith(".safetensors") for one in process.memory_maps())
print(json.dumps(result))
