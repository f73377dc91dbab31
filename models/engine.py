"""One turn of a chat, from words and masks to finished pictures: the only place where a turn is put together.

ComfyUI's nodes, plain Python, the command line and evaluation differ in the painter and in where progress goes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from .checkpoints.tokenizer import Tokenizer
from .checkpoints.wegen import WeGen
from .editing.crop import Crop, plan_crop, put_back, take, take_mask
from .editing.predicted_mask import PredictedMask, keep_features, predict_edit_mask
from .editing.refinement import Masks, Outcome, everywhere, outcome, resolve_masks
from .editing.registration import estimate, undo
from .encoding import lack_features, look_at, unseen, with_features
from .errors import AnsweredInWords, WeGenError
from .network.configuration import WeGenConfig
from .options import CREATIVITY, OPTIONS, REFINE_CREATIVITY
from .painting.painter import Painter, PaintJob, require_size
from .painting.schedule import PUBLISHED, require_steps
from .prompting.asking import ask
from .prompting.checks import MENTION
from .prompting.conversation import memory_note, picture_prompt, unknown_mention
from .prompting.decoding import Decoding, OnStep
from .prompting.rewriting import OnText, RewriteRequest, descriptions, report, rewrite_each, rows_needed
from .prompting.text_sampling import TextSampling
from .values import Answer, AutoMask, Chat, Collection, Reference, References, SamplerSettings, Turn, Value, whole_text

NOT_UNDERSTOOD = "I did not understand {order!r}: nothing in the picture would change, so it is as it was."
ALREADY_SO = "The picture already shows that, so nothing was changed."
OVERRULED = (
    "The masks leave no room for {order!r}: what it changes lies where the picture has to stay as it is, so nothing "
    "was changed."
)
PARTLY = "The masks kept a part of {order!r} from happening."
FEATHERED_SHARE = 1 / 128
"""Width of the soft edge inside the user's masks, as a share of the picture's shorter side."""


@dataclass(frozen=True, eq=False)
class TurnRequest(Value):
    """What is asked in one turn.

    Attributes:
        instruction: what to draw or to change, with `@name` mentions.
        seeds: one picture for each.
        references: the pictures that can be mentioned; those that are not mentioned are left out.
        rewrite: whether the model first describes in detail what it will draw.
        creativity: of the rewrites, from 0 to 1; None is the default of a first turn, or of a refinement.
        sampling: of the rewrites, in place of the creativity.
        prompt_override: words that are drawn in place of rewrites: one for all seeds, or one for each. Empty for none.
        size: width and height in pixels of a first picture; None is the checkpoint's own. Later ones have the size of
            the picture before.
        masks: where a refinement may change the picture.
        settings: of the painter, and how a change is put back.
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
        object.__setattr__(self, "seeds", tuple(self.seeds))
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

        Raises:
            WeGenError: an empty instruction, or a number outside of its limits.
        """
        value = {name: options.get(name, option.default) for name, option in OPTIONS.items()}
        most = OPTIONS["batch_size"].maximum
        if not 1 <= value["batch_size"] <= most:
            raise WeGenError(f"The batch size is {value['batch_size']}; set 1 or more, at most {most}.")
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
            tuple(value["seed"] + number for number in range(value["batch_size"])),
            references or References(),
            value["rewrite"],
            # Without a word of the user's the default depends on the turn.
            options.get("creativity"),
            prompt_override=value["rewritten"],
            size=(width or height, height or width) if width or height else None,
            masks=Masks(edit_mask, keep_mask, value["release"]),
            settings=settings,
        )

    @property
    def overrides(self) -> tuple[str, ...]:
        """The words of `prompt_override` for each seed; empty strings where there are none."""
        given = self.prompt_override
        words = (given,) * len(self.seeds) if isinstance(given, str) else tuple(given)
        if len(words) != len(self.seeds):
            raise WeGenError(f"{len(words)} descriptions for {len(self.seeds)} seeds: give one, or one for each.")
        return tuple(whole_text(text).strip() for text in words)

    def sampling_of(self, turns_before: int) -> TextSampling:
        """How rewrites are sampled in a chat of so many turns."""
        if self.sampling is not None:
            return self.sampling
        default = REFINE_CREATIVITY if turns_before else CREATIVITY
        return TextSampling.from_creativity(default if self.creativity is None else self.creativity)


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

    def load_vision(self, pictures: int) -> WeGen:
        """The model with its vision encoder ready for `pictures` at once."""

    def load_language(self, rows: int, positions: int) -> WeGen:
        """The model with its language model ready for `rows` sequences of `positions` tokens."""

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
        """`[B, H, W, 3]` in 0..1; the picture that the chat goes on with where the model answered in words."""
        return torch.stack([answer.picture for answer in self.answers])

    @property
    def answers(self) -> tuple[Answer, ...]:
        """What belongs to each of `pictures`."""
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


def take_turn(
    request: TurnRequest,
    chat: Chat,
    painter: Painter,
    parts: Parts,
    progress: Progress = Progress(),  # noqa: B008 - immutable
) -> TurnResult:
    """The next turn of a chat.

    Args:
        request: what is asked.
        chat: the turns before; without any this is the first picture.
        painter: paints the features.
        parts: the checkpoint.
        progress: of the language model; painters tell their own.

    Raises:
        WeGenError: an empty instruction, an unknown `@name`, masks that leave nothing to change, a size that cannot be
            painted, or more tokens than the context holds.
        AnsweredInWords: the model answers a first wish in words and draws nothing. A chat stays as it is then, and the
            result says what it answered.
    """
    [result] = take_turns([request], [chat], painter, parts, progress)
    if result.spoken and not chat.turns:
        raise AnsweredInWords(result.spoken)
    return result


def take_turns(
    requests: Sequence[TurnRequest],
    chats: Sequence[Chat],
    painter: Painter,
    parts: Parts,
    progress: Progress = Progress(),  # noqa: B008 - immutable
) -> list[TurnResult]:
    """The next turns of many chats in one batch: what `take_turn` gives one by one."""
    turns = [_begin(request, chat, parts) for request, chat in zip(requests, chats, strict=True)]
    written = _drafts(turns, parts, progress)
    items = [turn.item(draft) for turn, some in zip(turns, written, strict=True) for draft in some.drafts]
    for item in items:
        item.plan_change(parts.config)
    _look_closer(items, parts, progress)
    _paint(items, painter)
    finished = list(zip(items, _finish(items, parts, progress), strict=True))
    results = []
    for turn, some in zip(turns, written, strict=True):
        own = [(item, answer) for item, answer in finished if item.turn is turn]
        results.append(turn.result([item for item, _ in own], [answer for _, answer in own], some.spoken))
    return results


def draft_pictures(
    request: TurnRequest,
    chat: Chat,
    parts: Parts,
    progress: Progress = Progress(),  # noqa: B008 - immutable
) -> list[PictureDraft]:
    """The language side of `take_turn` alone: words and features, for graphs that paint with the host's own nodes."""
    # Who paints elsewhere paints all of the picture: it is read as a whole, whatever masks keep of it.
    [written] = _drafts([_begin(replace(request, masks=Masks(release=True)), chat, parts)], parts, progress)
    if written.spoken:
        raise AnsweredInWords(written.spoken)
    return written.drafts


def predict_masks(
    request: TurnRequest,
    chat: Chat,
    parts: Parts,
    progress: Progress = Progress(),  # noqa: B008 - immutable
) -> list[PredictedMask]:
    """Where a refinement would change the picture by the predicted edit mask: the one that `take_turn` would use."""
    turn = _begin(request, chat, parts)
    [written] = _drafts([turn], parts, progress)
    if written.spoken:
        raise AnsweredInWords(written.spoken)
    turn.before  # noqa: B018 - says what is wrong with an empty chat
    if request.settings.auto_mask is None:
        raise WeGenError("The predicted edit mask is off in the settings; give an AutoMask.")
    found = [turn.item(draft).own_mask(request.settings.auto_mask, parts.config) for draft in written.drafts]
    return [own if turn.allowed is None else own._replace(mask=own.mask * turn.allowed) for own in found]


# --- before anything is computed --------------------------------------------------------------------------------------


@dataclass
class _Turn:
    """A request with its chat, and the part of the picture that is worked on."""

    request: TurnRequest
    original: Chat
    chat: Chat
    """As the model reads it: it ends in the picture that is worked on."""
    size: tuple[int, int]
    """Height and width in pixels of the finished picture."""
    allowed: Tensor | None
    """`[H, W]` in 0..1, where the user lets the picture change; None is everywhere."""
    view: Crop
    notes: list[str] = field(default_factory=list)

    @property
    def is_edit(self) -> bool:
        return bool(self.original.turns)

    @property
    def before(self) -> Answer:
        """The picture that is changed."""
        return self.original.last.answer

    @property
    def view_features(self) -> Tensor:
        """`[tokens_per_picture, D]` of the part of the picture that is worked on; nothing for a first picture."""
        features = self.chat.last.answer.features if self.is_edit else None
        return torch.empty(0) if features is None else features

    def item(self, draft: PictureDraft) -> _Item:
        return _Item(self, draft, self.view, self.view_features, draft.features)

    def result(self, items: Sequence[_Item], answers: Sequence[Answer], spoken: str) -> TurnResult:
        if spoken:
            return TurnResult(self.original, tuple(self.notes), spoken)
        request = self.request
        masks = request.masks if self.is_edit else Masks()
        turn = Turn(
            request.instruction,
            tuple(answers),
            request.references,
            masks.edit,
            masks.keep,
            masks.release,
            request.settings,
        )
        notes = [*self.notes, *(note for item in items for note in (*item.draft.notes, *item.notes))]
        attempts = tuple(item.draft.attempts for item in items)
        return TurnResult(self.original.add(turn), tuple(dict.fromkeys(notes)), attempts=attempts)


def _begin(request: TurnRequest, chat: Chat, parts: Parts) -> _Turn:
    """Resolve mentions, sizes and masks; says what is wrong with them before anything is computed."""
    config = parts.config
    references, notes = _mentioned(request)
    if lack_features(references):
        references = with_features(parts.load_vision(1), references)
    settings = request.settings
    if settings.guidance_scale == 0:
        settings = replace(settings, guidance_scale=config.guidance_scale)
    if not chat.turns:
        settings = replace(settings, strength=1.0)  # there is nothing to paint over
    require_steps(config.schedule, settings.steps, settings.strength if settings.scheduler == PUBLISHED else 1.0)
    request = replace(request, references=references, settings=settings)
    if not chat.turns:
        width, height = request.size or (config.size, config.size)
        require_size(width, height)
        whole = Crop(0, 0, height, width, (height, width), (height, width))
        return _Turn(request, chat, chat, (height, width), None, whole, notes)
    height, width = chat.last.answer.picture.shape[:2]
    require_size(width, height)
    request = replace(request, masks=request.masks.fitted(height, width))
    allowed = resolve_masks(chat, request.masks)
    view = plan_crop(allowed, height, width, config.size**2, config.vae.downscale)
    read = look_at(parts.load_vision(1), chat) if unseen(chat) else chat
    if (view.height, view.width) != (height, width):
        [seen] = _seen([(chat, view)], parts)
        read = _reading(read, seen)
    return _Turn(request, chat, read, (height, width), allowed, view, notes)


def _mentioned(request: TurnRequest) -> tuple[References, list[str]]:
    """The references that the request mentions, and a sentence about those that it does not.

    Raises:
        WeGenError: one is mentioned that is not there.
    """
    words = " ".join((request.instruction, *request.overrides))
    names = dict.fromkeys(MENTION.findall(words))
    there = {reference.name: reference for reference in request.references}
    for name in names:
        if name not in there:
            raise unknown_mention(name, request.references)
    unused = [name for name in there if name not in names]
    notes = []
    if unused:
        listed = ", ".join(f"@{name}" for name in unused)
        notes.append(f"Not mentioned, so not used: {listed}.")
    return References(tuple(there[name] for name in there if name in names)), notes


def _seen(views: Sequence[tuple[Chat, Crop]], parts: Parts) -> list[Tensor]:
    """The features `[tokens_per_picture, D]` of a part of the picture that each chat goes on with."""
    pictures = [chat.last.answer.picture[view.box] for chat, view in views]
    found = parts.load_vision(len(pictures)).encode_pictures(pictures)
    return list(found.float().cpu())


def _reading(chat: Chat, features: Tensor) -> Chat:
    """The chat with these features of the picture that it goes on with."""
    shown = replace(chat.last.answer, features=features)
    return Chat((*chat.turns[:-1], replace(chat.last, answers=(shown,), picked=0)))


# --- words and features -----------------------------------------------------------------------------------------------


class _Words(NamedTuple):
    """What the words and features of a turn depend on; nothing of the painter's is among it."""

    chat: Chat
    instruction: str
    references: References
    seeds: tuple[int, ...]
    overrides: tuple[str, ...]
    sampling: TextSampling | None
    feature_guidance: float
    collection: Collection


class _Written(NamedTuple):
    """What the language model made of a turn: a draft for each seed, or an answer in words."""

    drafts: list[PictureDraft]
    spoken: str = ""


def _drafts(turns: Sequence[_Turn], parts: Parts, progress: Progress) -> list[_Written]:
    """The drafts of each turn, one for each seed."""
    asked = [_words(turn, parts.config) for turn in turns]
    if len(asked) == 1:
        return [parts.recall(asked[0], lambda: _write(asked, parts, progress)[0])]
    return _write(asked, parts, progress)


def _words(turn: _Turn, config: WeGenConfig) -> _Words:
    request, settings = turn.request, turn.request.settings
    # Without a template for it, an order on a picture is drawn as it stands.
    rewritten = request.rewrite and bool(config.templates.edit_rewrite or not turn.chat.turns)
    sampling = request.sampling_of(len(turn.chat)) if rewritten else None
    return _Words(
        turn.chat,
        request.instruction,
        request.references,
        request.seeds,
        request.overrides,
        sampling,
        settings.feature_guidance,
        settings.collection,
    )


def _write(asked: Sequence[_Words], parts: Parts, progress: Progress) -> list[_Written]:
    """Rewrites, then features, of many turns; without chance all seeds of a turn share one draft's features."""
    config, tokenizer = parts.config, parts.tokenizer
    rows = sum(len(set(one.seeds)) for one in asked)
    if any(one.sampling is not None for one in asked):
        rows = rows_needed(rows)
    guided = any(one.feature_guidance != 1 for one in asked)
    wegen = parts.load_language(rows * 2 if guided else rows, max(_positions(one, config, tokenizer) for one in asked))
    notes = [_notes(one, config, tokenizer) for one in asked]
    texts: list[list[str]] = [list(one.overrides) for one in asked]
    attempts = [[0] * len(one.seeds) for one in asked]
    spoken = [""] * len(asked)
    for sampling in dict.fromkeys(one.sampling for one in asked):
        chosen = [n for n, one in enumerate(asked) if one.sampling == sampling and not all(one.overrides)]
        if not chosen:
            continue
        written = None
        if sampling is not None:
            requests = [RewriteRequest(asked[n].instruction, asked[n].references, asked[n].chat) for n in chosen]
            seeds = [asked[n].seeds for n in chosen]
            written = rewrite_each(
                wegen, requests, seeds, sampling, on_token=progress.on_token, on_text=progress.on_text
            )
        for place, n in enumerate(chosen):
            found = asked[n].instruction
            if written is not None:
                try:
                    described = descriptions(written[place])
                except AnsweredInWords as answer:
                    spoken[n], texts[n] = str(answer), []
                    continue
                notes[n] += (report([one for one in written[place] if not one.spoken]),)
                rewrites = [one.text or _valid(found) for one in described]
                attempts[n] = [
                    0 if o else one.attempts for o, one in zip(asked[n].overrides, written[place], strict=True)
                ]
            else:
                rewrites = [found] * len(asked[n].seeds)
            texts[n] = [override or text for override, text in zip(asked[n].overrides, rewrites, strict=True)]
    features = _features(wegen, asked, texts, progress.on_feature)
    return [
        _Written(
            [
                PictureDraft(text, features[n, text], seed, tuple(dict.fromkeys(filter(None, notes[n]))), tries)
                for text, seed, tries in zip(texts[n], one.seeds, attempts[n], strict=not spoken[n])
            ],
            spoken[n],
        )
        for n, one in enumerate(asked)
    ]


def _valid(instruction: str) -> str:
    """A user's text without half surrogate pairs, which a front end can send and no file takes."""
    return instruction.strip().encode("utf-8", "replace").decode()


def _notes(one: _Words, config: WeGenConfig, tokenizer: Tokenizer) -> tuple[str, ...]:
    """What there is to say of a turn before it is written: turns that no longer fit."""
    return (memory_note(config, tokenizer, *_asked(one)),)


def _asked(one: _Words) -> tuple[Chat, str, References]:
    return one.chat, one.instruction, one.references


def _positions(one: _Words, config: WeGenConfig, tokenizer: Tokenizer) -> int:
    """Positions that the longest sequence of a turn takes; what a cache must have room for."""
    longest = max(
        picture_prompt(config, tokenizer, *_asked(one), text or None).tokens(tokenizer)
        for text in dict.fromkeys(one.overrides)
    )
    written = 0 if one.sampling is None or all(one.overrides) else config.templates.rewrite_limit
    return longest + written + config.tokens_per_picture + 1


def _features(
    wegen: WeGen, asked: Sequence[_Words], texts: Sequence[Sequence[str]], on_feature: OnStep | None
) -> dict[tuple[int, str], Tensor]:
    """The features `[tokens_per_picture, D]` of each turn's picture for each of its descriptions, in few batches."""
    config, tokenizer = wegen.config, wegen.tokenizer
    found: dict[tuple[int, str], Tensor] = {}
    for guidance, collection in dict.fromkeys((one.feature_guidance, one.collection) for one in asked):
        places = [
            (n, text)
            for n, one in enumerate(asked)
            if (one.feature_guidance, one.collection) == (guidance, collection)
            for text in dict.fromkeys(texts[n])
        ]
        if not places:
            continue
        prompts = [picture_prompt(config, tokenizer, *_asked(asked[n]), text).embeddings(wegen) for n, text in places]
        # The picture's features and its end follow the prompt.
        decoding = Decoding(wegen, prompts, config.tokens_per_picture + 1, guided=guidance != 1.0)
        features = decoding.write_picture(guidance, collection, on_feature).features.cpu()
        found |= dict(zip(places, features, strict=True))
    return found


# --- painting ---------------------------------------------------------------------------------------------------------


@dataclass
class _Item:
    """One picture of one turn on its way."""

    turn: _Turn
    draft: PictureDraft
    view: Crop
    before_features: Tensor
    """Of the part of the picture that is worked on, as it was; nothing for a first picture."""
    meant: Tensor
    """The features of the draft, before kept cells got back those of the picture before."""
    change: Tensor | None = None
    """`[H, W]` in 0..1 at full size; None when all of it may change."""
    painted: Tensor | None = None
    """`[h, w, 3]` of the view."""
    paints: bool = True
    """Whether anything of it may change at all."""
    nothing_meant: bool = False
    """Whether the model would change nothing."""
    notes: list[str] = field(default_factory=list)

    @property
    def is_edit(self) -> bool:
        return self.turn.is_edit

    @property
    def settings(self) -> SamplerSettings:
        return self.turn.request.settings

    def plan_change(self, config: WeGenConfig) -> None:
        """Decide where the picture may change. Cells that may not change get the features that they had."""
        if not self.is_edit:
            return
        self.change = self.turn.allowed
        how = self.settings.auto_mask
        if how is not None and self.turn.request.masks.edit is None:
            own = self.own_mask(how, config)
            self.change = own.mask if self.turn.allowed is None else own.mask * self.turn.allowed
            self.paints = bool(self.change.any())
            if own.note:
                self.notes.append(own.note)
            self.nothing_meant = own.empty
            if own.empty:
                before = self.turn.before.described
                known = bool(before) and _same_words(self.draft.rewrite, before)
                self.notes.append(ALREADY_SO if known else NOT_UNDERSTOOD.format(order=self.turn.request.instruction))
        self.keep_cells()

    def own_mask(self, how: AutoMask, config: WeGenConfig) -> PredictedMask:
        """The predicted edit mask at full size; the user's masks are not in it."""
        box = self.view
        own = predict_edit_mask(self.before_features, self.draft.features, box.height, box.width, how, config.features)
        if (box.height, box.width) == self.turn.size:
            return own
        mask, heat = torch.zeros(*self.turn.size), torch.zeros(*self.turn.size)
        mask[box.box], heat[box.box] = own.mask, own.heat
        return own._replace(mask=mask, heat=heat)

    def keep_cells(self) -> None:
        """Give cells that may not change the features that they had."""
        if self.change is not None:
            part = self.change[self.view.box]
            self.draft = replace(self.draft, features=keep_features(self.before_features, self.draft.features, part))

    def outcome(self, after: Tensor, config: WeGenConfig) -> Outcome:
        """Whether what was meant came through the user's masks; `after` are the features of the finished view."""
        how = replace(self.settings.auto_mask or AutoMask(), grow=0, soften=0)
        cells = config.feature_grid
        meant = predict_edit_mask(self.before_features, self.meant, cells, cells, how, config.features).mask
        allowed = everywhere(*self.turn.size) if self.turn.allowed is None else self.turn.allowed
        return outcome(
            self.before_features,
            self.meant,
            after,
            meant.flatten() > 0,
            allowed[self.view.box],
            config.features.measured,
        )


def _same_words(one: str, other: str) -> bool:
    return one.casefold().split() == other.casefold().split()


def _look_closer(items: Sequence[_Item], parts: Parts, progress: Progress) -> None:
    """Draw features again for what changes, where the predicted edit mask is a small part of a large picture."""
    config = parts.config
    closer = []
    for item in items:
        if not item.is_edit or item.change is None or not item.paints:
            continue
        crop = plan_crop(item.change, *item.turn.size, config.size**2, config.vae.downscale)
        if crop.height * crop.width < 0.5 * item.view.height * item.view.width:
            closer.append((item, crop))
    if not closer:
        return
    shown = _seen([(item.turn.original, crop) for item, crop in closer], parts)
    asked = []
    for (item, _), seen in zip(closer, shown, strict=True):
        turn = item.turn
        chat = _reading(turn.chat, seen)
        words = _words(turn, config)
        asked.append(words._replace(chat=chat, seeds=(item.draft.seed,), overrides=(item.draft.rewrite,)))
    rows = 2 * len(asked) if any(one.feature_guidance != 1 for one in asked) else len(asked)
    wegen = parts.load_language(rows, max(_positions(one, config, parts.tokenizer) for one in asked))
    texts = [list(one.overrides) for one in asked]
    features = _features(wegen, asked, texts, progress.on_feature)
    for n, ((item, crop), seen) in enumerate(zip(closer, shown, strict=True)):
        item.view, item.before_features = crop, seen
        item.meant = features[n, texts[n][0]]
        item.draft = replace(item.draft, features=item.meant)
        item.keep_cells()


def _paint(items: Sequence[_Item], painter: Painter) -> None:
    """Paint what may change, pictures of one size and with the same settings at once."""
    groups: dict[tuple[tuple[int, int], SamplerSettings, bool, bool], list[_Item]] = {}
    for item in items:
        if item.paints:
            key = (item.view.padded, item.settings, item.is_edit, item.change is None)
            groups.setdefault(key, []).append(item)
    for ((height, width), settings, is_edit, _), some in groups.items():
        before: Tensor | None = None
        change: Tensor | None = None
        if is_edit:
            # Pictures of one turn begin with the same picture, which is then encoded only once.
            places = {id(item.turn): item for item in some} if len({item.view for item in some}) == 1 else {}
            shown = list(places.values()) if len(places) == 1 else some
            before = torch.stack([take(_colours(item.turn.before.picture), item.view) for item in shown])
            masks = [take_mask(item.change, item.view) for item in some if item.change is not None]
            change = torch.stack(masks) if masks else None
        features = torch.stack([item.draft.features for item in some])
        seeds = [item.draft.seed for item in some]
        painted = painter.paint(PaintJob(features, seeds, settings, width, height, before, change))
        for item, picture in zip(some, painted, strict=True):
            item.painted = picture


# --- putting back -----------------------------------------------------------------------------------------------------


def _finish(items: Sequence[_Item], parts: Parts, progress: Progress) -> list[Answer]:
    """Make answers of what was painted: kept pixels are those from before, and features and words fit the result."""
    pictures = [_composite(item) for item in items]
    # What was painted is only part of such a picture; the next turn has to see all of it.
    pasted = {n: pictures[n] for n, item in enumerate(items) if item.paints and item.is_edit and _pasted(item)}
    whole = _encode(pasted, parts)
    limited = {n for n in pasted if items[n].turn.allowed is not None}
    # Of a crop, what the model meant is compared with the crop.
    cropped = {n: pasted[n][items[n].view.box] for n in limited if items[n].view.box != _whole(items[n])}
    close = {**whole, **_encode(cropped, parts)}
    answers = []
    for n, item in enumerate(items):
        order, shows = item.turn.request.instruction, None
        if not item.paints:
            if not item.nothing_meant:
                item.notes.append(OVERRULED.format(order=order))
            answers.append(_unchanged(item, parts, progress))
            continue
        if n in limited:
            came = item.outcome(close[n], parts.config)
            if came == "overruled":
                item.notes.append(OVERRULED.format(order=order))
                answers.append(_unchanged(item, parts, progress))
                continue
            if came == "partly":
                item.notes.append(PARTLY.format(order=order))
                shows = _description(whole[n], pictures[n], parts, progress) or item.turn.before.described
        features = whole.get(n, item.draft.features)
        answers.append(Answer(item.draft.rewrite, features, pictures[n], item.draft.seed, item.change, shows))
    return answers


def _whole(item: _Item) -> tuple[slice, slice]:
    height, width = item.turn.size
    return slice(0, height), slice(0, width)


def _pasted(item: _Item) -> bool:
    """Whether the finished picture is not what was painted, pixel by pixel."""
    return item.change is not None or item.view.size != item.turn.size


def _composite(item: _Item) -> Tensor:
    """The finished picture `[H, W, 3]`; the one before where nothing was painted."""
    if item.painted is None:
        return item.turn.before.picture
    if not item.is_edit:
        return item.painted
    before, painted, settings = _colours(item.turn.before.picture), item.painted, item.settings
    if settings.align and item.change is not None:
        motion = estimate(take(before, item.view), painted, take_mask(item.change, item.view))
        painted = undo(painted, motion)
        if motion.moved:
            item.notes.append(motion.reason)
    feather = 0.0 if item.turn.allowed is None else round(min(item.turn.size) * FEATHERED_SHARE)
    return put_back(before, painted, item.view, item.change, feather, settings.match_tone)


def _colours(picture: Tensor) -> Tensor:
    """`[H, W, 3]`, the picture itself where that is what it is: what is known of it stays known."""
    return picture if picture.shape[-1] == 3 else picture[..., :3]


def _unchanged(item: _Item, parts: Parts, progress: Progress) -> Answer:
    """The picture before, to the bit, with the words that belong to it; one that the user brought is described now."""
    before = item.turn.before
    item.change = torch.zeros(*item.turn.size)
    features = before.features
    if features is None:  # of another model; those that are worked with may be of a part of it
        whole = (item.view.height, item.view.width) == item.turn.size
        features = item.before_features if whole else _encode({0: before.picture}, parts)[0]
    shows = before.described or _description(features, before.picture, parts, progress)
    return Answer(item.draft.rewrite, features, before.picture, item.draft.seed, item.change, shows)


def _encode(pictures: Mapping[int, Tensor], parts: Parts) -> dict[int, Tensor]:
    """Features `[tokens_per_picture, D]` of pictures by their numbers."""
    if not pictures:
        return {}
    found = parts.load_vision(len(pictures)).encode_pictures(list(pictures.values()))
    return dict(zip(pictures, found.float().cpu(), strict=True))


def _description(features: Tensor, picture: Tensor, parts: Parts, progress: Progress) -> str:
    """What the model sees in a finished picture."""
    config = parts.config
    limit = config.templates.rewrite_limit
    room = 2 * config.tokens_per_picture + len(parts.tokenizer.encode(config.templates.describe)) + limit
    wegen = parts.load_language(1, min(room, config.language.context_length))
    shown = References((Reference("picture", features, picture),))
    return ask(wegen, config.templates.describe, shown, limit=limit, on_token=progress.on_token)
