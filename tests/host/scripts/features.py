"""Prints a digest of the features that a checkpoint sees and writes."""

import hashlib
import json
import sys

import torch
from comfyui_wegen.models.engine import TurnRequest, draft_pictures
from comfyui_wegen.models.values import Chat, SamplerSettings
from comfyui_wegen.wegen_nodes.host.bundle import WeGenBundle
from PIL import Image

folder, picture = sys.argv[1:]
with torch.inference_mode():
    wegen = WeGenBundle(folder)
    seen = wegen.load_vision(1).encode_pictures([Image.open(picture)])
    settings = SamplerSettings(feature_guidance=1.5)
    request = TurnRequest("a red cat on the house", rewrite=False, settings=settings)
    written = draft_pictures(request, Chat(), wegen)[0].features
digests = [hashlib.sha256(values.float().numpy().tobytes()).hexdigest() for values in (seen, written)]
print(json.dumps(digests))
