"""What a precision costs: two folders of the same model side by side, part by part."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..checkpoints.wegen import WeGen
from ..errors import WeGenError
from ..painting.diffusers_painter import Decoder
from ..painting.loading import load
from ..prompting.decoding import Decoding

WISHES = ("a red cat on the left", "two small boats at sea, the moon above", "a yellow house in the snow")
# Drawn from a wish, a rounded weight may decide what the wish leaves open, and both pictures are right.
DESCRIPTIONS = (
    "on a meadow by day, a big red cat facing left at the bottom left.",
    "on the sea at night, a small blue boat facing left at the lower left, a small white boat facing right at the "
    "lower right, a big yellow crescent moon at the top middle.",
    "in the snow by day, a big yellow house with the lights on at the lower middle.",
)
STEPS = 4


class Cost(NamedTuple):
    """One line of the table.

    Attributes:
        cosine: between the numbers of both, 1 is the same.
        error: length of the difference over the length of the exact numbers.
        extra: what else there is to say.
    """

    name: str
    cosine: float
    error: float
    extra: str = ""

    def __str__(self) -> str:
        return f"{self.name:34} {self.cosine:9.5f} {self.error:9.5f}   {self.extra}".rstrip()


HEADER = f"{'':34} {'cosine':>9} {'error':>9}"


def precision_cost(folder: str | Path, exact: str | Path) -> Iterator[Cost]:
    """Run both in float32 on the CPU on the same inputs, each part on what the exact ones before it give.

    Args:
        folder: the checkpoint to be judged.
        exact: what it was made from, or any other precision of the same model.

    Raises:
        WeGenError: the two are models of different sizes.
    """
    (wegen, decoder), (true_wegen, true_decoder) = load(folder), load(exact)
    config, true = wegen.config, true_wegen.config
    if (config.vision, config.language, config.unet, config.vae) != (true.vision, true.language, true.unet, true.vae):
        raise WeGenError(f"{folder} and {exact} are models of different sizes; give two of the same one.")
    generator = torch.Generator().manual_seed(0)
    size = config.vision.image_size
    with torch.no_grad():
        pixels = torch.randn(2, 3, size, size, generator=generator)
        yield _cost("vision_encoder/features", wegen.encode_pixels(pixels), true_wegen.encode_pixels(pixels))
        features, true_features = _features(wegen), _features(true_wegen)
        agreed, asked = _agreement(wegen, true_wegen)
        extra = f"{agreed} of {asked} next tokens the same"
        yield _cost("language_model/features", features, true_features, extra)
        found, wanted = (_pictures(one, true_features, generator) for one in (decoder, true_decoder))
        yield _cost("unet/pictures", found, wanted, f"PSNR {psnr(found, wanted):.1f} dB")


def psnr(found: Tensor, wanted: Tensor) -> float:
    """Of pictures in 0..1, in decibels."""
    error = float((found - wanted).square().mean())
    return math.inf if error == 0 else -10 * math.log10(error)


def _cost(name: str, found: Tensor, wanted: Tensor, extra: str = "") -> Cost:
    found, wanted = found.float().flatten(), wanted.float().flatten()
    cosine = torch.nn.functional.cosine_similarity(found, wanted, dim=0)
    return Cost(name, float(cosine), float((found - wanted).norm() / wanted.norm()), extra)


def _prompt(wegen: WeGen, text: str, picture: bool) -> Tensor:
    templates = wegen.config.templates
    words = (templates.text_to_picture if picture else templates.rewrite).format(text=text, pictures="")
    begin = [wegen.tokenizer.picture_begin_id] if picture else []
    return wegen.embed([*wegen.tokenizer.encode(words), *begin])


def _features(wegen: WeGen) -> Tensor:
    prompts = [_prompt(wegen, text, True) for text in DESCRIPTIONS]
    return Decoding(wegen, prompts, wegen.config.tokens_per_picture + 1).write_picture(final=True).features


def _agreement(wegen: WeGen, exact: WeGen) -> tuple[int, int]:
    """How often the likeliest next token is the same, all along what the exact model writes; and how often asked."""
    agreed = asked = 0
    for text in WISHES:
        [written] = Decoding(exact, [_prompt(exact, text, False)], 32).write_text(32)
        rows = [torch.cat([_prompt(one, text, False), one.embed(written)])[None] for one in (wegen, exact)]
        likeliest = [
            one.agent.llm.logits(one.agent.llm(row)[0, -len(written) - 1 :]).argmax(-1)
            for one, row in zip((wegen, exact), rows, strict=True)
        ]
        agreed += int((likeliest[0] == likeliest[1]).sum())
        asked += len(likeliest[0])
    return agreed, asked


def _pictures(decoder: Decoder, features: Tensor, generator: torch.Generator) -> Tensor:
    side = decoder.config.unet.sample_size
    noise = torch.randn(
        len(features), decoder.config.vae.latent_channels, side, side, generator=generator.manual_seed(1)
    )
    latent = decoder.paint(features, noise, STEPS, decoder.config.guidance_scale)
    return decoder.decode(latent)
