"""How well what the user likes is kept, measured on the storybook and on pictures like photographs.

A group of numbers is a function from a `ConsistencyEvaluator` to names and values; their targets stand in
`cli.eval_consistency`.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import MappingProxyType

import torch
from PIL import Image
from torch import Tensor

from .. import storybook
from ..editing.masks import latent_mask
from ..editing.predicted_mask import grow
from ..editing.registration import Motion, estimate
from ..encoding import begin_with
from ..errors import AnsweredInWords, WeGenError
from ..media.chat_file import load_chat, save_chat
from ..media.images import from_pil
from ..metrics.consistency import compare, drift
from ..painting.painter import start_noise
from ..pipeline import Pipeline
from ..storybook import Scene
from ..values import AutoMask, SamplerSettings
from .batch_evaluator import BatchEvaluator
from .motion import moved_picture, natural_picture, worn
from .own_masks import auto_mask, kept_by_words, selection
from .reference_effects import reference_effects
from .seams import SeamSteps, seam_steps

LARGEST_SHIFT, LARGEST_ZOOM = 12.0, 0.05  # of the motions that must be found
KEPT_TURNS, STOCK_TURNS = 50, 20
STOCK_CHATS = 8
REFERENCE_CASES = 48
SIDES = (90, 150)  # pixels; of pictures that are refined
FEATHERS = (4, 8, 16)
_LOCAL_EDITS = ("move", "grow", "shrink", "turn", "recolour", "appear", "leave")


@dataclass(frozen=True)
class ConsistencyEvaluator:
    """What all groups are measured with.

    Attributes:
        pipeline: whose VAE, decoder and refinements are used.
        count: cases of each group, 1 or more.
        seed: of all cases.
    """

    pipeline: Pipeline
    count: int = 200
    seed: int = 0

    def __post_init__(self):
        if self.count < 1:
            raise WeGenError(f"{self.count} cases were asked for; give 1 or more.")

    def rngs(self, group: str, count: int | None = None) -> list[Random]:
        """A generator for each case; they depend on seed, group and number alone."""
        return [Random(f"evaluation/{group}/{self.seed}/{number}") for number in range(count or self.count)]

    def through_vae(self, picture: Tensor) -> Tensor:
        """A picture `[H, W, 3]` encoded and decoded again; sides must be multiples of the VAE's cell."""
        decoder = self.pipeline.decoder
        return decoder.decode(decoder.encode(picture.float()[None]))[0]


# --- registration -----------------------------------------------------------------------------------------------------


def registration(evaluator: ConsistencyEvaluator) -> dict[str, float]:
    """Known motions in worn pictures, three cases of four; the fourth has not moved, or not but for the VAE.

    `pixels` and `zoom_percent` are the largest errors of the motions that were found, `found` is the share of those,
    and `false_motions` counts unmoved pictures that were said to have moved.
    """
    shifts, zooms, found, false_motions = [], [], [], 0
    for number, rng in enumerate(evaluator.rngs("registration")):
        before, change, changed = _edited(rng, natural=number % 2 == 1)
        if number % 4 >= 2 and number % 8 < 4:
            after = evaluator.through_vae(changed) if number % 2 == 0 else worn(changed, rng)
            false_motions += estimate(before, after, change).moved
            continue
        true = Motion(
            rng.uniform(-LARGEST_SHIFT, LARGEST_SHIFT),
            rng.uniform(-LARGEST_SHIFT, LARGEST_SHIFT),
            rng.uniform(1 - LARGEST_ZOOM, 1 + LARGEST_ZOOM),
        )
        motion = estimate(before, worn(moved_picture(changed, true), rng), change)
        found.append(motion.found)
        if motion.found:
            shifts.append(max(abs(motion.dx - true.dx), abs(motion.dy - true.dy)))
            zooms.append(100 * abs(motion.zoom - true.zoom))
    return {
        "registration/pixels": max(shifts, default=math.nan),
        "registration/zoom_percent": max(zooms, default=math.nan),
        "registration/pixels_mean": statistics.fmean(shifts) if shifts else math.nan,
        "registration/zoom_percent_mean": statistics.fmean(zooms) if zooms else math.nan,
        "registration/found": statistics.fmean(found),
        "registration/false_motions": false_motions,
    }


def _edited(rng: Random, natural: bool) -> tuple[Tensor, Tensor, Tensor]:
    """A picture `[H, W, 3]` float64, a change area in it, and the picture with something else in that."""
    if natural:
        height, width = (rng.randrange(128, 320) for _ in range(2))
        before, other = natural_picture(rng, height, width), natural_picture(rng, height, width)
    else:
        before, other = (_page(storybook.sample_scene(rng)).double() for _ in range(2))
    change = _rectangle(rng, *before.shape[:2], least=0.2, most=0.5)
    return before, change, torch.where(change[..., None] > 0, other, before)


def _page(scene: Scene) -> Tensor:
    return torch.from_numpy(storybook.render(scene)).float() / 255


def _rectangle(rng: Random, height: int, width: int, least: float, most: float) -> Tensor:
    """A mask `[height, width]` with one white rectangle whose sides are shares of the picture's."""
    rows, columns = (max(1, round(side * rng.uniform(least, most))) for side in (height, width))
    top, left = rng.randint(0, height - rows), rng.randint(0, width - columns)
    mask = torch.zeros(height, width)
    mask[top : top + rows, left : left + columns] = 1
    return mask


# --- seams ------------------------------------------------------------------------------------------------------------


def seam(evaluator: ConsistencyEvaluator) -> dict[str, float]:
    """Steps across the mask's edge, in levels of 255, when edits in another tone are pasted.

    In half of the cases a storybook edit came back through the VAE, in the other half a picture like a photograph has
    been worn. `ratio` is ours to the better of the two others, over all cases, `ratio_largest` that of the worst case;
    `added_ratio` and `added_ratio_largest` are the same without the steps that the picture before has there itself.
    """
    steps: list[SeamSteps] = []
    added: list[SeamSteps] = []
    for number, rng in enumerate(evaluator.rngs("seam")):
        if number % 2:
            before, change, after = _edited(rng, natural=True)
            after = worn(after, rng)
        else:
            scene = storybook.sample_scene(rng)
            target = storybook.apply(scene, (storybook.sample_edit(scene, rng, _LOCAL_EDITS),))
            before, after = _page(scene), evaluator.through_vae(_page(target))
            change = grow(torch.from_numpy(storybook.change_mask(scene, target)).float(), rng.randint(2, 8))
        tone = torch.tensor([rng.uniform(-0.06, 0.06) for _ in range(3)])
        after = (after + tone).clamp(0, 1)
        feather = FEATHERS[number % len(FEATHERS)]
        steps.append(seam_steps(before, after, change, feather))
        added.append(seam_steps(before, after, change, feather, added=True))
    names = ("feathered", "hard", "blurred")
    mean, mean_added = (
        SeamSteps(*(statistics.fmean(getattr(one, name) for one in cases) for name in names))
        for cases in (steps, added)
    )
    return {
        **{f"seam/{name}": getattr(mean, name) for name in names},
        "seam/ratio": mean.ratio,
        "seam/ratio_largest": max(one.ratio for one in steps),
        "seam/added_ratio": mean_added.ratio,
        "seam/added_ratio_largest": max(one.ratio for one in added),
    }


# --- the stock way ----------------------------------------------------------------------------------------------------


def stock(evaluator: ConsistencyEvaluator) -> dict[str, float]:
    """The same model and edits the stock way: noise in the masked part of the latent, VAE there and back, no paste.

    PSNR in dB against the first picture, over the pixels that were in no change area, after 1 and after STOCK_TURNS
    turns; the mean over the chats. What is painted are the features of the page that the edit should lead to, so that
    the language model's skill does not count.
    """
    rngs = evaluator.rngs("stock", min(evaluator.count, STOCK_CHATS))
    scenes = [storybook.sample_scene(rng, 2) for rng in rngs]
    first = torch.stack([_page(scene) for scene in scenes])
    pictures, touched = first, torch.zeros(first.shape[:3])
    psnr: list[float] = []
    for turn in range(STOCK_TURNS):
        edits = [(storybook.sample_edit(s, rng, _LOCAL_EDITS),) for s, rng in zip(scenes, rngs, strict=True)]
        targets = [storybook.apply(s, edit) for s, edit in zip(scenes, edits, strict=True)]
        pairs = zip(scenes, targets, strict=True)
        change = torch.stack([torch.from_numpy(storybook.change_mask(*pair)).float() for pair in pairs])
        pictures = _stock_turn(evaluator.pipeline, pictures, change, targets, turn)
        scenes, touched = targets, torch.maximum(touched, change)
        outside = [compare(*each).outside for each in zip(first, pictures, touched, strict=True)]
        psnr.append(statistics.fmean(area.psnr for area in outside if area is not None))
    return {"stock/psnr_turn_1": psnr[0], f"stock/psnr_turn_{STOCK_TURNS}": psnr[-1]}


def _stock_turn(pipeline: Pipeline, pictures: Tensor, change: Tensor, targets: Sequence[Scene], turn: int) -> Tensor:
    decoder, settings = pipeline.decoder, SamplerSettings().for_checkpoint(pipeline.config)
    features = pipeline.wegen.encode_pictures([Image.fromarray(storybook.render(scene)) for scene in targets])
    height, width = change.shape[1:]
    noise = torch.cat([start_noise(pipeline.config, 1000 * turn + n, width, height) for n in range(len(targets))])
    keep = (decoder.encode(pictures), latent_mask(change, pipeline.config.vae.downscale))
    latent = decoder.paint(features, noise, settings.steps, settings.guidance_scale, keep)
    return decoder.decode(latent)


# --- kept pixels ------------------------------------------------------------------------------------------------------


GLOBAL_ORDERS = ("make it night", "make it day", "make it foggy", "now it is dusk")
"""They change all of a page, so that any mask has something to keep back."""


def kept(evaluator: ConsistencyEvaluator) -> dict[str, float]:
    """KEPT_TURNS refinements in one chat, saved and loaded in the middle, with random masks and an odd size.

    `max_difference` is the largest, in levels of 255, of any turn against the first picture in any pixel that was never
    inside a change area; `untouched` the share of such pixels; `turns` counts the turns that were drawn, and
    `changed_turns` those of them that masks did not overrule: where it is 0 nothing was tested. With fewer cases than
    turns the chat is shorter.
    """
    [rng] = evaluator.rngs("kept", 1)
    pipeline, cell = evaluator.pipeline, evaluator.pipeline.config.vae.downscale
    height, width = (rng.choice([side for side in range(*SIDES) if side % cell]) for _ in range(2))
    # A page, so that orders are understood, at a size that fits neither cells nor proportions of the checkpoint.
    page = Image.fromarray(storybook.render(storybook.sample_scene(rng))).resize((width, height))
    picture = from_pil(page)
    chat = begin_with(pipeline.wegen, [picture])
    settings = SamplerSettings(steps=8)
    turns = min(KEPT_TURNS, evaluator.count)
    for turn in range(turns):
        mask = _rectangle(rng, rng.randrange(20, 200), rng.randrange(20, 200), least=0.3, most=0.6)
        order = GLOBAL_ORDERS[turn % len(GLOBAL_ORDERS)]
        with suppress(AnsweredInWords):  # such a turn changes nothing, and is not counted
            chat = pipeline.refine(chat, order, [turn], edit_mask=mask, settings=settings)
        if turn == turns // 2:
            with tempfile.TemporaryDirectory() as folder:
                chat = load_chat(save_chat(chat, Path(folder) / "chat"))
    drawn = len(chat.turns) - 1
    if not drawn:
        return {"kept/max_difference": math.nan, "kept/turns": 0}
    found = drift(chat)
    return {
        "kept/max_difference": max((area.largest for area in found.turns if area is not None), default=math.nan),
        "kept/turns": drawn,
        "kept/untouched": found.untouched,
        "kept/changed_turns": sum(bool(turn.answer.change.any()) for turn in chat.turns[1:]),
    }


# --- the model's own masks --------------------------------------------------------------------------------------------


def own_mask(evaluator: ConsistencyEvaluator) -> dict[str, float]:
    """The predicted edit mask on storybook edits; see `own_masks.auto_mask`."""
    return auto_mask(BatchEvaluator(evaluator.pipeline, evaluator.count, evaluator.seed), AutoMask())


def select(evaluator: ConsistencyEvaluator) -> dict[str, float]:
    """Masks of what is named; see `own_masks.selection`."""
    return selection(BatchEvaluator(evaluator.pipeline, evaluator.count, evaluator.seed))


def by_words(evaluator: ConsistencyEvaluator) -> dict[str, float]:
    """What stays because an order names it; see `own_masks.kept_by_words`."""
    return kept_by_words(BatchEvaluator(evaluator.pipeline, evaluator.count, evaluator.seed))


# --- references -------------------------------------------------------------------------------------------------------


def references(evaluator: ConsistencyEvaluator) -> dict[str, float]:
    """What weight and mask of a reference do, over REFERENCE_CASES at most; see `reference_effects`."""
    return reference_effects(BatchEvaluator(evaluator.pipeline, min(evaluator.count, REFERENCE_CASES), evaluator.seed))


GROUPS: Mapping[str, Callable[[ConsistencyEvaluator], dict[str, float]]] = MappingProxyType(
    {
        "kept": kept,
        "auto_mask": own_mask,
        "select": select,
        "kept_by_words": by_words,
        "registration": registration,
        "seam": seam,
        "stock": stock,
        "references": references,
    }
)
