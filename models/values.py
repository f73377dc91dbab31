"""The values that flow between turns: references, turns and chats, all immutable."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from .errors import WeGenError
from .network.configuration import WeGenConfig
from .options import OPTIONS

Collection = Literal["aligned", "released"]
"""Where features are read off: where training put their targets, or one position later as the published code."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")


def whole_text(text: str) -> str:
    """The text with a sign of its own for each half of a surrogate pair, which no file and no tokenizer takes.

    Front ends send such halves, JSON can hold them, and the words of a command line have them for bytes that are no
    text.

    Raises:
        WeGenError: it is no text at all, as what nodes of other packs hand over may be.
    """
    if not isinstance(text, str):
        raise WeGenError(f"A text is expected, not {text!r:.60}. Look at what is wired in there.")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
            return False
        return (a.dtype, a.device) == (b.dtype, b.device) and torch.equal(a, b)
    return a == b


@dataclass(frozen=True, eq=False, repr=False)
class Value:
    """Equality by content, tensors included; the hash leaves tensors out."""

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def __hash__(self) -> int:
        values = (getattr(self, f.name) for f in fields(self))
        return hash(tuple(v for v in values if v is not None and not isinstance(v, Tensor)))


def _describe(tensor: Tensor | None) -> str:
    return "none" if tensor is None else "x".join(str(n) for n in tensor.shape)


@dataclass(frozen=True, eq=False, repr=False)
class Reference(Value):
    """A named picture that instructions can mention as `@name`."""

    name: str
    features: Tensor | None
    """`[tokens_per_picture, D]` float32; None while no WeGen has looked at the picture."""
    picture: Tensor
    """`[H, W, 3]` in 0..1, as the user gave it."""
    mask: Tensor | None = None
    """`[H, W]` in 0..1, 1 where the reference is; None is the whole picture."""
    weight: float = 1.0
    """How strongly its features speak; 1 leaves them as they are, 0 silences them."""
    seen_by: str = ""
    """Which vision encoder made the features (`WeGen.vision_id`); empty where that is not known."""

    def __post_init__(self):
        if not NAME.fullmatch(self.name):
            raise WeGenError(
                f"A reference cannot be called {self.name!r}: "
                "begin with a letter, go on with letters, digits, '_' or '-', 32 at most."
            )
        if self.picture.ndim != 3 or self.picture.shape[-1] != 3 or 0 in self.picture.shape:
            raise WeGenError(
                f"The picture of reference {self.name!r} must have the shape [height, width, 3], got "
                f"{list(self.picture.shape)}; WeGen Encode Reference brings pictures of other kinds to it."
            )
        if not 0 <= self.weight <= 2:
            raise WeGenError(f"The weight of reference {self.name!r} is {self.weight}; it must be from 0 to 2.")

    def __repr__(self) -> str:
        return (
            f"Reference(@{self.name}, picture {_describe(self.picture)}, mask {_describe(self.mask)}, {self.weight:g})"
        )


@dataclass(frozen=True)
class References:
    """An ordered collection of references with distinct names."""

    items: tuple[Reference, ...] = ()

    def add(self, reference: Reference) -> References:
        """The same references and one more.

        Raises:
            WeGenError: the name is taken.
        """
        if any(item.name == reference.name for item in self.items):
            raise WeGenError(f"There already is a reference called {reference.name!r}; give this one another name.")
        return References((*self.items, reference))

    def __iter__(self) -> Iterator[Reference]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class AutoMask:
    """How the model's own change mask is made of the features before and after; see `predicted_mask.predict_edit_mask`.

    Attributes:
        threshold: how far apart two features must be to count as changed, as cosine distance from 0 to 2. None is the
            checkpoint's own, or where it was not measured one that is found for each picture.
        grow: how far the mask reaches beyond the changed cells, in sixteenths of a cell.
        soften: width of the soft edge outside of that, in sixteenths of a cell.
    """

    threshold: float | None = OPTIONS["threshold"].default or None
    grow: int = OPTIONS["grow"].default
    soften: int = OPTIONS["soften"].default

    def __post_init__(self):
        if self.threshold is not None and not 0 <= self.threshold <= 2:
            raise WeGenError(f"The mask's threshold is {self.threshold}; it must be from 0 to 2.")
        for name, value in (("growth", self.grow), ("softness", self.soften)):
            if not 0 <= value <= 512:
                raise WeGenError(f"The mask's {name} is {value} sixteenths of a cell; give 0 to 512.")


@dataclass(frozen=True)
class SamplerSettings:
    """What a turn's picture was made with, beside its seed."""

    steps: int = OPTIONS["steps"].default
    """Of the painter; 0 takes as many as the checkpoint needs."""
    guidance_scale: float = OPTIONS["cfg"].default
    """Of the painter; 0 takes what the checkpoint is best with."""
    feature_guidance: float = OPTIONS["feature_guidance"].default
    collection: Collection = OPTIONS["collection"].default
    sampler: str = OPTIONS["sampler_name"].default
    scheduler: str = OPTIONS["scheduler"].default
    strength: float = OPTIONS["strength"].default
    """How much of the picture before is painted over where it may change: 1 starts from noise alone."""
    auto_mask: AutoMask | None = AutoMask()
    """How the edit mask is predicted for a refinement without one; None lets all of the picture change."""
    align: bool = OPTIONS["align"].default
    """Whether the new picture is moved back onto the kept area before it is pasted."""
    match_tone: bool = OPTIONS["match_tone"].default
    """Whether the colours of what changed are matched to those around it."""

    def __post_init__(self):
        if not 0 < self.strength <= 1:
            raise WeGenError(f"The strength is {self.strength}; it must be above 0 and at most 1.")
        # How many steps there can be depends on the schedule; see `require_steps`.
        for name, value in {"cfg": self.guidance_scale, "feature_guidance": self.feature_guidance}.items():
            option = OPTIONS[name]
            least, most = option.minimum or 0, option.maximum or math.inf
            if not least <= value <= most:
                raise WeGenError(f"The {option.title} is {value}; it must be from {least:g} to {most:g}.")

    def for_checkpoint(self, config: WeGenConfig) -> SamplerSettings:
        """The same with what the checkpoint is best with, where steps or guidance scale are left to it."""
        return replace(
            self, steps=self.steps or config.sampler_steps, guidance_scale=self.guidance_scale or config.guidance_scale
        )


@dataclass(frozen=True, eq=False, repr=False)
class Answer(Value):
    """One picture that a turn led to, with the words it was drawn from."""

    rewrite: str
    """The words that were drawn; the instruction itself when it was not rewritten."""
    features: Tensor | None
    """`[tokens_per_picture, D]` float32; None for a picture that another model painted."""
    picture: Tensor
    """`[H, W, 3]` float32 in 0..1."""
    seed: int
    change: Tensor | None = None
    """`[H, W]` in 0..1, 0 where the picture is that of the turn before to the bit; None where all of it is new."""
    shows: str | None = None
    """What the finished picture shows, where that is not what was drawn because masks kept it back."""
    reduced_from: tuple[int, int] | None = None
    """Height and width in pixels that the picture had, where only a small copy of it was kept in a file."""
    seen_by: str = ""
    """For which vision encoder the features are (`WeGen.vision_id`); empty where that is not known."""

    def __post_init__(self):
        object.__setattr__(self, "rewrite", whole_text(self.rewrite))
        if self.shows is not None:
            object.__setattr__(self, "shows", whole_text(self.shows))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels that the picture had when it was made."""
        return self.reduced_from or (self.picture.shape[0], self.picture.shape[1])

    @property
    def described(self) -> str:
        """What the finished picture shows, in words; what a chat remembers of the turn."""
        return self.rewrite if self.shows is None else self.shows

    def __repr__(self) -> str:
        return f"Answer({self.rewrite!r}, picture {_describe(self.picture)}, seed {self.seed})"


@dataclass(frozen=True, eq=False, repr=False)
class Turn(Value):
    """One exchange: what was asked, and the pictures it gave, one of which the chat goes on with.

    A turn without an instruction is a picture that the user brought along.
    """

    instruction: str
    answers: tuple[Answer, ...]
    references: References = References()
    edit_mask: Tensor | None = None
    """The user's, brought to the picture's size: `[H, W]` in 0..1, 1 where the picture was allowed to change."""
    keep_mask: Tensor | None = None
    """The user's, brought to the picture's size: `[H, W]` in 0..1, 1 where it had to stay, now and in later turns."""
    released: bool = False
    """Whether this turn gave up what keep masks of earlier turns had kept."""
    settings: SamplerSettings = SamplerSettings()
    picked: int = 0

    def __post_init__(self):
        object.__setattr__(self, "instruction", whole_text(self.instruction))
        if not 0 <= self.picked < len(self.answers):
            raise WeGenError(f"Picture {self.picked + 1} was picked; the turn has pictures 1 to {len(self.answers)}.")

    @property
    def answer(self) -> Answer:
        """The answer that the chat goes on with."""
        return self.answers[self.picked]

    @property
    def is_upload(self) -> bool:
        """Whether the picture is the user's own."""
        return not self.instruction

    @property
    def is_foreign(self) -> bool:
        """Whether another model painted the picture that the chat goes on with."""
        return self.answer.features is None

    def __repr__(self) -> str:
        return f"Turn({self.instruction!r}, {len(self.answers)} pictures, {len(self.references)} references)"


@dataclass(frozen=True)
class Chat:
    """Turns in order. Every method gives a new chat; this one stays as it is, so any of them can be forked."""

    turns: tuple[Turn, ...] = ()
    painted_by: object = field(default=None, compare=False, repr=False)
    """The models that painted it, for turns that are given no others; no part of what is saved or compared."""

    def add(self, turn: Turn) -> Chat:
        return replace(self, turns=(*self.turns, turn))

    def pick(self, index: int) -> Chat:
        """The chat that goes on with picture `index` of its last turn."""
        return replace(self, turns=(*self.turns[:-1], replace(self.last, picked=index)))

    def rewind(self, turns: int) -> Chat:
        """The chat as it was after its first `turns` turns.

        Raises:
            WeGenError: fewer than 1 turn, or more than there are; or only a small copy of its picture was kept.
        """
        if not 1 <= turns <= len(self):
            raise WeGenError(f"The chat cannot go back to turn {turns}; it has turns 1 to {len(self)}.")
        if self.turns[turns - 1].answer.reduced_from:
            raise WeGenError(f"The chat cannot go back to turn {turns}: {only_small_copies(self)}")
        return replace(self, turns=self.turns[:turns])

    def require_turn(self) -> None:
        """Raise WeGenError where there is no turn yet that could be changed or gone on with."""
        if not self.turns:
            raise WeGenError("This chat has no turns yet; start it with WeGen Generate.")

    @property
    def last(self) -> Turn:
        """The turn that the chat goes on with. Raises WeGenError where there is none."""
        self.require_turn()
        return self.turns[-1]

    def kept(self) -> Tensor | None:
        """What keep masks of earlier turns say together, `[H, W]` in 0..1; None when nothing is kept.

        An area once kept stays kept until a turn releases it.

        Raises:
            WeGenError: what turns keep differs in size.
        """
        kept: Tensor | None = None
        for turn in self.turns:
            before = None if turn.released else kept
            if before is not None and turn.keep_mask is not None and before.shape != turn.keep_mask.shape:
                raise WeGenError(
                    f"Turns of this chat keep areas of pictures of different sizes, {tuple(before.shape)} and "
                    f"{tuple(turn.keep_mask.shape)} (height, width). Go back to an earlier turn, or turn on release."
                )
            kept = union(before, turn.keep_mask)
        return kept

    def origins(self) -> Tensor:
        """Which turn, counted from 0, each pixel of the last picture came from: `[H, W]` int64.

        Raises:
            WeGenError: only small copies of earlier pictures were kept, and with them not where they changed.
        """
        if small := only_small_copies(self):
            raise WeGenError(f"Where the pixels of this chat came from cannot be told: {small}")
        origins = torch.zeros(self.last.answer.picture.shape[:2], dtype=torch.int64)
        for number, turn in enumerate(self.turns):
            change = turn.answer.change
            origins = torch.full_like(origins, number) if change is None else origins.where(change <= 0, number)
        return origins

    def __len__(self) -> int:
        return len(self.turns)


def only_small_copies(chat: Chat) -> str:
    """Why pictures of earlier turns are not as they were, and what to do; empty where they are."""
    reduced = [turn.answer for turn in chat.turns if turn.answer.reduced_from]
    if not reduced:
        return ""
    (height, width), small = reduced[-1].size, reduced[-1].picture.shape
    return (
        f"files of the chat panel keep pictures of earlier turns in {small[1]} x {small[0]} pixels, not in {width} x "
        f"{height}. Go back in the panel, or open the whole chat as a workflow there."
    )


def union(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Two masks `[H, W]` of one size in one: the larger value counts."""
    if one is None or other is None:
        return other if one is None else one
    return torch.maximum(one, other)
