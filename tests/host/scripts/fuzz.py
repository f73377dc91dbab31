"""Runs nodes on generated inputs: numbers at and past their limits, NaN, odd pictures, masks, chats and references.

Prints how many worked, how many ended in a message for users, and every other error or slow case with its inputs; then
what becomes of an empty batch, of masks with other axes, and of inputs that are None.
Case k is made of the seed k alone; the last two arguments are the first case and the one after the last.
"""

import asyncio
import json
import math
import random
import sys
import time
import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.media.chat_file import load_chat
from comfyui_wegen.models.values import Answer, Chat, Reference, References, Turn
from comfyui_wegen.wegen_nodes import WeGenExtension, folders
from comfyui_wegen.wegen_nodes.ask import WeGenAsk
from comfyui_wegen.wegen_nodes.batches import mask_batch
from comfyui_wegen.wegen_nodes.host.bundle import WeGenBundle
from comfyui_wegen.wegen_nodes.host.loading import load_unet, load_vae

LONGEST = 60
"""Seconds of computing; on a busy machine a case may wait for much longer."""
TEXTS = [
    "a red cat", "a red cat", "make it night", "@cat on a roof", "@cat and @dog", "@nobody", "", " \n", "\ud800",
    "\udcff cat", "\x00", "<img><img_00000></img>", "</img><img>" * 30, "</s><s>[INST] x [/INST]", "{text}{pictures}",
    "%s %(x)d", "\u202e\u200d\ufeff", "猫 " * 300, "a" * 20_000, "../../x", "%year%/%width%", "none", "🐱" * 50,
]  # fmt: skip
NAMES = ["cat", "@cat", "dog", "", "1", "a b", "\ud800", "x" * 33, "猫", "../cat", "\x00"]
FLOATS = [math.nan, math.inf, -math.inf, 1e308, -1e308, 1e-308, -0.0]
INTS = [-(2**63), -1, 0, 1, 2**31, 2**63, 2**64, 2**70]
LONG = {"steps": 3, "batch_size": 2, "count": 2, "max_tokens": 12, "width": 48, "height": 48}
"""Highest of what takes long, where it is within its limits; past them all values are tried."""


def picture(dice, pixels=None):
    height, width = pixels or dice.choice([(32, 32)] * 5 + [(1, 1), (1, 300), (300, 1), (16, 16), (47, 33), (0, 4)])
    channels = dice.choice([3] * 9 + [1, 4, 4])
    made = torch.rand(height, width, channels, generator=torch.Generator().manual_seed(dice.randrange(99)))
    return spoiled(dice, made)


def spoiled(dice, tensor):
    """The tensor, one time in six with values that are no colour."""
    value = dice.choice([None] * 10 + [math.nan, math.inf])
    if value is not None and tensor.numel():
        tensor.view(-1)[dice.randrange(tensor.numel())] = value
    kind = dice.choice([None] * 10 + ["half", "wide"])
    return tensor.half() if kind == "half" else tensor * 1e30 - 5e29 if kind == "wide" else tensor


def colours(dice):
    return spoiled(dice, torch.rand(32, 32, 3))


def images(dice):
    count = dice.choice([1] * 8 + [2, 3, 0])
    one = picture(dice)
    return torch.stack([one] * count) if count else one[None][:0]


def mask(dice):
    height, width = dice.choice([(32, 32)] * 4 + [(1, 1), (1, 300), (64, 48), (0, 0)])
    made = dice.choice([torch.zeros, torch.ones, torch.rand])(height, width)
    if dice.random() < 0.5:
        made[: height // 2] = 0
    made = spoiled(dice, made)
    return dice.choice([made[None]] * 6 + [made, torch.stack([made] * 2), made[None][:0]])


def references(dice, wegen):
    width = wegen.config.language.width
    features = dice.choice([torch.randn(64, width)] * 5 + [torch.full((64, width), math.nan), None])
    some = [
        Reference(name, features, colours(dice), dice.choice([None, None, torch.ones(32, 32)]))
        for name in dice.sample(["cat", "dog", "x"], dice.randrange(3))
    ]
    return References(tuple(some))


def chat(dice, wegen, saved):
    """A saved chat of another model, a broken one, or one as the nodes make them."""
    kind = dice.choice(["own"] * 6 + ["saved", "empty", "unseen", "broken", "small"])
    if kind in ("saved", "empty"):
        return saved if kind == "saved" else Chat()
    shape = (3, 5) if kind == "small" else (32, 32)
    seen = None if kind == "unseen" else torch.randn(64, wegen.config.language.width)
    if kind == "broken":
        seen = dice.choice([torch.full_like(seen, math.nan), torch.zeros_like(seen)])
    answers = [Answer("a cat", seen, torch.rand(*shape, 3), 1) for _ in range(dice.choice([1, 1, 2]))]
    begun = Chat().add(Turn(dice.choice(["a cat", "", "\ud800"]), tuple(answers)))
    if dice.random() < 0.3:
        kept = dice.choice([torch.ones(32, 32), torch.zeros(32, 32), torch.rand(32, 32), torch.ones(8, 8)])
        begun = begun.add(replace(begun.last, instruction="make it night", keep_mask=kept))
    return begun


def number(dice, told, name, whole):
    least, most = told.get("min"), told.get("max")
    usual = told.get("default", 0)
    if dice.random() < 0.75:
        value = min(usual, LONG.get(name, usual)) if dice.random() < 0.6 else least
        return LONG[name] if value and name in LONG and dice.random() < 0.5 else value
    past = INTS if whole else [*FLOATS, *map(float, INTS)]
    value = dice.choice([*past, least, most, least - 1, most + 1, least - 0.01, most + 0.01])
    value = int(value) if whole else value
    return min(value, LONG[name]) if name in LONG and value <= most else value


def value(dice, name, kind, told, made):
    """One input of a node by its type."""
    if name in ("wegen", "model", "vae") and name in made and kind in ("WEGEN", "MODEL", "VAE"):
        return made[name]
    if kind == "INT" or kind == "FLOAT":
        return number(dice, told, name, kind == "INT")
    if kind == "BOOLEAN":
        return dice.random() < 0.5
    if kind == "STRING":
        if name == "turn":
            return panel_record(dice) if dice.random() < 0.3 else ""
        return dice.choice(NAMES if name == "name" else TEXTS) if dice.random() < 0.7 else "a red cat"
    if kind == "COMBO" or isinstance(kind, list):
        options = (kind if isinstance(kind, list) else told["options"]) or [""]  # a list of files may be empty
        return dice.choice([options[0]] * 2 + [dice.choice(options)] * 2 + ["no such thing"])
    makers = {"IMAGE": images, "MASK": mask}
    if kind in makers:
        return makers[kind](dice)
    if kind == "WEGEN_REFERENCES":
        return references(dice, made["wegen"])
    return chat(dice, made["wegen"], made["saved"])


def panel_record(dice):
    odd = [None, [], {}, "x", "../../x", "\x00", "x" * 5000, -1, 1e999, True, {"filename": "x\x00"}, ["x", {}]]
    keys = ["instruction", "seed", "width", "chat", "picture", "image", "change", "keep", "release", "references"]
    record = {key: dice.choice(odd) for key in dice.sample(keys, dice.randrange(1, 4))}
    return dice.choice([json.dumps(record)] * 3 + ["{", "[" * 100_000, "null", "3"])


def run_case(dice, nodes, made):
    """Run one node; gives its name and what it was given."""
    node = dice.choice(nodes)
    info = node.GET_NODE_INFO_V1()["input"]
    given = {}
    for part in ("required", "optional"):
        for name, (kind, *told) in info.get(part, {}).items():
            if part == "required" or dice.random() < 0.4:
                given[name] = value(dice, name, kind, told[0] if told else {}, made)
    if node.__name__ == "WeGenDiversity":
        given = {name: [one] for name, one in given.items()}
    if node.__name__ == "WeGenResult":
        turns = [cls for cls in nodes if cls.__name__ == "WeGenTurn"]
        instruction = dice.choice(["a cat", "@cat"])
        masks = {"keep_mask": mask(dice)} if dice.random() < 0.5 else {}
        asked = {"instruction": instruction, "seed": 1, "width": 32, "height": 32}
        given["turn"] = turns[0].execute(**asked, chat=chat(dice, made["wegen"], made["saved"]), **masks).result[-1]
    return node.__name__, given, node


def shown(given):
    def one(value):
        if isinstance(value, torch.Tensor):
            return f"{value.dtype} {list(value.shape)}"
        return ascii(value)[:100]

    return {name: one(value) for name, value in given.items() if name not in ("wegen", "model", "vae")}


def empty_batch(wegen):
    """What WeGen Ask says of no pictures. Without a word the host would end in the node behind it."""
    try:
        return WeGenAsk.execute(wegen, "what is there?", torch.zeros(0, 8, 8, 3)).result
    except WeGenError as error:
        return str(error)


def wired_to_nothing(nodes, made):
    """What nodes say of inputs that are None, as what is wired in may be; and one that takes it for none."""
    by_name = {node.__name__: node for node in nodes}
    one, all_of_it = torch.rand(1, 32, 32, 3), torch.ones(1, 32, 32)
    turn = by_name["WeGenTurn"].execute("a cat", 1, 32, 32).result[-1]
    models = {name: made[name] for name in ("wegen", "model", "vae")}
    pasted = {"feather": 8, "align": False, "match_tone": False}
    cases = {
        "WeGenChat": (["save_as", "name", "file"], {"turn": 0, "picture": 0, "chat": made["saved"]}),
        "WeGenEncodeReference": (["name", "weight"], {"wegen": made["wegen"], "image": one}),
        "WeGenTurn": (["name_1", "seed", "width", "height"], {"instruction": "a cat"}),
        "WeGenResult": (["filename_prefix", "feather"], {"image": one, "turn": turn, **pasted}),
        "WeGenKeep": (["feather"], {"before": one, "after": one, "edit_mask": all_of_it, **pasted}),
        "WeGenConsistencyReport": (["amplify"], {"before": one, "after": one}),
        "WeGenGenerate": (["picked", "wegen", "model", "vae", "instruction"], {**models, "instruction": "a cat"}),
        "WeGenRefine": (["chat", "instruction"], {**models, "instruction": "a cat", "chat": made["saved"]}),
        "WeGenLoadLoRA": (["strength"], {"wegen": made["wegen"], "lora_name": "x"}),
    }
    widgets = {
        "file": "none",
        "save_as": "",
        "name": "cat",
        "seed": 1,
        "width": 32,
        "height": 32,
        "filename_prefix": "",
    }
    hidden = {"hidden_inputs": {"unique_id": "1", "prompt": None, "extra_pnginfo": {}}}
    said = []
    for node, (names, given) in cases.items():
        used = {
            name: value
            for name, value in widgets.items()
            if name in by_name[node].GET_NODE_INFO_V1()["input_order"]["required"]
        }
        for name in names:
            try:
                by_name[node].PREPARE_CLASS_CLONE(hidden).execute(**{**used, **given, name: None})
                said.append([name, "worked"])
            except Exception as error:
                said.append([name, str(error)])
    return said, by_name["WeGenDiversity"].PREPARE_CLASS_CLONE(hidden).execute([one], [None]).result[0]


def axes():
    """What masks of other packs' shapes are taken for."""
    shapes = [(5, 7), (2, 5, 7), (2, 1, 5, 7), (2, 5, 7, 1), (3, 1, 7, 1)]
    return [list(mask_batch(torch.zeros(shape)).shape) for shape in shapes]


def main(folder, saved, first, last):
    made = {
        "wegen": WeGenBundle(folder),
        "model": load_unet(folder),
        "vae": load_vae(folder),
        "saved": load_chat(saved),
    }
    folders.register()
    nodes = asyncio.run(WeGenExtension().get_node_list())
    counts, failures = Counter(), []
    for case in range(first, last):
        dice = random.Random(case)
        torch.manual_seed(case)
        name, given, began = "", {}, time.process_time()
        try:
            name, given, node = run_case(dice, nodes, made)
            hidden = {"hidden_inputs": {"unique_id": "1", "prompt": None, "extra_pnginfo": {}}}
            with torch.inference_mode():
                node.PREPARE_CLASS_CLONE(hidden).execute(**given)
            counts[f"{name} worked"] += 1
        except WeGenError as error:
            counts[f"{name} refused"] += 1
            if len(str(error)) < 15:
                failures.append([case, name, f"says too little: {error}", shown(given)])
        except Exception as error:
            if "outside the output folder" in str(error):  # the host's own word about a name to save under
                counts[f"{name} refused"] += 1
                continue
            where = "".join(traceback.format_tb(error.__traceback__)[-3:])
            failures.append([case, name, f"{type(error).__name__}: {ascii(str(error))[:300]}\n{where}", shown(given)])
        seconds = time.process_time() - began
        if seconds > LONGEST:
            failures.append([case, name, f"took {seconds:.0f} seconds", shown(given)])
        print(case, name, f"{seconds:.1f}", file=sys.stderr, flush=True)
    beside = {"empty batch": empty_batch(made["wegen"]), "masks": axes(), "none": wired_to_nothing(nodes, made)}
    print(json.dumps({"counts": counts, "failures": failures, **beside}))


folder, saved, first, last = sys.argv[1:]
main(Path(folder), Path(saved), int(first), int(last))
