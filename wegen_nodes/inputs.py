"""Socket types of the pack, and inputs that several nodes share."""

from __future__ import annotations

import comfy.samplers
from comfy_api.latest import io

from ..models.prompting.text_sampling import DEFAULT_CREATIVITY
from ..models.values import AutoMask
from .host.sampling import PUBLISHED, schedulers

CATEGORY = "WeGen"

WeGenType = io.Custom("WEGEN")
ReferencesType = io.Custom("WEGEN_REFERENCES")
ChatType = io.Custom("WEGEN_CHAT")
DraftsType = io.Custom("WEGEN_IDEAS")
OpenTurnType = io.Custom("WEGEN_TURN")

LARGEST_SEED = 0xFFFFFFFFFFFFFFFF
LARGEST_SIZE = 8192


def wegen(**options) -> io.Input:
    return WeGenType.Input("wegen", tooltip="From WeGen Load Model.", **options)


def references(**options) -> io.Input:
    tooltip = "From WeGen Encode Reference. Write @name in the instruction to say which one you mean."
    return ReferencesType.Input("references", optional=True, tooltip=tooltip, **options)


def instruction(tooltip: str) -> io.Input:
    return io.String.Input("instruction", multiline=True, tooltip=tooltip)


def seed() -> io.Input:
    tooltip = "The same seed and inputs give the same result. Member k of a batch uses seed + k."
    return io.Int.Input("seed", default=0, min=0, max=LARGEST_SEED, control_after_generate=True, tooltip=tooltip)


def creativity(default: float = DEFAULT_CREATIVITY) -> io.Input:
    tooltip = "How daring the rewriting is: 0 gives the same words for every seed, 1 the most surprising ones."
    return io.Float.Input("creativity", default=default, min=0.0, max=1.0, step=0.05, tooltip=tooltip)


def rewrite() -> io.Input:
    tooltip = (
        "On: the model turns the instruction into a detailed description first, differently for each seed, and draws "
        "that. Off: the instruction is drawn as it stands."
    )
    return io.Boolean.Input("rewrite", default=True, tooltip=tooltip)


def rewritten() -> io.Input:
    tooltip = "A description that is drawn as it stands in place of a rewrite, such as an edited one. Empty for none."
    return io.String.Input("rewritten", multiline=True, default="", optional=True, advanced=True, tooltip=tooltip)


def language_settings() -> list[io.Input]:
    return [
        io.Float.Input(
            "feature_guidance",
            default=1.0,
            min=1.0,
            max=10.0,
            step=0.1,
            optional=True,
            advanced=True,
            tooltip="Guidance of the language model while it writes features. 1 is off and twice as fast.",
        ),
        io.Combo.Input(
            "collection",
            options=["aligned", "released"],
            default="aligned",
            optional=True,
            advanced=True,
            tooltip="Where features are collected: aligned with training, or one position later as the released code.",
        ),
    ]


def batch_size() -> io.Input:
    return io.Int.Input("batch_size", default=1, min=1, max=64, tooltip="Pictures at once, with seeds counting up.")


def sampler_settings() -> list[io.Input]:
    return [
        io.Int.Input("steps", default=20, min=1, max=999, tooltip="Sampler steps."),
        io.Float.Input(
            "cfg",
            default=0.0,
            min=0.0,
            max=30.0,
            step=0.1,
            round=0.01,
            tooltip="How closely the decoder follows the features. 0 takes what the checkpoint is best with.",
        ),
        io.Combo.Input("sampler_name", options=comfy.samplers.SAMPLER_NAMES, default="euler"),
        io.Combo.Input(
            "scheduler",
            options=schedulers(),
            default=PUBLISHED,
            tooltip="'published' has the noise levels and the start noise of the published inference.",
        ),
    ]


def refine_settings() -> list[io.Input]:
    """What a refinement has beside the settings of a first turn."""
    return [
        io.Float.Input(
            "strength",
            default=1.0,
            min=0.05,
            max=1.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="How much is painted over where the picture may change. 1 paints it anew.",
        ),
        io.Boolean.Input(
            "auto_mask",
            default=True,
            optional=True,
            tooltip="Without an edit mask: only what the model itself means to change may change.",
        ),
        *auto_mask_settings(),
        io.Boolean.Input(
            "release",
            default=False,
            optional=True,
            advanced=True,
            tooltip="Give up what keep masks of earlier turns have kept.",
        ),
        io.Boolean.Input(
            "align",
            default=False,
            optional=True,
            advanced=True,
            tooltip="Find shift and zoom against what is kept, and undo them before pasting.",
        ),
    ]


def auto_mask_settings() -> list[io.Input]:
    """How the model's own mask is made."""
    own = AutoMask()
    return [
        io.Float.Input(
            "threshold",
            default=own.threshold,
            min=0.0,
            max=2.0,
            step=0.01,
            optional=True,
            advanced=True,
            tooltip="The model's own mask: how different features must be to count as changed (cosine distance).",
        ),
        io.Int.Input(
            "grow",
            default=own.grow,
            min=0,
            max=512,
            optional=True,
            advanced=True,
            tooltip="The model's own mask: pixels that it reaches beyond what changes.",
        ),
        io.Int.Input(
            "soften",
            default=own.soften,
            min=0,
            max=512,
            optional=True,
            advanced=True,
            tooltip="The model's own mask: width of its soft edge in pixels.",
        ),
    ]


def size(name: str) -> io.Input:
    return io.Int.Input(
        name,
        default=0,
        min=0,
        max=LARGEST_SIZE,
        step=8,
        optional=True,
        advanced=True,
        tooltip="In pixels. 0 takes the checkpoint's own size.",
    )
