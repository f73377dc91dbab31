"""Node inputs: those of a turn are made from the table of options, so that a new one is added in one place."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real

from comfy_api.latest import io

from ..models.errors import WeGenError
from ..models.options import OPTIONS, Option
from .host.painter import samplers, schedulers
from .sockets import ReferencesType, WeGenType

_WIRED = {
    "wegen": "WEGEN of WeGen Load Model",
    "model": "MODEL of WeGen Load Model",
    "vae": "VAE of WeGen Load Model",
    "chat": "a chat, as WeGen Generate gives it",
    "turn": "the turn of WeGen Turn",
}
"""What belongs into sockets, but for pictures."""
#: what old workflows may lack: they were saved before these were there, or hold them only when they were set
_OPTIONAL = {name for name, option in OPTIONS.items() if option.advanced} | {"auto_mask"}


def wegen(tooltip: str = "From WeGen Load Model.", **options) -> io.Input:
    return WeGenType.Input("wegen", tooltip=tooltip, **options)


def references(
    tooltip: str = "From WeGen Encode Reference. Only those that the instruction mentions as @name are used; capitals "
    "count.",
    **options,
) -> io.Input:
    return ReferencesType.Input("references", optional=True, tooltip=tooltip, **options)


def instruction(tooltip: str) -> io.Input:
    return io.String.Input("instruction", multiline=True, tooltip=tooltip)


def seed(tooltip: str) -> io.Input:
    [made] = inputs("seed", tooltips={"seed": tooltip})
    return made


def pasting(**match_tone) -> list[io.Input]:
    """How kept pixels are pasted over a picture of any model; `match_tone` says more of that input."""
    return [
        io.Int.Input(
            "feather",
            default=8,
            min=0,
            max=1024,
            tooltip="Width of the soft edge in pixels. It lies inside the area that may change.",
        ),
        io.Boolean.Input(
            "align",
            default=True,
            tooltip="Find out how the picture has shifted and zoomed against the kept area, and undo it.",
        ),
        io.Boolean.Input(
            "match_tone",
            default=False,
            tooltip="Shift the new colours so that they meet the old ones at the edge.",
            **match_tone,
        ),
    ]


def inputs(*names: str, refine: bool = False, tooltips: Mapping[str, str] = {}) -> list[io.Input]:
    """The inputs of these options, in this order.

    Args:
        names: of `options.OPTIONS`.
        refine: whether a refinement's defaults hold.
        tooltips: of those that do something else in a node than in a turn.
    """
    return [_input(OPTIONS[name], refine, tooltips.get(name, "")) for name in names]


def text(name: str, value: object) -> str:
    """What a text input holds, without blanks around it.

    Raises:
        WeGenError: it is no text, as what is wired in may be: the host looks only at what stands in widgets.
    """
    if not isinstance(value, str):
        raise WeGenError(f"The {name} is {value!r:.60}; it must be a text. Look at what is wired in there.")
    return value.strip()


def require_numbers(**given: object) -> None:
    """Raises WeGenError for what is no number, as `text` does for what is no text."""
    for name, value in given.items():
        if not isinstance(value, Real):
            raise WeGenError(f"The {name} is {value!r:.60}; it must be a number. Look at what is wired in there.")


def require_whole_numbers(**given: object) -> None:
    """Raises WeGenError for what is no whole number, as `text` does for what is no text."""
    for name, value in given.items():
        if not isinstance(value, Integral):
            raise WeGenError(f"The {name} is {value!r:.60}; it must be a whole number. Look at what is wired in there.")


def require_wired(**given: object) -> None:
    """Raises WeGenError for what is None, as nodes of all packs may give for nothing; see `text`."""
    for name, value in given.items():
        if value is None:
            kind = _WIRED.get(name, "a picture")
            raise WeGenError(f"The {name} is None; it must be {kind}. Look at what is wired in there.")


def _input(option: Option, refine: bool, tooltip: str) -> io.Input:
    default = option.refine_default if refine and option.refine_default is not None else option.default
    common = {"default": default, "tooltip": tooltip or (refine and option.refine_help) or option.help}
    if option.name in _OPTIONAL:
        common |= {"optional": True, "advanced": option.advanced}
    if option.kind == "switch":
        return io.Boolean.Input(option.name, **common)
    if option.kind == "text":
        return io.String.Input(option.name, multiline=option.multiline, **common)
    if option.kind == "choice":
        return io.Combo.Input(option.name, options=list(option.choices) or _host_choices(option.name), **common)
    limits = {"min": option.minimum, "max": option.maximum}
    if isinstance(option.default, int):
        steps = {"step": int(option.step)} if option.step else {}
        if option.name == "seed":
            # Fixed: what was drawn once is not drawn anew because something is added behind it.
            steps["control_after_generate"] = io.ControlAfterGenerate.fixed
        return io.Int.Input(option.name, **limits, **steps, **common)
    return io.Float.Input(option.name, **limits, step=option.step, **common)


def _host_choices(name: str) -> list[str]:
    return {"sampler_name": samplers(), "scheduler": schedulers()}[name]
