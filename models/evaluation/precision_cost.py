"""What a precision costs: two folders of the same model side by side, part by part."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..checkpoints.loading import load_wegen
from ..checkpoints.reader import Checkpoint, open_checkpoint
from ..checkpoints.wegen import WeGen
from ..errors import WeGenError
from ..painting.loading import load_decoder
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

    One part of one of them is in memory at a time. The VAE, which no conversion rounds, has no line of its own; each
    folder's decodes its own pictures.

    Args:
        folder: the checkpoint to be judged.
        exact: what it was made from, or any other precision of the same model.

    Raises:
        WeGenError: the two are models of different sizes.
    """
    checked, true = open_checkpoint(folder), open_checkpoint(exact)
    sizes = [(one.config.vision, one.config.language, one.config.unet, one.config.vae) for one in (checked, true)]
    if sizes[0] != sizes[1]:
        raise WeGenError(f"{folder} and {exact} are models of different sizes; give two of the same one.")
    yield _cost("vision_encoder/features", _seen(checked), _seen(true))
    exactly = _written(true)
    written = _written(checked, exactly.texts)
    same = written.likeliest == exactly.likeliest
    extra = f"{int(same.sum())} of {len(same)} next tokens the same"
    yield _cost("language_model/features", written.features, exactly.features, extra)
    found, wanted = (_pictures(one, exactly.features) for one in (checked, true))
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


class _Written(NamedTuple):
    """What a language model gives.

    Attributes:
        features: of pictures of the descriptions.
        texts: token ids that a wish is answered with.
        likeliest: the likeliest next token everywhere in these.
    """

    features: Tensor
    texts: list[list[int]]
    likeliest: Tensor


@torch.no_grad()
def _seen(checkpoint: Checkpoint) -> Tensor:
    size = checkpoint.config.vision.image_size
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    return load_wegen(checkpoint, "cpu", torch.float32, ["vision_encoder"]).encode_pixels(pixels)


@torch.no_grad()
def _written(checkpoint: Checkpoint, texts: list[list[int]] | None = None) -> _Written:
    """With `texts` that another model wrote, or its own."""
    wegen = load_wegen(checkpoint, "cpu", torch.float32, ["language_model"])
    prompts = [_prompt(wegen, text, True) for text in DESCRIPTIONS]
    features = Decoding(wegen, prompts, wegen.config.tokens_per_picture + 1).write_picture(final=True).features
    wishes = [_prompt(wegen, text, False) for text in WISHES]
    if texts is None:
        texts = [Decoding(wegen, [wish], 32).write_text(32)[0] for wish in wishes]
    llm = wegen.agent.llm
    rows = [(torch.cat([wish, wegen.embed(text)])[None], text) for wish, text in zip(wishes, texts, strict=True)]
    likeliest = [llm.logits(llm(row)[0, -len(text) - 1 :]).argmax(-1) for row, text in rows]
    return _Written(features, texts, torch.cat(likeliest))


def _pictures(checkpoint: Checkpoint, features: Tensor) -> Tensor:
    config, side = checkpoint.config, checkpoint.config.unet.sample_size
    shape = len(features), config.vae.latent_channels, side, side
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    unet = load_decoder(checkpoint, "cpu", torch.float32, ["unet"])
    latent = unet.paint(features, noise, STEPS, config.guidance_scale)
    del unet
    return load_decoder(checkpoint, "cpu", torch.float32, ["vae"]).decode(latent)
