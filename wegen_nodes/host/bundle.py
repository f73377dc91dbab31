"""The value on a WEGEN wire: vision encoder and language model in the host's patchers, loaded when they are used."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from copy import copy
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import torch
from comfy.patcher_extension import CallbacksMP
from comfy_execution.utils import get_executing_context
from server import PromptServer
from torch import Tensor

from ...models.checkpoints.lora import Lora
from ...models.checkpoints.reader import open_checkpoint
from ...models.checkpoints.tokenizer import Tokenizer
from ...models.checkpoints.wegen import LOOKED_AT_ONCE, WeGen
from ...models.encoding import lack_features, look_at, unseen, with_features
from ...models.engine import Progress, TurnRequest, TurnResult
from ...models.network.configuration import WeGenConfig
from ...models.network.prefix_cache import PrefixCache
from ...models.prompting.decoding import OnStep
from ...models.prompting.rewriting import TEXT_INTERVAL
from ...models.values import Chat, Reference, References
from .loading import compute_dtype, load_part
from .lora import add_lora
from .parts import LOOKING, PREFIXES, memory_errors

REMEMBERED = 8
"""Turns whose words and features are kept at most; each holds on to its chat's pictures."""
MOST_PAINTED = 64
"""Turns painted before that are kept at most; each holds on to its chat too, and to the models that painted it."""
MOST_PAINTERS = 2
"""Of how many models that is at most: each holds on to its LoRAs, which nothing else may need any more."""
LARGEST = 2**29
"""Bytes of pictures and masks that either are kept with; the last turn is kept whatever its size."""

Question = tuple[TurnRequest, Chat]
"""What is asked, and of which chat."""


class WeGenBundle:
    """What WeGen Load Model gives for WEGEN; the decoder beside it is a MODEL and a VAE of the host's own.

    `patcher`, `get_models` and `is_dynamic` are what the host's caches and memory management ask for.
    """

    def __init__(self, folder: str | Path, precision: str = "default"):
        checkpoint = open_checkpoint(folder)
        self.folder = folder
        self.config: WeGenConfig = checkpoint.config
        self.tokenizer: Tokenizer = checkpoint.tokenizer
        self.vision_id = checkpoint.vision_id
        self.formats = frozenset[str]().union(*(part.formats for part in checkpoint.parts.values()))
        self.vision_patcher = load_part(str(folder), "vision_encoder", precision)
        self.patcher = load_part(str(folder), "language_model", precision)
        self.patcher.set_attachments(PREFIXES, prefixes := _prefix_cache(self.patcher))
        # The host also detaches what it loads again, and then leaves it where it is.
        self.patcher.add_callback(CallbacksMP.ON_DETACH, lambda _, unpatch_all: unpatch_all and prefixes.clear())
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()
        self._painted: list[tuple[Question, object, TurnResult]] = []  # question, painters, what was answered
        self._read: tuple[Chat, Chat] | None = None  # the last chat with pictures of other models, and as it was read

    def with_lora(self, lora: Lora, strength: float) -> WeGenBundle:
        """The same bundle with a LoRA on its language model; the weights are shared, the host adds it where they load.

        Raises:
            WeGenError: the LoRA is of another part or model, or the strength out of range.
        """
        other = copy(self)
        other.patcher = add_lora(self.patcher, lora, strength)
        # What was learned since is not of the closed world any more.
        other.config = self.config.with_open_language()
        other._answers, other._painted, other._read = OrderedDict(), [], None
        return other

    def doubt(self, lora: Lora) -> str:
        """What to say where a LoRA of the language model was trained beside other weights; else empty.

        Raises:
            WeGenError: the weights cannot be read any more, or what the LoRA says of its own is damaged.
        """
        # The patcher's weights may not be in memory, and may have other LoRAs in them.
        return lora.doubt(open_checkpoint(self.folder).language_model)

    def __repr__(self) -> str:
        return f"WeGenBundle({self.config.name})"

    def get_models(self) -> list:
        return [self.vision_patcher, self.patcher]

    def is_dynamic(self) -> bool:
        return all(patcher.is_dynamic() for patcher in self.get_models())

    def recall(self, question: Hashable, answer: Callable[[], Any]) -> Any:
        """What `answer` gives, or gave when the same was asked a few turns ago: a change of the sampler's settings does
        not make the language model write again."""
        if question not in self._answers:
            self._answers[question] = answer()
        self._answers.move_to_end(question)
        held = dict[int, int]()
        for count, other in enumerate(reversed(list(self._answers))):
            held.update(_held_by(getattr(other, "chat", Chat()), getattr(other, "references", ())))
            if count and (sum(held.values()) > LARGEST or count >= REMEMBERED):
                del self._answers[other]
        return self._answers[question]

    def recall_painted(self, question: Question, painters: object, answer: Callable[[], TurnResult]) -> TurnResult:
        """The turn that `answer` takes, or took when the same was asked of the same models: picking another of its
        pictures paints nothing anew."""
        found = next((entry for entry in self._painted if entry[:2] == (question, painters)), None)
        if found is None:
            found = question, painters, answer()
        self._painted = [found, *(entry for entry in self._painted if entry is not found)]
        newest: list[object] = []
        for _, other, _ in self._painted:
            newest += [other] if other not in newest else []
        self._painted = [entry for entry in self._painted if entry[1] in newest[:MOST_PAINTERS]]
        held: dict[int, int] = {}  # turns of one chat share the pictures before them
        for count, ((request, _), _, result) in enumerate(self._painted):
            held.update(_held_by(result.chat, request.references, (request.masks.edit, request.masks.keep)))
            if count and (sum(held.values()) > LARGEST or count == MOST_PAINTED):
                self._painted = self._painted[:count]
                break
        return found[2]

    def load_vision(self, pictures: int) -> WeGen:
        """The model with its vision encoder on the device, with room for so many `pictures`."""
        vision, dtype = self.config.vision, compute_dtype(self.vision_patcher)
        # The widest tensors of a block: the MLP's inside, and queries, keys and values; a few of each at a time.
        values = (vision.grid**2 + 1) * (2 * vision.mlp_width + 6 * vision.width)
        return self._ready(self.vision_patcher, min(pictures, LOOKED_AT_ONCE) * values * dtype.itemsize)

    def read(self, chat: Chat | None) -> Chat:
        """A chat as the model can read it: it looks at the pictures that other models painted."""
        chat = chat or Chat()
        if not unseen(chat, self.vision_id):
            return chat
        if self._read is None or self._read[0] is not chat:
            with memory_errors(LOOKING, self.formats):
                self._read = chat, look_at(self.load_vision(1), chat)
        return self._read[1]

    def read_references(self, references: References | None) -> References:
        """References as the model can read them: it looks at those that it has no features of."""
        references = references or References()
        if not lack_features(references, self.vision_id):
            return references
        with memory_errors(LOOKING, self.formats):
            return with_features(self.load_vision(1), references)

    def load_language(self, rows: int, positions: int) -> WeGen:
        """The model with its language model on the device, with room for `rows` sequences of `positions` tokens.

        Raises:
            WeGenError: more positions than the model's context holds; said before anything is moved for them.
        """
        self.config.language.require_room(positions)
        language, dtype = self.config.language, compute_dtype(self.patcher)
        cache = language.kv_cache_bytes(positions, dtype.itemsize)
        values = positions * (3 * language.mlp_width + 6 * language.width)
        prefixes: PrefixCache = self.patcher.get_attachment(PREFIXES)
        # What is remembered already has its memory.
        there = prefixes.device == self.patcher.load_device
        remembered = min(prefixes.most_bytes - prefixes.bytes, cache) if there else 0
        return self._ready(self.patcher, rows * (cache + values * dtype.itemsize) + remembered)

    def _ready(self, patcher, memory: int) -> WeGen:
        comfy.model_management.load_models_gpu([patcher], memory_required=memory)
        return WeGen(
            config=self.config,
            tokenizer=self.tokenizer,
            vision_encoder=self.vision_patcher.model,
            agent=self.patcher.model,
            device=patcher.load_device,
            dtype=compute_dtype(patcher),
            prefixes=self._prefixes(),
            vision_id=self.vision_id,
        )

    def _prefixes(self) -> PrefixCache:
        """What the language model has read before. Its patcher owns it, and forgets it when the host wants memory."""
        prefixes: PrefixCache = self.patcher.get_attachment(PREFIXES)
        # How patches are rounded depends on which layers are loaded. Weights that come as they are needed, without
        # patches, are the same at any time.
        loads_on_demand = self.patcher.is_dynamic() and not self.patcher.patches
        prefixes.belongs_to((self.patcher.patches_uuid, None if loads_on_demand else self.patcher.loaded_size()))
        return prefixes


def _prefix_cache(patcher) -> PrefixCache:
    """A sixteenth of a device's memory for what was read before, and at most a GiB.

    The host takes weights that it loads on demand off a card piece by piece and asks for nothing else there, so beside
    them this is kept in the machine's memory.
    """
    device = torch.device("cpu") if patcher.is_dynamic() else patcher.load_device
    return PrefixCache(min(2**30, comfy.model_management.get_total_memory(device) // 16), device)


def progress() -> OnStep:
    """A callback that shows steps at the node that runs, and stops with the host's interrupt when it is cancelled."""
    bar: comfy.utils.ProgressBar | None = None

    def on_step(done: int, total: int) -> None:
        nonlocal bar
        bar = bar or comfy.utils.ProgressBar(total)
        # The bar asks too, but only when it really sends something.
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return on_step


def language_progress(node: str | None) -> Progress:
    """The language model's progress at a node, in words too, with its first rewrite as it comes.

    Front ends get the rewrite as events `wegen.text`: `{"prompt_id", "node", "text": words so far, "index": 0}`.
    """
    drafting = _begun(progress(), node, "drafting", counted(node, "drafting"))
    return Progress(
        _begun(progress(), node, "thinking"), drafting, lambda text: _send("wegen.text", node, text=text, index=0)
    )


def tell_phase(node: str | None, phase: str) -> None:
    """Say at a node, and to front ends as an event `wegen.phase`, what begins now."""
    _tell(node, phase)
    _send("wegen.phase", node, phase=phase)


def counted(node: str | None, phase: str) -> OnStep:
    """A callback that says at a node how far a phase is, as in "painting 7 of 20"."""
    told = 0.0

    def on_step(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if done == total or now - told >= TEXT_INTERVAL:
            told = now
            _tell(node, f"{phase} {done} of {total}")

    return on_step


def _tell(node: str | None, text: str) -> None:
    server = getattr(PromptServer, "instance", None)
    # Sent to nobody in particular it would reach every open tab.
    if server is not None and node is not None and server.client_id is not None:
        server.send_progress_text(text, node, server.client_id)


def _begun(on_step: OnStep, node: str | None, phase: str, count: OnStep | None = None) -> OnStep:
    """The callback, with the phase told at its first step, and then how far it is."""

    def step(done: int, total: int) -> None:
        if done == 1:
            tell_phase(node, phase)
        if count is not None:
            count(done, total)
        on_step(done, total)

    return step


def _send(event: str, node: str | None, **values: Any) -> None:
    """Send an event of the prompt that runs to the front end that queued it."""
    server, context = getattr(PromptServer, "instance", None), get_executing_context()
    if server is not None and server.client_id is not None and context is not None:
        server.send_sync(event, {"prompt_id": context.prompt_id, "node": node, **values}, server.client_id)


def _held_by(chat: Chat, references: Iterable[Reference] = (), masks: Iterable[Tensor | None] = ()) -> dict[int, int]:
    """Bytes of the pictures and masks of a chat, and of what else was asked with, by where they are: chats share the
    turns that they have in common."""
    answers = [answer for turn in chat.turns for answer in turn.answers]
    held = [*masks, *(one.picture for one in answers), *(one.change for one in answers)]
    held += [mask for turn in chat.turns for mask in (turn.edit_mask, turn.keep_mask)]
    for one in (*references, *(one for turn in chat.turns for one in turn.references)):
        held += [one.picture, one.mask]
    return {tensor.data_ptr(): tensor.nbytes for tensor in held if tensor is not None}
