"""What goes into a turn of a chat, and what comes out."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ..checkpoints.tokenizer import Tokenizer
from ..checkpoints.wegen import WeGen
from ..editing.refinement import Masks, everywhere
from ..errors import WeGenError
from ..network.configuration import WeGenConfig
from ..options import CREATIVITY, LARGEST_SEED, OPTIONS, REFINE_CREATIVITY, Option
from ..prompting.decoding import OnStep
from ..prompting.rewriting import OnText
from ..prompting.text_sampling import TextSampling
from ..values import Answer, AutoMask, Chat, References, SamplerSettings, Value, whole_text


@dataclass(frozen=True, eq=False)
class TurnRequest(Value):
    """What is asked in one turn.

    Attributes:
        instruction: what to draw or to change, with `@name` mentions.
        seeds: one picture for each; from 0 to 2**64 - 1.
        references: the pictures that can be mentioned; those that are not mentioned are left out.
        rewrite: whether the model first describes in detail what it will draw.
        creativity: of the rewrites, from 0 to 1; None is the default of a first turn, or of a refinement.
        sampling: of the rewrites, in place of the creativity.
        prompt_override: words that are drawn in place of rewrites: one for all seeds, or one for each. Empty for none.
        size: width and height in pixels of a first picture; None is the checkpoint's own. Later ones have the size of
            the picture before.
        masks: where a refinement may change the picture.
        settings: of the painter, and how a change is put back.

    Raises:
        WeGenError: an empty instruction, no seeds or such as are no whole numbers or out of range, an unknown way to
            collect features, or a creativity out of range.
    """

    instruction: str
    seeds: tuple[int, ...] = (0,)
    references: References = field(default_factory=References)
    rewrite: bool = True
    creativity: float | None = None
    sampling: TextSampling | None = None
    prompt_override: str | tuple[str, ...] = ""
    size: tuple[int, int] | None = None
    masks: Masks = field(default_factory=Masks)
    settings: SamplerSettings = field(default_factory=SamplerSettings)

    def __post_init__(self):
        object.__setattr__(self, "instruction", whole_text(self.instruction).strip())
        object.__setattr__(self, "seeds", _seeds(self.seeds))
        if not self.instruction:
            raise WeGenError("The instruction is empty. Say what to draw, or what to change.")
        if not self.seeds:
            raise WeGenError("0 pictures were asked for; give 1 or more seeds.")
        if self.settings.collection not in ("aligned", "released"):
            raise WeGenError(f"Features are collected 'aligned' or 'released', not {self.settings.collection!r}.")
        self.sampling_of(0)

    @classmethod
    def from_options(
        cls,
        instruction: str,
        options: Mapping[str, Any],
        references: References | None = None,
        edit_mask: Tensor | None = None,
        keep_mask: Tensor | None = None,
    ) -> TurnRequest:
        """The request that values of `options.OPTIONS` make; those that are left out have their defaults.

        A width without a height, or the other way round, is a square.

        Args:
            instruction: what to draw or to change, with `@name` mentions.
            options: by the names of the table.
            references: the pictures that can be mentioned.
            edit_mask, keep_mask: `[h, w]` in 0..1 as for `refinement.Masks`.

        Raises:
            WeGenError: an empty instruction, an unknown option or way to collect features, a value of another kind than
                its option's, or a number outside of its limits.
        """
        if unknown := sorted(options.keys() - OPTIONS.keys()):
            raise WeGenError(f"There is no option {unknown[0]!r}; there are {', '.join(OPTIONS)}.")
        value = {name: options.get(name, option.default) for name, option in OPTIONS.items()}
        for name, option in OPTIONS.items():
            least, most = option.minimum, option.maximum
            if name == "creativity" and value[name] is None:
                continue
            _require_kind(option, value[name])
            if name == "steps" or least is None or most is None:
                continue  # how many steps there can be depends on the schedule; see `require_steps`
            if not least <= value[name] <= most:
                raise WeGenError(f"The {option.title} is {value[name]}; it must be from {least} to {most}.")
        own = AutoMask(value["threshold"] or None, value["grow"], value["soften"]) if value["auto_mask"] else None
        settings = SamplerSettings(
            steps=value["steps"],
            guidance_scale=value["cfg"],
            feature_guidance=value["feature_guidance"],
            collection=value["collection"],
            sampler=value["sampler_name"],
            scheduler=value["scheduler"],
            strength=value["strength"],
            auto_mask=own,
            align=value["align"],
            match_tone=value["match_tone"],
        )
        width, height = value["width"], value["height"]
        return cls(
            instruction,
            tuple((value["seed"] + number) % (LARGEST_SEED + 1) for number in range(value["batch_size"])),
            references or References(),
            value["rewrite"],
            # Where it is left out, its default depends on the turn.
            options.get("creativity"),
            prompt_override=value["rewritten"],
            size=(width or height, height or width) if width or height else None,
            masks=Masks(edit_mask, keep_mask, value["release"]),
            settings=settings,
        )

    @property
    def overrides(self) -> tuple[str, ...]:
        """The words of `prompt_override` for each seed; empty strings where there are none.

        Raises:
            WeGenError: several, and not one for each seed.
        """
        given = self.prompt_override
        words = (given,) * len(self.seeds) if isinstance(given, str) else tuple(given)
        if len(words) != len(self.seeds):
            raise WeGenError(f"{len(words)} descriptions for {len(self.seeds)} seeds: give one, or one for each.")
        return tuple(whole_text(text).strip() for text in words)

    def sampling_of(self, turns_before: int) -> TextSampling:
        """How rewrites are sampled in a chat of so many turns.

        Raises:
            WeGenError: the creativity is out of range, which is said when the request is made.
        """
        if self.sampling is not None:
            return self.sampling
        default = REFINE_CREATIVITY if turns_before else CREATIVITY
        return TextSampling.from_creativity(default if self.creativity is None else self.creativity)


def _require_kind(option: Option, value: Any) -> None:
    """Raise for what is no value of an option: a host checks what stands in widgets, and not what is wired to them."""
    kind, words = {
        "switch": (object, ""),  # anything is true or false
        "number": (Integral, "a whole number") if isinstance(option.default, int) else (Real, "a number"),
        "text": (str, "a text"),
        "choice": (str, "a text"),
    }[option.kind]
    if not isinstance(value, kind):
        raise WeGenError(f"The {option.title} is {value!r:.60}; it must be {words}.")


def _seeds(given: Iterable[int]) -> tuple[int, ...]:
    try:
        seeds = tuple(map(operator.index, given))
    except TypeError:
        raise WeGenError(f"The seeds are {given!r}; give whole numbers, one for each picture: [1, 2].") from None
    for seed in seeds:
        if not 0 <= seed <= LARGEST_SEED:
            raise WeGenError(f"The seed is {seed}; it must be from 0 to {LARGEST_SEED}.")
    return seeds


@dataclass(frozen=True, eq=False)
class PictureDraft(Value):
    """A picture that is described in words and features but not painted yet."""

    rewrite: str
    """The words that it is drawn from."""
    features: Tensor
    """`[tokens_per_picture, D]` float32."""
    seed: int
    notes: tuple[str, ...] = ()
    """Plain sentences for the user: what the model no longer remembers, and what the description lacks."""
    attempts: int = 0
    """How often its words were drawn until these were taken; 0 where nothing was rewritten."""


class Progress(NamedTuple):
    """Where the language model tells how far it is; what any of these raises stops the turn."""

    on_token: OnStep | None = None
    on_feature: OnStep | None = None
    on_text: OnText | None = None


class Parts(Protocol):
    """A checkpoint whose parts are made ready when they are needed. A headless `WeGen` always is."""

    @property
    def config(self) -> WeGenConfig: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def vision_id(self) -> str: ...

    def load_vision(self, pictures: int) -> WeGen:
        """The model with its vision encoder ready for `pictures` at once.

        Raises:
            WeGenError: its weights cannot be read any more, or do not fit into memory. A headless `WeGen` has them.
        """

    def load_language(self, rows: int, positions: int) -> WeGen:
        """The model with its language model ready for `rows` sequences of `positions` tokens.

        Raises:
            WeGenError: more positions than its context holds, or as for `load_vision`.
        """

    def recall(self, question: Hashable, answer: Callable[[], Any]) -> Any:
        """What `answer` gives, or gave when the same was asked before."""


class TurnResult(NamedTuple):
    """What a turn led to."""

    chat: Chat
    """With the turn at its end."""
    notes: tuple[str, ...]
    """Plain sentences about what the user would otherwise wonder at."""
    spoken: str = ""
    """What the model answered in words instead of a picture; the chat is then the one there was."""
    attempts: tuple[int, ...] = ()
    """How often the words of each picture were drawn; 0 where nothing was rewritten."""

    @property
    def pictures(self) -> Tensor:
        """`[B, H, W, 3]` in 0..1; the picture that the chat goes on with where the model answered in words.

        Raises:
            WeGenError: it answered a first wish in words, which only `take_turns` gives: there is no picture.
        """
        return torch.stack([answer.picture for answer in self.answers])

    @property
    def answers(self) -> tuple[Answer, ...]:
        """What belongs to each of `pictures`.

        Raises:
            WeGenError: see `pictures`.
        """
        return (self.chat.last.answer,) if self.spoken else self.chat.last.answers

    @property
    def change(self) -> Tensor | None:
        """`[B, H, W]` in 0..1, where each picture was allowed to change; None where all of every picture is new."""
        answers = () if self.spoken else self.chat.last.answers
        if all(answer.change is None for answer in answers):
            return None
        where = [everywhere(*one.picture.shape[:2]) if one.change is None else one.change for one in answers]
        return torch.stack(where)

    @property
    def reply(self) -> str:
        """What the model says: its remarks, then what each picture shows, one a line."""
        if self.spoken:
            return self.spoken
        words = (answer.described for answer in self.chat.last.answers)
        return "\n".join(dict.fromkeys((*self.notes, *filter(None, words))))
