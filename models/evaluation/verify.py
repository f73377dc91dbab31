"""Recomputing reference values: does this implementation, on this machine, agree with the published code?"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..checkpoints.reader import checkpoint_kind, open_checkpoint, read_safetensors
from ..checkpoints.tokenizer import PICTURE_BEGIN
from ..checkpoints.wegen import WeGen
from ..errors import WeGenError
from ..media.images import clip_pixels
from ..network.vision_encoder import pool_features
from ..painting.diffusers_painter import Decoder
from ..painting.loading import load
from ..painting.schedule import published_sigmas, published_timesteps
from ..paths import expanded
from ..prompting.conversation import picture_text
from ..prompting.decoding import Decoding
from ..training.losses import agent_losses, agent_outputs

TENSORS_FILE, VALUES_FILE = "expected.safetensors", "expected.json"
PICTURE_FILE = re.compile(r"reference_(\d+)\.png")
DECODE = re.compile(r"decode\.(cfg([0-9.]+)_steps(\d+))\.\w+")

#: entries of expected.json that say where the values come from; there is nothing in them to compute
PROVENANCE = ("seed", "preset", "torch")
#: settings of the published vision encoder that change nothing at inference, or can have one value only
VISION_FIXED = {"drop_path_rate": None, "xattn": None, "postnorm": True}
RUN_KEYS = (
    "text_in", "images", "cfg", "input_ids", "generated_ids", "full_text", "out_text", "has_image", "num_images",
)  # fmt: skip
#: the reference runs write at most so many tokens
TOKEN_LIMIT = 80

FEATURES, UNET, VAE, LATENT, LOSS = 1e-5, 1e-5, 1e-4, 1e-3, 1e-4
ROUNDING = 3.0
"""How many times further than float64 values of a stage that fed its own output back may be from the expected ones."""
#: what such stages give, and where it stands in what `_generate` returns
FED_BACK = {"released_features": 1, "aligned_features": 1, "fed_back_embeddings": 2}


@dataclass(frozen=True)
class Stage:
    """One comparison: the largest errors, and whether they are small enough."""

    name: str
    absolute: float
    relative: float
    tolerance: float
    passed: bool
    note: str = ""

    def __str__(self) -> str:
        numbers = f"{self.absolute:10.2e} {self.relative:10.2e} {self.tolerance:10.0e}"
        return f"{self.name:<44}{numbers}  {'ok' if self.passed else 'FAIL'}{self.note and f'  ({self.note})'}"


HEADER = f"{'stage':<44}{'absolute':>10} {'relative':>10} {'tolerance':>10}"


def compare(name: str, found: Tensor, expected: Tensor, tolerance: float) -> Stage:
    """Compare two tensors.

    `absolute` is the largest difference, `relative` is that by the largest expected magnitude. The stage passes when
    `absolute <= tolerance * max(1, largest expected magnitude)`: the tolerance is absolute for values up to 1 and
    relative to the tensor's scale above, as rounding errors of float32 are. Values that are not finite never pass.
    """
    if found.shape != expected.shape:
        note = f"computed {list(found.shape)}, expected {list(expected.shape)}"
        return Stage(name, float("inf"), float("inf"), tolerance, False, note)
    if not expected.numel():
        return Stage(name, 0.0, 0.0, tolerance, True, "empty")
    found, expected = found.detach().double().cpu(), expected.double()
    absolute, scale = float((found - expected).abs().max()), float(expected.abs().max())
    passed = absolute <= tolerance * max(1.0, scale)
    return Stage(name, absolute, absolute / scale if scale else absolute, tolerance, passed)


def compare_loss(name: str, found: float, expected: float) -> Stage:
    """Compare two losses; here the tolerance is relative whatever the size."""
    absolute = abs(found - expected)
    passed = absolute <= LOSS * abs(expected)
    return Stage(name, absolute, absolute / abs(expected) if expected else absolute, LOSS, passed)


def compare_exactly(name: str, found: Any, expected: Any) -> Stage:
    """Compare ids, texts or numbers that must be equal; `absolute` counts the differing ones."""
    if found == expected:
        return Stage(name, 0.0, 0.0, 0.0, True)
    note = f"computed {_short(found)}, expected {_short(expected)}"
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        different = [i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b]
        i = different[0]
        note = f"at {i} computed {_short(found[i])}, expected {_short(expected[i])}"
        return Stage(name, float(len(different)), len(different) / len(found), 0.0, False, note)
    return Stage(name, float("inf"), float("inf"), 0.0, False, note)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass
class _Expected:
    """The expected values, and which of them were looked at."""

    folder: Path
    tensors: dict[str, Tensor]
    values: dict[str, Any]
    pictures: list[Image.Image]
    used: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> _Expected:
        for name in (TENSORS_FILE, VALUES_FILE):
            if not (folder / name).is_file():
                raise WeGenError(f"{folder} has no {name}; give a folder with reference data.")
        try:
            values = json.loads((folder / VALUES_FILE).read_text(encoding="utf-8"))
        except ValueError as error:
            raise WeGenError(f"{folder / VALUES_FILE} is not valid JSON: {error}") from error
        if not isinstance(values, dict):
            raise WeGenError(f"{folder / VALUES_FILE} must hold a JSON object.")
        tensors = {key: entry.read() for key, entry in read_safetensors(folder / TENSORS_FILE).items()}
        numbered = {int(m.group(1)): path for path in folder.iterdir() if (m := PICTURE_FILE.fullmatch(path.name))}
        return cls(folder, tensors, values, [Image.open(numbered[number]) for number in sorted(numbered)])

    def tensor(self, key: str) -> Tensor | None:
        """The tensor `key`; a missing one is noted, for whoever asks needs it."""
        if key in self.tensors:
            self.used.add(key)
            return self.tensors[key]
        self.missing.append(key)
        return None

    def value(self, *path: str) -> Any:
        """The entry of expected.json at `path`, or None, noted as missing."""
        here: Any = self.values
        for step in path:
            if not isinstance(here, Mapping) or step not in here:
                self.missing.append(_name(*path))
                return None
            here = here[step]
        self.used.add(_name(*path))
        return here

    def not_verified(self) -> list[str]:
        """Entries that nothing looked at."""
        entries = [*self.tensors, *_leaves(self.values)]
        return [entry for entry in entries if entry not in self.used]


def _name(*path: str) -> str:
    return f"{VALUES_FILE}:{'/'.join(path)}"


def _leaves(values: Mapping, *path: str) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, *path, key)
        else:
            yield _name(*path, key)


def find_checkpoint(folder: Path) -> Path:
    """The checkpoint that reference data came from: `folder` itself, or the only one inside it."""
    if checkpoint_kind(folder):
        return folder
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and checkpoint_kind(path))
    if len(inside) != 1:
        names = ", ".join(path.name for path in inside)
        raise WeGenError(
            f"{folder} holds {len(inside)} checkpoints{names and f' ({names})'}, expected one. Name it with --model."
        )
    return inside[0]


def verify(
    folder: str | Path, model: str | Path | None = None, on_stage: Callable[[Stage], None] | None = None
) -> list[Stage]:
    """Recompute every entry of a reference folder, in float32 on the CPU.

    Args:
        folder: holds expected.json, expected.safetensors, reference_0.png ... and the checkpoint they came from.
        model: another checkpoint to hold to these values, such as the packed form of that one.
        on_stage: called after each stage.

    Returns:
        All stages in order. Entries that no stage covers, and entries that a complete folder would have, make a
        failed stage each, so that a change of the format cannot pass unseen.

    Raises:
        WeGenError: the folder holds no reference data or no checkpoint.
        CheckpointError: the checkpoint cannot be used.
    """
    folder = expanded(folder)
    if not folder.is_dir():
        raise WeGenError(f"There is no folder {folder}.")
    expected = _Expected.read(folder)
    wegen, decoder = load(open_checkpoint(find_checkpoint(folder) if model is None else model))
    stages = []
    with torch.no_grad():
        for stage in _stages(wegen, decoder, expected):
            stages.append(stage)
            if on_stage is not None:
                on_stage(stage)
    return stages


def _stages(wegen: WeGen, decoder: Decoder, expected: _Expected) -> Iterator[Stage]:
    for name in PROVENANCE:
        expected.used.add(_name(name))
    yield from _sizes(wegen, decoder, expected)
    yield from _tokenizer(wegen, expected)
    features = yield from _vision(wegen, expected)
    for name, run in expected.values.items():
        if isinstance(run, Mapping) and "input_ids" in run:
            yield from _run(wegen, expected, name, features)
    yield from _decoder(decoder, expected)
    yield from _training(wegen, expected)
    for entry in dict.fromkeys(expected.missing):
        yield Stage(entry, float("nan"), float("nan"), 0.0, False, "missing in the reference data")
    for entry in expected.not_verified():
        yield Stage(entry, float("nan"), float("nan"), 0.0, False, "not verified: no stage computes this")


def _sizes(wegen: WeGen, decoder: Decoder, expected: _Expected) -> Iterator[Stage]:
    vision = wegen.config.vision
    computed = {
        ("vocab_size",): wegen.config.language.vocab_size,
        ("base_vocab",): wegen.tokenizer.pieces.get_piece_size(),
        ("vision", "image_size"): vision.image_size,
        ("vision", "patch_size"): vision.patch_size,
        ("vision", "width"): vision.width,
        ("vision", "layers"): vision.layers,
        ("vision", "head_width"): vision.head_width,
        ("vision", "qkv_bias"): vision.qkv_bias,
        ("vision", "layer_norm_eps"): vision.layer_norm_eps,
    }
    for path, found in computed.items():
        wanted = expected.value(*path)
        if wanted is not None:
            yield compare_exactly(f"sizes: {'.'.join(path)}", found, wanted)
    side, noise = expected.value("image_size"), expected.tensors.get("decode.start_noise")
    if side is not None and noise is not None:
        # The decoder paints any size; this one is that of the noise it was given.
        yield compare_exactly("sizes: image_size", noise.shape[-1] * decoder.config.vae.downscale, side)
    ratio = expected.value("vision", "mlp_ratio")
    if ratio is not None:
        yield compare_exactly("sizes: vision.mlp_ratio", vision.mlp_width, int(vision.width * ratio))
    for name, wanted in VISION_FIXED.items():
        found = expected.value("vision", name)
        if wanted is not None and found is not None:
            yield compare_exactly(f"sizes: vision.{name}", wanted, found)


def _tokenizer(wegen: WeGen, expected: _Expected) -> Iterator[Stage]:
    wanted = expected.value("image_token_ids")
    if wanted is not None:
        yield compare_exactly("tokenize: image_token_ids", list(wegen.tokenizer.picture_ids), wanted)
        written = wegen.tokenizer.encode(picture_text(wegen.config.tokens_per_picture), begin=False)
        yield compare_exactly("tokenize: one picture", written, wanted)
    for text in expected.values.get("tokenize", {}):
        ids = wegen.tokenizer.encode(_prompt(wegen, text, pictures=0))
        yield compare_exactly(f"tokenize: {text[:32]!r}", ids, expected.value("tokenize", text))


def _prompt(wegen: WeGen, text: str, pictures: int) -> str:
    """The published prompt, without the checks and `@name` mentions of a user's turn."""
    template = wegen.config.templates.text_to_picture
    filling = {"{text}": text, "{pictures}": picture_text(wegen.config.tokens_per_picture) * pictures}
    return re.sub(r"\{(?:text|pictures)\}", lambda slot: filling[slot.group()], template)


def _vision(wegen: WeGen, expected: _Expected):
    """Yields stages, and returns the pooled features of the pictures."""
    if not expected.pictures:
        expected.missing.append("reference_0.png")
        return torch.empty(0)
    size = wegen.config.vision.image_size
    pixels = torch.stack([clip_pixels(picture, size) for picture in expected.pictures])
    patches = wegen.vision_encoder(pixels)
    pooled = pool_features(patches, wegen.config.feature_grid)
    computed = {
        "pixels": pixels,
        "patch_features": patches,
        "pooled_features": pooled,
        "pooled_mean": pooled.mean(dim=1),
        "llm_embeddings": wegen.agent.embed_features(pooled),
    }
    for name, found in computed.items():
        wanted = expected.tensor(f"encode.{name}")
        if wanted is not None:
            yield compare(f"encode.{name}", found, wanted, FEATURES)
    return pooled


def _run(wegen: WeGen, expected: _Expected, name: str, features: Tensor) -> Iterator[Stage]:
    """One run of the published generation: prompt, picture or text as it comes, and what is read off it."""
    tokenizer = wegen.tokenizer
    wanted = {key: expected.value(name, key) for key in RUN_KEYS}
    absent = [key for key, value in wanted.items() if value is None]
    if absent:
        yield Stage(name, float("nan"), float("nan"), 0.0, False, f"cannot run without {', '.join(absent)}")
        return
    if wanted["images"] > len(features):
        note = f"needs {wanted['images']} pictures, {len(features)} are there"
        yield Stage(name, float("nan"), float("nan"), 0.0, False, note)
        return
    prompt = _prompt(wegen, wanted["text_in"], wanted["images"])
    if wanted["input_ids"][-1:] == [tokenizer.picture_begin_id]:
        prompt += PICTURE_BEGIN
    ids = tokenizer.encode(prompt)
    yield compare_exactly(f"{name}: input_ids", ids, wanted["input_ids"])

    embeddings = wegen.embed(ids, list(features[: wanted["images"]]))
    limit = max(TOKEN_LIMIT, len(wanted["generated_ids"]))
    generated, aligned, fed_back = _generate(wegen, ids, embeddings, wanted["cfg"], limit, "aligned")
    released = None
    if aligned is not None:
        # Only up to the end of the last picture: what follows is the same text again.
        limit = len(generated) - generated[::-1].index(tokenizer.picture_end_id)
        released = _generate(wegen, ids, embeddings, wanted["cfg"], limit, "released")[1]
    yield compare_exactly(f"{name}: generated_ids", generated, wanted["generated_ids"])
    yield compare_exactly(f"{name}: full_text", tokenizer.decode([*ids, *generated]), wanted["full_text"])
    yield compare_exactly(f"{name}: out_text", tokenizer.decode(_text_only(wegen, generated)), wanted["out_text"])
    ends = generated.count(tokenizer.picture_end_id)
    yield compare_exactly(f"{name}: has_image", ends > 0, wanted["has_image"])
    yield compare_exactly(f"{name}: num_images", ends, wanted["num_images"])

    computed = {"prompt_embeddings": embeddings[None], "released_features": released}
    # The published code keeps the guided states to itself, so these two can be there for unguided runs only.
    computed |= {"aligned_features": aligned, "fed_back_embeddings": fed_back}
    for key, found in computed.items():
        entry = f"{name}.{key}"
        optional = key != "prompt_embeddings" and (found is None or (wanted["cfg"] != 1 and key != "released_features"))
        if optional and entry not in expected.tensors:
            continue
        tensor = expected.tensor(entry)
        if tensor is not None and found is None:
            yield Stage(entry, float("inf"), float("inf"), FEATURES, False, "this run wrote no whole picture")
        elif tensor is not None:
            stage = compare(entry, found, tensor, FEATURES)
            if not stage.passed and key in FED_BACK and math.isfinite(stage.absolute):
                collection = "released" if key == "released_features" else "aligned"
                precise = _generate(_in_float64(wegen), ids, embeddings.double(), wanted["cfg"], limit, collection)
                stage = _within_rounding(stage, tensor, precise[FED_BACK[key]])
            yield stage


def _in_float64(wegen: WeGen) -> WeGen:
    return replace(wegen, agent=copy.deepcopy(wegen.agent).double(), dtype=torch.float64)


def _within_rounding(stage: Stage, expected: Tensor, precise: Tensor | None) -> Stage:
    """The stage, judged by how far the expected values are from those that a float64 run computes.

    Where 64 outputs were fed back one by one, rounding errors of float32 grow on the way: two right implementations
    differ as much as either does from float64.
    """
    if precise is None or precise.shape != expected.shape:
        return stage
    spread = float((precise.double() - expected.double()).abs().max())
    scale = max(1.0, float(expected.abs().max()))
    tolerance = max(stage.tolerance, ROUNDING * spread / scale)
    note = f"float64 differs from the expected values by {spread:.1e}"
    return replace(stage, tolerance=tolerance, passed=stage.absolute <= tolerance * scale, note=note)


def _generate(wegen: WeGen, ids: list[int], prompt: Tensor, cfg: float, limit: int, collection):
    """Ids written, and the features and embeddings of the pictures among them (None without a whole one)."""
    tokenizer = wegen.tokenizer
    inside = tokenizer.picture_ids[1:]
    decoding = Decoding(wegen, [prompt], room=limit, guided=cfg != 1)
    generated: list[int] = []
    pictures = []
    begun = ids[-1] == tokenizer.picture_begin_id
    while len(generated) < limit:
        if not begun:
            generated += decoding.write_text(limit - len(generated), picture_logit=0.0)[0]
            if generated[-1] == tokenizer.end_id:
                break
        elif len(generated) + len(inside) <= limit:
            pictures.append(decoding.write_picture(cfg, collection))
            generated += inside
        else:
            # The limit cuts this picture: its ids are forced, and nothing else of it is ever looked at.
            generated += inside[: limit - len(generated)]
        begun = generated[-1] == tokenizer.picture_begin_id
    features = torch.cat([picture.features for picture in pictures]) if pictures else None
    fed_back = torch.cat([picture.fed_back for picture in pictures]) if pictures else None
    return generated, features, fed_back


def _text_only(wegen: WeGen, generated: list[int]) -> list[int]:
    """The published text answer: without `<img>` and the tokens before each `</img>`, but with `</img>` itself."""
    count = wegen.config.tokens_per_picture
    kept = [token != wegen.tokenizer.picture_begin_id for token in generated]
    for end, token in enumerate(generated):
        if token == wegen.tokenizer.picture_end_id:
            picture = slice(end - count, end)
            kept[picture] = [False] * len(kept[picture])
    return [token for token, keep in zip(generated, kept, strict=True) if keep]


def _decoder(decoder: Decoder, expected: _Expected) -> Iterator[Stage]:
    inputs = {key: expected.tensor(f"unet.{key}") for key in ("sample", "timesteps", "context", "pooled", "time_ids")}
    eps = expected.tensor("unet.eps")
    if eps is not None and all(value is not None for value in inputs.values()):
        conditions = {"text_embeds": inputs["pooled"], "time_ids": inputs["time_ids"]}
        found = decoder.unet(
            inputs["sample"], inputs["timesteps"], inputs["context"], added_cond_kwargs=conditions
        ).sample
        yield compare("unet.eps", found, eps, UNET)

    pixels, mode = expected.tensor("vae.pixels"), expected.tensor("vae.latent_mode")
    if pixels is not None and mode is not None:
        encoded = decoder.vae.encode(pixels).latent_dist.mode() * decoder.config.vae.scaling_factor
        yield compare("vae.latent_mode", encoded, mode, VAE)
    decoded = expected.tensor("vae.decoded")
    if decoded is not None and mode is not None:
        found = decoder.vae.decode(mode / decoder.config.vae.scaling_factor).sample
        yield compare("vae.decoded", found, decoded, VAE)

    features, noise = expected.tensor("decode.features"), expected.tensor("decode.start_noise")
    names = [match for key in expected.tensors if (match := DECODE.fullmatch(key))]
    runs = {name.group(1): (float(name.group(2)), int(name.group(3))) for name in names}
    if not runs:
        expected.missing.append("decode.cfgG_stepsN.*")
    for name, (guidance_scale, steps) in runs.items():
        schedule = decoder.config.schedule
        computed = {
            "sigmas": published_sigmas(schedule, steps),
            "timesteps": published_timesteps(schedule, steps),
        }
        if features is not None and noise is not None:
            computed["latent"] = decoder.paint(features, noise, steps, guidance_scale)
            computed["image"] = decoder.decode(computed["latent"]).permute(0, 3, 1, 2)
        tolerances = {"sigmas": FEATURES, "timesteps": 0.0, "latent": LATENT, "image": LATENT}
        for key, found in computed.items():
            wanted = expected.tensor(f"decode.{name}.{key}")
            if wanted is not None:
                yield compare(f"decode.{name}.{key}", found, wanted, tolerances[key])


def _training(wegen: WeGen, expected: _Expected) -> Iterator[Stage]:
    names = ("input_ids", "labels", "cmp_mask", "gen_mask", "image_features")
    inputs = {name: expected.tensor(f"train.{name}") for name in names}
    wanted = {name: expected.value("train", f"{name}_loss") for name in ("total", "lm", "rec", "mse", "cosine")}
    if any(value is None for value in inputs.values()):
        return
    features = pool_features(inputs["image_features"], wegen.config.feature_grid)
    ids, labels, seen, drawn = (inputs[name] for name in names[:-1])
    losses = agent_losses(agent_outputs(wegen.agent, ids, labels, seen, drawn, features))
    computed = {
        "total": losses.total,
        "lm": losses.text,
        "rec": losses.mse + losses.cosine,
        "mse": losses.mse,
        "cosine": losses.cosine,
    }
    for name, found in computed.items():
        if wanted[name] is not None:
            yield compare_loss(f"train.{name}_loss", float(found), wanted[name])
