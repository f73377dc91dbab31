"""Prints, for each checkpoint given after a picture, digests of the features that it sees and writes."""

import hashlib
import json
import sys

import torch
from comfyui_wegen.models.engine import TurnRequest, draft_pictures
from comfyui_wegen.models.values import Chat, SamplerSettings
from comfyui_wegen.wegen_nodes.host.bundle import WeGenBundle
from PIL import Image

picture, *folders = sys.argv[1:]
digests = []
with torch.inference_mode():
    for folder in folders:
        wegen = WeGenBundle(folder)
        seen = wegen.load_vision(1).encode_pictures([Image.open(picture)])
        settings = SamplerSettings(feature_guidance=1.5)
        request = TurnRequest("a red cat on the house", rewrite=False, settings=settings)
        written = draft_pictures(request, Chat(), wegen)[0].features
        digests.append([hashlib.sha256(values.float().numpy().tobytes()).hexdigest() for values in (seen, written)])
print(json.dumps(digests))
