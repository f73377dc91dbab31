"""WeGen without ComfyUI: encode references, rewrite, generate and refine from plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from .checkpoints.wegen import WeGen
from .editing.composite import paste
from .editing.masks import change_mask, latent_mask, pad_to_multiple
from .editing.refinement import Masks, changes, finish, kept_area, plan
from .engine import PictureDraft, Wish, generate_features, think
from .errors import WeGenError
from .media.images import flatten_alpha, from_pil, to_pil
from .painting.diffusers_painter import Decoder
from .painting.loading import load
from .prompting.decoding import OnStep
from .prompting.rewriting import rewrite
from .prompting.text_sampling import TextSampling, seeded
from .values import Answer, Chat, Reference, References, SamplerSettings, Turn

SMALLEST_SIZE, LARGEST_SIZE = 16, 8192


def encode_reference(
    wegen: WeGen, name: str, picture: Tensor, mask: Tensor | None = None, weight: float = 1.0
) -> Reference:
    """Make a named reference of a picture `[H, W, 1, 3 or 4]` in 0..1; with a mask only what is white in it is seen."""
    shown = to_pil(picture)
    kept = None
    if mask is not None:
        height, width = picture.shape[:2]
        kept = change_mask(mask, None, height, width)
        # Grey is what the encoder's normalisation takes for nothing, more or less: all that is left is the object.
        shown = to_pil(paste(torch.full((height, width, 3), 0.5), from_pil(shown), kept))
    return Reference(name, wegen.encode_pictures([shown])[0].cpu(), from_pil(to_pil(picture)), kept, weight)


def begin_with(wegen: WeGen, pictures: Sequence[Tensor]) -> Chat:
    """A chat that begins with the user's own pictures `[H, W, 3]` in 0..1; it goes on with the first of them."""
    features = [wegen.encode_pictures([to_pil(picture)])[0].cpu() for picture in pictures]
    answers = (Answer("", seen, picture, 0) for seen, picture in zip(features, pictures, strict=True))
    return Chat().add(Turn("", tuple(answers)))


def look_at(wegen: WeGen, chat: Chat) -> Chat:
    """The chat as `wegen` can read it: with features for the pictures that other models painted or were given.

    Turns that are too long ago to fit into its context stay as they are.
    """
    config = wegen.config
    fitting = config.language.context_length // config.tokens_per_picture
    in_view = min(fitting, config.turns_in_view or fitting) + 1  # a picture of the user's own comes along with a turn

    def seen(turn: Turn) -> Turn:
        answers = list(turn.answers)
        if turn.is_foreign:
            features = wegen.encode_pictures([to_pil(turn.answer.picture)])[0].cpu()
            answers[turn.picked] = replace(turn.answer, features=features)
        references = [
            encode_reference(wegen, one.name, one.picture, one.mask, one.weight) if one.features is None else one
            for one in turn.references
        ]
        return replace(turn, answers=tuple(answers), references=References(tuple(references)))

    return Chat((*chat.turns[:-in_view], *map(seen, chat.turns[-in_view:])))


def start_noise(config, seed: int, width: int, height: int) -> Tensor:
    """Unit noise `[1, 4, h, w]` of one picture of `width` x `height` pixels, from the seed's own generator."""
    for name, value in (("width", width), ("height", height)):
        if not SMALLEST_SIZE <= value <= LARGEST_SIZE:
            raise WeGenError(f"The {name} is {value} pixels; give {SMALLEST_SIZE} to {LARGEST_SIZE}.")
    cell = config.vae.downscale
    shape = (1, config.vae.latent_channels, math.ceil(height / cell), math.ceil(width / cell))
    return torch.randn(shape, generator=seeded(seed))


class Pipeline:
    """One WeGen and its decoder, headless.

    `on_token` and `on_feature` of the methods are called with steps done and to do, `on_step` also with the current
    guess of the latent; whatever they raise stops the work.
    """

    def __init__(self, wegen: WeGen, decoder: Decoder):
        self.wegen = wegen
        self.decoder = decoder
        self.config = wegen.config

    @classmethod
    def from_folder(
        cls, folder: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> Pipeline:
        """Load a packed or published checkpoint folder."""
        return cls(*load(folder, device, dtype))

    @property
    def default_settings(self) -> SamplerSettings:
        return SamplerSettings(guidance_scale=self.config.guidance_scale)

    def encode_reference(
        self, name: str, picture: Image.Image, mask: Tensor | None = None, weight: float = 1.0
    ) -> Reference:
        """A named reference from a PIL picture; `mask` `[H, W]` is white where the object is."""
        return encode_reference(self.wegen, name, from_pil(flatten_alpha(picture)), mask, weight)

    def rewrite(
        self,
        instruction: str,
        seeds: Sequence[int],
        sampling: TextSampling,
        references: References | None = None,
        chat: Chat | None = None,
        on_token: OnStep | None = None,
    ) -> list[str]:
        """One detailed rewrite of `instruction` for each seed; `rewriting.rewrite` tells more about each."""
        written = rewrite(
            self.wegen,
            instruction,
            seeds,
            sampling,
            references or References(),
            look_at(self.wegen, chat or Chat()),
            on_token=on_token,
        )
        return [one.text for one in written]

    def generate(
        self,
        instruction: str,
        seeds: Sequence[int] = (0,),
        references: References | None = None,
        settings: SamplerSettings | None = None,
        sampling: TextSampling | None = None,
        size: tuple[int, int] | None = None,
        on_token: OnStep | None = None,
        on_feature: OnStep | None = None,
        on_step: Callable[[int, int, Tensor], None] | None = None,
    ) -> Chat:
        """The first turn of a chat.

        Args:
            instruction: what to draw, with `@name` for references.
            seeds: one picture for each.
            references: what can be mentioned.
            settings: steps, guidance and the like; default what the checkpoint is best with.
            sampling: how the instruction is rewritten first; None draws it as it stands.
            size: width and height in pixels; default the checkpoint's own.
            on_token, on_feature, on_step: progress, see the class.
        """
        settings = settings or self.default_settings
        size = size or (self.config.size, self.config.size)
        start_noise(self.config, 0, *size)  # says what is wrong with a size before anything is computed
        wish = Wish(instruction, references, sampling, settings.feature_guidance, settings.collection)
        ideas = think(self.wegen, Chat(), wish, seeds, on_token, on_feature)
        return Chat().add(self._first_turn(wish, ideas, settings, size, on_step))

    def refine(
        self,
        chat: Chat,
        instruction: str,
        seeds: Sequence[int] = (0,),
        edit_mask: Tensor | None = None,
        keep_mask: Tensor | None = None,
        references: References | None = None,
        settings: SamplerSettings | None = None,
        sampling: TextSampling | None = None,
        release: bool = False,
        on_token: OnStep | None = None,
        on_feature: OnStep | None = None,
        on_step: Callable[[int, int, Tensor], None] | None = None,
    ) -> Chat:
        """The next turn: change what the instruction says, and nothing outside the masks.

        Args:
            chat: has at least one turn; the picture that it goes on with is the one refined.
            instruction: what to change.
            seeds: one picture for each.
            edit_mask: `[H, W]`, white may change.
            keep_mask: `[H, W]`, white stays to the bit, in later turns too.
            release: give up what keep masks of earlier turns have kept.
            references, settings, sampling, on_token, on_feature, on_step: as for `generate`. Without an edit mask
                `settings.auto_mask` decides whether the model's own mask is used.
        """
        settings = settings or self.default_settings
        before = chat.last.answer.picture
        height, width = before.shape[:2]
        masks = Masks(edit_mask, keep_mask, release).fitted(height, width)
        kept = kept_area(chat, masks)  # says what is wrong with masks before anything is computed
        wish = Wish(instruction, references, sampling, settings.feature_guidance, settings.collection, kept=kept)
        seen = look_at(self.wegen, chat)
        ideas = think(self.wegen, seen, wish, seeds, on_token, on_feature)
        return chat.add(self._next_turn(seen, wish, ideas, masks, settings, on_step))

    def replay(
        self,
        chat: Chat,
        on_feature: OnStep | None = None,
        on_step: Callable[[int, int, Tensor], None] | None = None,
    ) -> Chat:
        """The same chat made anew, from its instructions, rewrites, references, masks, seeds and settings.

        On the model that made it the pictures are the same. Pictures that the user brought or that other models painted
        are taken as they are.
        """
        again = Chat()
        for turn in chat.turns:
            if turn.is_upload or turn.is_foreign:
                again = again.add(turn)
                continue
            settings = turn.settings
            wish = Wish(turn.instruction, turn.references, None, settings.feature_guidance, settings.collection)
            seen = look_at(self.wegen, again)
            rewrites = [answer.rewrite for answer in turn.answers]
            features = generate_features(self.wegen, seen, wish, rewrites, on_feature)
            ideas = [PictureDraft(answer.rewrite, features[answer.rewrite], answer.seed) for answer in turn.answers]
            if again.turns:
                masks = Masks(turn.edit_mask, turn.keep_mask, turn.released)
                made = self._next_turn(seen, wish, ideas, masks, settings, on_step)
            else:
                height, width = turn.answer.picture.shape[:2]
                made = self._first_turn(wish, ideas, settings, (width, height), on_step)
            again = again.add(made).pick(turn.picked)
        return again

    def _first_turn(
        self, wish: Wish, ideas: Sequence[PictureDraft], settings: SamplerSettings, size: tuple[int, int], on_step
    ) -> Turn:
        width, height = size
        noise = torch.cat([start_noise(self.config, idea.seed, width, height) for idea in ideas])
        pictures = self._paint(ideas, noise, settings, None, on_step)[:, :height, :width]
        answers = tuple(
            Answer(idea.rewrite, idea.features.cpu(), picture, idea.seed)
            for idea, picture in zip(ideas, pictures, strict=True)
        )
        return Turn(wish.instruction, answers, wish.references, settings=settings)

    def _next_turn(
        self, chat: Chat, wish: Wish, ideas: Sequence[PictureDraft], masks: Masks, settings: SamplerSettings, on_step
    ) -> Turn:
        before = chat.last.answer.picture
        height, width = before.shape[:2]
        noise = torch.cat([start_noise(self.config, idea.seed, width, height) for idea in ideas])
        plans = plan(chat, ideas, masks, settings)
        keep = None
        change = changes(plans, height, width)
        if change is not None or settings.strength < 1:
            cell = self.config.vae.downscale
            latent = self.decoder.encode(pad_to_multiple(before, cell)[None])
            keep = (latent, latent_mask(torch.ones(1, height, width) if change is None else change, cell).to(latent))
        pictures = self._paint([one.idea for one in plans], noise, settings, keep, on_step)[:, :height, :width]
        answers = tuple(
            finish(self.wegen, one, before, picture, settings).answer
            for one, picture in zip(plans, pictures, strict=True)
        )
        return Turn(wish.instruction, answers, wish.references, masks.edit, masks.keep, masks.release, settings)

    def _paint(self, ideas: Sequence[PictureDraft], noise: Tensor, settings: SamplerSettings, keep, on_step) -> Tensor:
        if (settings.sampler, settings.scheduler) != ("euler", "published"):
            raise WeGenError(
                f"Sampler {settings.sampler!r} with scheduler {settings.scheduler!r} runs inside ComfyUI only; "
                "headless there is 'euler' with 'published'."
            )
        features = torch.stack([idea.features for idea in ideas])
        latent = self.decoder.paint(
            features, noise, settings.steps, settings.guidance_scale, keep, settings.strength, on_step
        )
        return self.decoder.decode(latent)
