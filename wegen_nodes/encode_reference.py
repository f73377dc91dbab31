"""WeGen Encode Reference."""

from __future__ import annotations

from comfy_api.latest import io

from ..models.encoding import encode_reference
from ..models.errors import WeGenError
from ..models.values import References
from .batches import mask_batch
from .host.bundle import progress
from .host.parts import LOOKING, memory_errors
from .inputs import references, require_numbers, require_wired, text, wegen
from .sockets import CATEGORY, ReferencesType


class WeGenEncodeReference(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenEncodeReference",
            display_name="WeGen Encode Reference",
            category=CATEGORY,
            description="Makes a picture a named reference that instructions can mention as @name. Chain several.",
            search_aliases=["wegen reference image"],
            inputs=[
                wegen(),
                io.Image.Input(
                    "image", tooltip="Of any size. Further pictures of a batch are called name2, name3, ..."
                ),
                io.String.Input(
                    "name",
                    default="picture",
                    tooltip="Write @name to mean this picture. A letter first, then letters, digits, _ or -; up to 32.",
                ),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    optional=True,
                    advanced=True,
                    tooltip="Strength of this reference: 1 is normal, 0 silences it.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White is what counts. The bundled model sees nothing else; the published one also sees a "
                    "little around it.",
                ),
                references("Earlier references, to which this one is added."),
            ],
            outputs=[ReferencesType.Output(display_name="references")],
        )

    @classmethod
    def execute(cls, wegen, image, name, weight=1.0, mask=None, references=None) -> io.NodeOutput:
        require_wired(wegen=wegen, image=image)
        name = text("name", name).removeprefix("@")
        require_numbers(weight=weight)
        if not len(image):
            raise WeGenError("There is no picture to encode: the batch is empty.")
        mask = mask_batch(mask)
        if mask is not None and len(mask) not in (1, len(image)):
            raise WeGenError(f"{len(mask)} masks do not fit {len(image)} pictures; give one, or one for each.")
        found = references or References()
        with memory_errors(LOOKING, wegen.formats):
            model, step = wegen.load_vision(1), progress()
            for index, picture in enumerate(image):
                # Further pictures of a batch are called name2, name3 ...
                called = name + (str(index + 1) if index else "")
                own_mask = None if mask is None else mask[index if len(mask) > 1 else 0]
                found = found.add(encode_reference(model, called, picture, own_mask, weight))
                step(index + 1, len(image))
        return io.NodeOutput(found)
