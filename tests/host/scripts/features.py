"""Prints a digest of the features that a checkpoint sees and writes."""

import hashlib
import json
import sys

import torch
from comfyui_wegen.models.engine import Wish, think
from comfyui_wegen.models.values import Chat
from comfyui_wegen.wegen_nodes.host.bundle import WeGenBundle
from PIL import Image

folder, picture = sys.argv[1:]
with torch.inference_mode():
    wegen = WeGenBundle(folder)
    seen = wegen.load_vision(1).encode_pictures([Image.open(picture)])
    wish = Wish("a red cat on the house", feature_guidance=1.5)
    written = think(wegen.load_language(2, 200), Chat(), wish, [0])[0].features
digests = [hashlib.sha256(values.float().numpy().tobytes()).hexdigest() for values in (seen, written)]
print(json.dumps(digests))
