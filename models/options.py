"""The options of a turn: the one table that node schemas, command line and Python take defaults and limits from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

LARGEST_SEED = 2**64 - 1
CREATIVITY = 0.95
"""Of a first turn. At 0.8 the unlikely tail was cut so early that half of the grounds never came up."""
REFINE_CREATIVITY = 0.0
"""Of a refinement: the likeliest words, so that all pictures of a batch follow the same ones."""


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: of the node input.
        default: where nothing is said; of a first turn.
        help: one or two plain sentences.
        minimum, maximum, step: of a number.
        choices: of one of several; empty where only the host knows them.
        refine_default, refine_help: of a refinement, where they differ.
        advanced: whether it is folded away at first.
    """

    name: str
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: Sequence[str] = ()
    refine_default: Any = None
    refine_help: str = ""
    advanced: bool = False
    multiline: bool = False
    kind: Literal["number", "text", "switch", "choice"] = "number"

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.name.replace("cfg", "guidance scale").replace("_", " ")


_SIDE_HELP = "In pixels, 16 or more. 0 takes the length of the other side; 0 for both takes the checkpoint's own size."

_ALL = (
    Option(
        "seed",
        0,
        "The same seed and inputs give the same result. The first of a batch uses the seed, the next one seed + 1, "
        "and so on. Samplers that add noise of their own (ancestral, SDE) give the same pictures only in the same "
        "batch.",
        minimum=0,
        maximum=LARGEST_SEED,
        refine_help="Of the painting, and of the words where the creativity is above 0: the same seed and inputs give "
        "the same picture. The first of a batch uses the seed, the next one seed + 1, and so on. Samplers that add "
        "noise of their own (ancestral, SDE) give the same pictures only in the same batch.",
    ),
    Option("batch_size", 1, "Pictures at once, with seeds counting up.", minimum=1, maximum=64),
    Option(
        "rewrite",
        True,
        "On: the model turns the instruction into a detailed description first, differently for each seed, and draws "
        "that. Off: the instruction is drawn as it stands.",
        refine_help="On: the model first describes the new picture in words and draws that, if the checkpoint was "
        "trained for it. Off: the instruction is drawn as it stands.",
        kind="switch",
    ),
    Option(
        "creativity",
        CREATIVITY,
        "How daring the rewriting is: 0 gives the same words for every seed, 1 the most surprising ones.",
        minimum=0.0,
        maximum=1.0,
        step=0.05,
        refine_default=REFINE_CREATIVITY,
    ),
    Option(
        "steps",
        0,
        "Sampler steps: more of them take longer. 0 takes as many as the checkpoint needs (the bundled one 8, "
        "the published one 20).",
        minimum=0,
        maximum=999,
    ),
    Option(
        "cfg",
        0.0,
        "Guidance scale: higher follows the features more closely. 0 takes what the checkpoint is best with (the "
        "bundled one 3, the published one 7).",
        minimum=0.0,
        maximum=30.0,
        step=0.1,
    ),
    Option("sampler_name", "euler", "The sampler.", kind="choice"),
    Option(
        "scheduler",
        "published",
        "'published' has the noise levels and the initial noise of the published inference.",
        kind="choice",
    ),
    Option("width", 0, _SIDE_HELP, 0, 8192, 8, advanced=True),
    Option("height", 0, _SIDE_HELP, 0, 8192, 8, advanced=True),
    Option(
        "feature_guidance",
        1.0,
        "Classifier-free guidance of the language model while it writes features. 1 turns it off, which is a little "
        "faster.",
        minimum=1.0,
        maximum=10.0,
        step=0.1,
        advanced=True,
    ),
    Option(
        "collection",
        "aligned",
        "At which position features are read: 'aligned' as in training, 'released' one later, as the published code "
        "does. Leave it at 'aligned'.",
        choices=("aligned", "released"),
        advanced=True,
        kind="choice",
    ),
    Option(
        "strength",
        1.0,
        "Denoising strength where the picture may change: 1 paints it anew from noise, less keeps more of what was "
        "there.",
        minimum=0.05,
        maximum=1.0,
        step=0.05,
        advanced=True,
    ),
    Option(
        "auto_mask",
        True,
        "Without an edit mask: let the model predict what changes, and keep everything else. Off: all of the picture "
        "may change, as for drawing from edges, restoring a picture or another style.",
        kind="switch",
    ),
    Option(
        "threshold",
        0.0,
        "Of the predicted mask: how different a cell's features must be to count as changed (cosine distance); lower "
        "gives a larger mask. 0 takes what `wegen calibrate` measured, or else finds it for each picture.",
        minimum=0.0,
        maximum=2.0,
        step=0.01,
        advanced=True,
    ),
    Option(
        "grow",
        2,
        "Of the predicted mask: how far it reaches beyond what changes, in sixteenths of a cell. The picture has 8 x 8 "
        "cells: 16 is an eighth of its shorter side.",
        minimum=0,
        maximum=512,
        advanced=True,
    ),
    Option(
        "soften",
        2,
        "Of the predicted mask: width of its soft edge, in sixteenths of a cell (see grow).",
        minimum=0,
        maximum=512,
        advanced=True,
    ),
    Option(
        "release",
        False,
        "Let areas change again that keep masks of earlier turns protect.",
        advanced=True,
        kind="switch",
    ),
    Option(
        "align",
        False,
        "Find shift and zoom against what is kept, and undo them before pasting.",
        advanced=True,
        kind="switch",
    ),
    Option(
        "rewritten",
        "",
        "A description that is drawn as it stands in place of a rewrite, such as an edited one. Empty for none.",
        advanced=True,
        multiline=True,
        kind="text",
    ),
    Option(
        "match_tone",
        False,
        "Match the colours of what changed to those around it.",
        advanced=True,
        kind="switch",
    ),
)
OPTIONS = MappingProxyType({option.name: option for option in _ALL})
"""By name. Saved workflows hold widgets by their order in a node, which the nodes say; new options go to its end."""
