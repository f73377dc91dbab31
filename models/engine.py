"""One turn of the language side: words and pictures in, the features of new pictures out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from .checkpoints.tokenizer import Tokenizer
from .checkpoints.wegen import WeGen
from .errors import AnsweredInWords, WeGenError
from .network.configuration import WeGenConfig
from .prompting.conversation import memory_note, picture_prompt
from .prompting.decoding import Collection, Decoding, OnStep
from .prompting.domain import understand
from .prompting.rewriting import report, rewrite
from .prompting.text_sampling import TextSampling
from .values import Chat, References, Value


@dataclass(frozen=True)
class PictureDraft:
    """A picture that is thought out but not painted yet."""

    rewrite: str
    """The words that it was drawn from."""
    features: Tensor
    """`[tokens_per_picture, D]` float32."""
    seed: int
    notes: tuple[str, ...] = ()
    """Plain sentences for the user: words that the model did not know, and what could not be had."""


@dataclass(frozen=True, eq=False)
class Wish(Value):
    """What is asked of the language side in one turn.

    Attributes:
        instruction: what to draw or to change, with `@name` mentions.
        references: the pictures that can be mentioned; None is none.
        sampling: how rewrites are drawn; None draws the instruction as it stands.
        feature_guidance: 1 is off; above, features move away from those of no prompt at all.
        collection: "aligned", or "released" for the published inference's own off-by-one.
        given: words of the user's own that are drawn in place of a rewrite; empty for none.
        kept: `[H, W]` in 0..1, 1 where the picture before stays as it is; rewrites go on naming what is there.
    """

    instruction: str
    references: References | None = None
    sampling: TextSampling | None = None
    feature_guidance: float = 1.0
    collection: Collection = "aligned"
    given: str = ""
    kept: Tensor | None = None

    def __post_init__(self):
        object.__setattr__(self, "given", self.given.strip())
        object.__setattr__(self, "instruction", self.instruction.strip())
        object.__setattr__(self, "references", self.references or References())
        if not self.instruction:
            raise WeGenError("The instruction is empty. Say what to draw, or what to change.")
        if self.collection not in ("aligned", "released"):
            raise WeGenError(f"Features are collected 'aligned' or 'released', not {self.collection!r}.")


def positions_needed(config: WeGenConfig, tokenizer: Tokenizer, chat: Chat, wish: Wish) -> int:
    """Positions that the longest sequence of a turn takes; what a cache must have room for."""
    given = understand(config, wish.given).text or None
    prompt = picture_prompt(config, tokenizer, chat, wish.instruction, wish.references, given)
    written = 0 if wish.sampling is None or given else config.templates.rewrite_limit
    return prompt.tokens(tokenizer) + written + config.tokens_per_picture + 1


def think(
    wegen: WeGen,
    chat: Chat,
    wish: Wish,
    seeds: Sequence[int],
    on_token: OnStep | None = None,
    on_feature: OnStep | None = None,
) -> list[PictureDraft]:
    """The ideas for one turn, one for each seed, all in one batch.

    Without rewriting the language model does nothing at random, so all seeds share one idea's features.

    Raises:
        WeGenError: an empty instruction, an unknown `@name`, or more tokens than the context holds.
        AnsweredInWords: most of the rewrites are answers of another kind, such as that it cannot draw what is wished.
    """
    instruction, given = wish.instruction, understand(wegen.config, wish.given)
    notes = understand(wegen.config, instruction).notes + given.notes
    notes += (memory_note(wegen.config, wegen.tokenizer, chat, instruction, wish.references),)
    if given.text:
        rewrites = [given.text] * len(seeds)
    elif wish.sampling is None:
        rewrites = [instruction] * len(seeds)
    else:
        written = rewrite(
            wegen, instruction, seeds, wish.sampling, wish.references, chat, on_token=on_token, kept=wish.kept
        )
        drawn = [one.text for one in written if not one.spoken]
        if 2 * len(drawn) <= len(written):
            raise AnsweredInWords(next(one.text for one in written if one.spoken))
        rewrites = [drawn[0] if one.spoken else one.text for one in written]
        notes += (report(written),)
    notes = tuple(dict.fromkeys(filter(None, notes)))
    features = generate_features(wegen, chat, wish, rewrites, on_feature)
    return [PictureDraft(text, features[text], seed, notes) for text, seed in zip(rewrites, seeds, strict=True)]


def generate_features(
    wegen: WeGen, chat: Chat, wish: Wish, texts: Sequence[str], on_feature: OnStep | None = None
) -> dict[str, Tensor]:
    """The features `[tokens_per_picture, D]` of the next turn's picture for each of its descriptions, in one batch."""
    config, tokenizer = wegen.config, wegen.tokenizer
    distinct = list(dict.fromkeys(texts))
    prompts = [picture_prompt(config, tokenizer, chat, wish.instruction, wish.references, text) for text in distinct]
    # The picture's features and its end follow the prompt.
    decoding = Decoding(
        wegen,
        [prompt.embeddings(wegen) for prompt in prompts],
        room=config.tokens_per_picture + 1,
        guided=wish.feature_guidance != 1.0,
    )
    features = decoding.write_picture(wish.feature_guidance, wish.collection, on_feature).features
    return dict(zip(distinct, features, strict=True))
