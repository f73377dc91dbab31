"""When the host's own attention of single tokens is used, and that the language model asks for it."""

import json
import sys
from unittest import mock

import torch
from comfyui_wegen.wegen_nodes.host import decode_attention as module
from comfyui_wegen.wegen_nodes.host.loading import load_part

CARD, CPU = torch.device("cuda"), torch.device("cpu")
BF16, WIDTH = torch.bfloat16, module.HEAD_WIDTH
llm = load_part(sys.argv[1], "language_model").model.llm
ask = llm.decode_attention
found = {"here": ask(CPU, BF16, WIDTH) is None, "on a machine without a card": ask(CARD, BF16, WIDTH) is None}
kitchen = module.comfy_kitchen
if kitchen is not None and hasattr(kitchen, "flash_attention_decode"):
    with mock.patch.object(kitchen, "flash_attention_decode_is_available", lambda device: device == CARD):
        found["on a card"] = ask(CARD, BF16, WIDTH) is kitchen.flash_attention_decode
        found["in other precisions"] = ask(CARD, torch.float16, WIDTH) is None
        found["for other widths"] = ask(CARD, BF16, WIDTH // 2) is None
with mock.patch.object(module, "comfy_kitchen", None):
    found["in older versions"] = ask(CARD, BF16, WIDTH) is None

# It really gets what it asks for: `[B, 1, H, D]`, `[B, L, KV, D]` side by side in memory, and lengths.
asked = []


def kernel(q, k, v, lengths):
    asked.append([list(q.shape), list(k.shape), k.is_contiguous() and v.is_contiguous(), lengths.tolist()])
    return torch.zeros_like(q)


language = llm.config
with mock.patch.object(llm, "decode_attention", lambda *_: kernel), torch.no_grad():
    cache = llm.new_cache(2, 8, torch.float32, CPU)
    # Weights come with the first use; shapes are what counts here.
    llm = llm.to_empty(device=CPU).float()
    llm(torch.zeros(2, 3, language.width), cache)
    llm(torch.zeros(2, 1, language.width), cache)
shape = [2, 1, language.heads, language.head_width]
found["what it gets"] = (
    asked == [[shape, [2, 8, language.kv_heads, language.head_width], True, [4, 4]]] * language.layers
)
print(json.dumps(found))
