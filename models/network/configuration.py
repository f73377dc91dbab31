"""The one configuration of every WeGen, from the published sizes (the defaults) down to the bundled nano model."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from ..errors import WeGenError
from ..json_values import converted, in_words, is_a

FORMAT_VERSION = 1
DOWN_BLOCKS, UP_BLOCKS = ("DownBlock2D", "CrossAttnDownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
WORLDS = ("", "storybook")
_SECTIONS = {
    "VisionConfig": "vision.",
    "LanguageConfig": "language.",
    "UNetConfig": "unet.",
    "VAEConfig": "vae.",
    "ScheduleConfig": "schedule.",
    "Templates": "templates.",
    "FeatureStatistics": "features.",
}
"""What stands before the keys of a part of the configuration in messages: where it is in `config.json`."""
MOST_LAYERS, LARGEST_NUMBER = 256, 2**20
"""What whole numbers of a configuration may be at most, those that count layers, the VAE's `patch`, and all others: of
larger ones even a model without weights takes hours to build, or its bytes are more than a number of 64 bits counts."""
USER_TEMPLATES = ("text_to_picture", "edit", "rewrite", "edit_rewrite", "ask")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise WeGenError(message)


def _require_above_0(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        where = _SECTIONS.get(type(config).__name__, "")
        _require(0 < value < math.inf, f"{where}{name} is {value}; it must be a number above 0.")


def _require_sizes(config: Any, least: int = 1) -> None:
    """Raise where a whole number of a configuration is below `least`, or beyond all that can be built."""
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        numbers = value if isinstance(value, tuple) else (value,)
        most = MOST_LAYERS if "layers" in entry.name or entry.name == "patch" else LARGEST_NUMBER
        _require(
            all(least <= number <= most for number in numbers if type(number) is int),
            f"{_SECTIONS.get(type(config).__name__, '')}{entry.name} is {value}; it must be from {least} to {most}.",
        )


@dataclass(frozen=True)
class VisionConfig:
    """Vision transformer: square picture -> (image_size / patch_size)^2 patch features of `width`.

    `image_size` and `patch_size` are sides in pixels. The published sizes are those of EVA-CLIP's largest model (arXiv
    2303.15389) for pictures of 448 pixels.

    Raises:
        WeGenError: a number below 1, or sizes that do not divide each other.
    """

    image_size: int = 448
    patch_size: int = 14
    width: int = 1792
    layers: int = 64
    head_width: int = 112
    mlp_width: int = 15360
    qkv_bias: bool = True
    layer_norm_eps: float = 1e-6
    normalize_features: bool = False
    """Whether patch features leave the encoder normalised to zero mean and unit variance, without learned scale.
    The published encoder has no final norm; models trained here normalise, so that features cannot shrink."""

    def __post_init__(self):
        _require_sizes(self)
        _require_above_0(self, "layer_norm_eps")
        _require(
            self.image_size % self.patch_size == 0,
            f"Vision image_size {self.image_size} is not a multiple of patch_size {self.patch_size}.",
        )
        _require(
            self.width % self.head_width == 0,
            f"Vision width {self.width} is not a multiple of head_width {self.head_width}.",
        )

    @property
    def grid(self) -> int:
        """Patches along one side of the picture."""
        return self.image_size // self.patch_size

    @property
    def heads(self) -> int:
        return self.width // self.head_width


@dataclass(frozen=True)
class LanguageConfig:
    """LLaMA-2 style decoder-only transformer; the published sizes are those of its 7B model (arXiv 2307.09288).

    `context_length` is in positions, of which each feature of a picture takes one.

    Raises:
        WeGenError: a number below 1, or heads that do not divide the width, cannot share keys or are of odd width.
    """

    vocab_size: int = 32330
    width: int = 4096
    mlp_width: int = 11008
    layers: int = 32
    heads: int = 32
    kv_heads: int = 32
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    context_length: int = 4096

    def __post_init__(self):
        _require_sizes(self)
        _require_above_0(self, "norm_eps", "rope_theta")
        _require(self.width % self.heads == 0, f"Language width {self.width} is not a multiple of {self.heads} heads.")
        _require(self.heads % self.kv_heads == 0, f"{self.heads} heads cannot share {self.kv_heads} key/value heads.")
        _require((self.width // self.heads) % 2 == 0, "Rotary embeddings need an even head width.")

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    def require_room(self, positions: int) -> None:
        """See that a sequence of `positions` tokens fits the context that the weights were made for.

        Raises:
            WeGenError: it does not.
        """
        _require(
            positions <= self.context_length,
            f"This turn needs {positions} tokens; the model's context holds {self.context_length}. "
            "Shorten the instruction, use fewer references or turns, or lower the token limit.",
        )

    def kv_cache_bytes(self, tokens: int, element_size: int) -> int:
        """Bytes of the key/value cache of `tokens` positions of one sequence, with numbers of `element_size` bytes."""
        return 2 * self.layers * self.kv_heads * self.head_width * tokens * element_size


@dataclass(frozen=True)
class UNetConfig:
    """The SDXL-like UNet (arXiv 2307.01952), in diffusers' terms: `attention_head_dim` is the number of heads there,
    for each level, and `sample_size` the side of a latent in cells.

    Raises:
        WeGenError: a number below 1, levels that do not fit together, or what ComfyUI's own UNet cannot hold.
    """

    in_channels: int = 4
    out_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280)
    down_block_types: tuple[str, ...] = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
    up_block_types: tuple[str, ...] = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
    layers_per_block: int = 2
    transformer_layers_per_block: tuple[int, ...] = (1, 2, 10)
    attention_head_dim: tuple[int, ...] = (5, 10, 20)
    cross_attention_dim: int = 1792
    addition_time_embed_dim: int = 256
    projection_class_embeddings_input_dim: int = 1792 + 6 * 256
    norm_num_groups: int = 32
    sample_size: int = 128

    def __post_init__(self):
        _require_sizes(self)
        levels = len(self.block_out_channels)
        _require(levels > 0, "UNet block_out_channels is empty; it must hold the channels of each level.")
        for name, known in (("down_block_types", DOWN_BLOCKS), ("up_block_types", UP_BLOCKS)):
            strange = [block for block in getattr(self, name) if block not in known]
            _require(not strange, f"UNet {name} has {strange[:1]}; ComfyUI's own UNet has {' and '.join(known)}.")
        for name in ("down_block_types", "up_block_types", "transformer_layers_per_block", "attention_head_dim"):
            count = len(getattr(self, name))
            _require(count == levels, f"UNet {name} has {count} entries for {levels} levels.")
        widths = {c // n for c, n in zip(self.block_out_channels, self.attention_head_dim, strict=True)}
        _require(
            len(widths) == 1 and all(c % 32 == 0 for c in self.block_out_channels),
            f"UNet channels {self.block_out_channels} with {self.attention_head_dim} heads: every level must be a "
            "multiple of 32 and have heads of the same width, or ComfyUI's own UNet cannot hold it.",
        )
        _require(
            (self.norm_num_groups, self.addition_time_embed_dim) == (32, 256),
            f"UNet norm_num_groups is {self.norm_num_groups}, addition_time_embed_dim {self.addition_time_embed_dim}; "
            "ComfyUI's own UNet has 32 and 256.",
        )
        expected = self.cross_attention_dim + 6 * self.addition_time_embed_dim
        _require(
            self.projection_class_embeddings_input_dim == expected,
            f"UNet added embedding takes {self.projection_class_embeddings_input_dim} values; "
            f"{self.cross_attention_dim} features and 6 sizes of {self.addition_time_embed_dim} make {expected}.",
        )

    def to_diffusers(self) -> dict[str, Any]:
        """Keyword arguments of `diffusers.UNet2DConditionModel`."""
        return {
            **dataclasses.asdict(self),
            "addition_embed_type": "text_time",
            "use_linear_projection": True,
        }

    @classmethod
    def from_diffusers(cls, values: Mapping[str, Any], source: str = "config.json") -> UNetConfig:
        """Read a diffusers `config.json`; scalars that stand for every level are spread out.

        Args:
            values: what the file holds; what else stands in it is left out, what is missing is as published.
            source: names the file in errors.

        Raises:
            WeGenError: it is no UNet of SDXL's kind, a value is of the wrong kind, or the sizes do not fit together.
        """
        channels = values.get("block_out_channels")
        levels = len(channels if isinstance(channels, list | tuple) else cls.block_out_channels)
        known = {f.name: values[f.name] for f in dataclasses.fields(cls) if values.get(f.name) is not None}
        for name in ("transformer_layers_per_block", "attention_head_dim"):
            if isinstance(known.get(name), int):
                known[name] = [known[name]] * levels
        for name, expected in (("addition_embed_type", "text_time"), ("use_linear_projection", True)):
            _require(
                values.get(name) == expected,
                f"{source}: {name} is {values.get(name)!r}; WeGen's decoder needs {expected!r}.",
            )
        return _build(cls, known, source)


@dataclass(frozen=True)
class VAEConfig:
    """The SDXL VAE (arXiv 2307.01952), in diffusers' terms. `sample_size` is a side in pixels.

    A latent times `scaling_factor` is what the UNet sees.

    Raises:
        WeGenError: no levels, a number that is too small, pictures of other than 3 channels, what ComfyUI's own VAE
            cannot hold, or a wrong number of `preview_factors`.
    """

    in_channels: int = 3
    out_channels: int = 3
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    latent_channels: int = 4
    norm_num_groups: int = 32
    scaling_factor: float = 0.13025
    sample_size: int = 1024
    preview_factors: tuple[float, ...] = ()
    """Rough colours of a latent for previews while sampling: a row-major `[latent_channels, 3]` matrix and a bias `[3]`
    from scaled latents to RGB in -1..1. Empty: those known for SDXL's VAE."""

    patch: int = 1
    """Pixels along one side that are folded into channels before the first level. 1 is the published VAE (diffusers'
    `AutoencoderKL`); above, the small `CompactVAE` is meant, which has no norms."""

    decoder_layers_per_block: int | None = None
    """Of a `CompactVAE`; None is one more than `layers_per_block`, as `AutoencoderKL` has it."""

    def __post_init__(self):
        _require_sizes(self, least=0)
        _require(self.patch >= 1, f"VAE patch is {self.patch}; it must be 1 or more.")
        _require(len(self.block_out_channels) > 0, "VAE block_out_channels is empty; it must hold those of each level.")
        _require(
            min(self.block_out_channels) >= 1,
            f"VAE block_out_channels is {self.block_out_channels}; each must be 1 or more.",
        )
        _require_above_0(self, "scaling_factor", "latent_channels", *(() if self.patch > 1 else ("layers_per_block",)))
        _require(
            (self.in_channels, self.out_channels) == (3, 3),
            f"VAE in_channels is {self.in_channels}, out_channels {self.out_channels}; pictures have 3.",
        )
        _require(
            self.decoder_layers_per_block is None or (self.patch > 1 and self.decoder_layers_per_block >= 0),
            f"VAE decoder_layers_per_block is {self.decoder_layers_per_block}; it must be 0 or more with a patch above "
            "1, and null with a patch of 1.",
        )
        _require(
            self.patch > 1 or (self.norm_num_groups == 32 and all(c % 32 == 0 for c in self.block_out_channels)),
            f"VAE channels {self.block_out_channels} in {self.norm_num_groups} groups: every level must be a multiple "
            "of 32 and have 32 groups, or ComfyUI's own VAE cannot hold it.",
        )
        expected = 3 * (self.latent_channels + 1)
        _require(
            len(self.preview_factors) in (0, expected),
            f"VAE preview_factors has {len(self.preview_factors)} numbers, expected {expected} or none.",
        )

    @property
    def downscale(self) -> int:
        """Pixels along one side of a latent cell."""
        return self.patch * 2 ** (len(self.block_out_channels) - 1)

    def to_diffusers(self) -> dict[str, Any]:
        """Keyword arguments of `diffusers.AutoencoderKL`; only for a `patch` of 1."""
        levels = len(self.block_out_channels)
        values = dataclasses.asdict(self)
        del values["preview_factors"], values["patch"], values["decoder_layers_per_block"]
        return {
            **values,
            "down_block_types": ("DownEncoderBlock2D",) * levels,
            "up_block_types": ("UpDecoderBlock2D",) * levels,
            "act_fn": "silu",
        }

    @classmethod
    def from_diffusers(cls, values: Mapping[str, Any], source: str = "config.json") -> VAEConfig:
        """Read a diffusers `config.json`.

        Args:
            values: what the file holds; what else stands in it is left out, what is missing is as published.
            source: names the file in errors.

        Raises:
            WeGenError: a value is of the wrong kind, or the sizes do not fit together.
        """
        known = {f.name: values[f.name] for f in dataclasses.fields(cls) if values.get(f.name) is not None}
        return _build(cls, known, source)


@dataclass(frozen=True)
class ScheduleConfig:
    """Noise levels that the decoder was trained with, and how inference spaces them; see `painting.schedule`.

    The defaults are SDXL's, as published.

    Raises:
        WeGenError: an offset that is no training timestep, or betas that fall or do not lie between 0 and 1.
    """

    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    steps_offset: int = 1

    def __post_init__(self):
        _require_sizes(self, least=0)
        _require(
            0 <= self.steps_offset < self.num_train_timesteps,
            f"A steps_offset of {self.steps_offset} does not fit {self.num_train_timesteps} training timesteps.",
        )
        _require(
            0 < self.beta_start <= self.beta_end < 1,
            f"Betas must rise from above 0 to below 1, got {self.beta_start} to {self.beta_end}.",
        )


@dataclass(frozen=True)
class Templates:
    """How a conversation becomes one token sequence. `{text}` and `{pictures}` stand for the turn's own.

    The defaults fit the published weights: `text_to_picture` is the only prompt of the published inference, and `edit`
    follows the code base it grew from (SEED-X). Models trained here bring their own.

    Raises:
        WeGenError: a template that lacks a slot or has it twice, a `mention` with other slots than its own, an unknown
            `rewrite_place`, or a limit below 1.
    """

    text_to_picture: str = "[INST] Generate a painting: {pictures}{text} [/INST]\n"
    edit: str = "[INST] {pictures}{text} Everything else stays the same. [/INST]\n"
    """An order on a picture, drawn earlier or brought by the user."""
    rewrite: str = "[INST] Describe in detail a painting of: {pictures}{text} [/INST]\n"
    """Asks for a detailed description of a new picture."""
    edit_rewrite: str = ""
    """Asks for a description of what an order changes and what stays the same. Empty: orders are drawn as they stand,
    as with the published weights, which never saw such a request."""
    ask: str = "[INST] {pictures}{text} [/INST]\n"
    describe: str = "Describe the picture in detail."
    """The question that is asked about a picture whose content is not known from words."""
    joint: str = "\n"
    """Stands between an answer and the next turn."""
    mention: str = "{name} (picture {number})"
    """What `@name` in an instruction becomes; `{picture}` puts the picture itself there instead of in `{pictures}`."""
    rewrite_place: str = "instruction"
    """Where a rewrite stands when its picture is drawn: in the user's turn in place of the "instruction", or in the
    "answer", between the user's own words and the picture."""
    rewrite_limit: int = 200
    """Most tokens of one rewrite or answer."""
    anew: str = ""
    """What a description begins with where the model means to draw all of a picture anew, as when it restores one.
    Empty: it never says so, and only its features tell what changes."""
    kept: str = ""
    """What a description begins with where an order names what is to stay as it is; `{things}` stands for that. Empty:
    it never says so."""

    def __post_init__(self):
        _require_sizes(self)
        _require(
            not self.kept or (self.kept.count("{things}") == 1 and not self.kept.endswith("{things}")),
            f"The template 'kept' must hold {{things}} exactly once, with something behind it; it is {self.kept!r}.",
        )
        for name in USER_TEMPLATES:
            template = getattr(self, name)
            if not template and name == "edit_rewrite":
                continue
            for slot in ("{text}", "{pictures}"):
                _require(
                    template.count(slot) == 1,
                    f"The template {name!r} must hold {slot} exactly once; it is {template!r}.",
                )
        try:
            self.mention.format(name="", number=1, picture="")
        except (LookupError, ValueError, AttributeError) as error:
            raise WeGenError(
                f"The template 'mention' may hold {{name}}, {{number}} and {{picture}}; it is {self.mention!r}."
            ) from error
        _require(
            self.rewrite_place in ("instruction", "answer"),
            f"rewrite_place is {self.rewrite_place!r}; it must be 'instruction' or 'answer'.",
        )

    @property
    def user_turns(self) -> tuple[str, ...]:
        """All templates of a user's turn."""
        return tuple(getattr(self, name) for name in USER_TEMPLATES)

    def says_anew(self, description: str) -> bool:
        """Whether a description says that all of the picture is drawn anew."""
        return bool(self.anew) and description.casefold().startswith(self.anew.casefold())

    def things_kept(self, description: str) -> str:
        """What a description says is to stay as it is, such as "the red house and the cat"; empty for nothing."""
        said = self._keeping(description)
        return said["things"].strip() if said else ""

    def of_picture(self, description: str) -> str:
        """A description without what it begins with about a change: what it says of the picture alone.

        It stays as it is where nothing follows.
        """
        begun = self._keeping(description)
        if self.says_anew(description):
            begun = re.match(rf"{re.escape(self.anew)}\s*[,.:;]\s*(?=\S)", description, re.IGNORECASE)
        return description[begun.end() :] if begun else description

    def _keeping(self, description: str) -> re.Match[str] | None:
        if not self.kept:
            return None
        before, behind = map(re.escape, self.kept.split("{things}"))
        return re.match(rf"{before}(?P<things>.+?){behind}(?=\S)", description, re.IGNORECASE)

    def spoken(self) -> tuple[str, ...]:
        """What the templates themselves say, without the markers in square brackets."""
        texts = (re.sub(r"\[/?\w+\]|\{\w+\}", " ", one).strip() for one in self.user_turns)
        return tuple(text for text in texts if text)


@dataclass(frozen=True)
class FeatureStatistics:
    """How far apart a checkpoint's features are, as `wegen calibrate` measures it: see `editing.feature_statistics`.

    Not measured when `spread` is 0, the default.

    Raises:
        WeGenError: a number below 0, or a spread without a threshold.
    """

    spread: float = 0.0
    """Root of the mean squared distance of features from the feature that all pictures' cells have on average."""
    noise: float = 0.0
    """Distance that 99 % of a picture's cells stay below when the picture is encoded twice, once with slight wear."""
    threshold: float = 0.0
    """Distance above which a cell counts as changed."""

    def __post_init__(self):
        for name in ("spread", "noise", "threshold"):
            value = getattr(self, name)
            _require(value >= 0, f"The feature statistics' {name} is {value}; it must be 0 or more.")
        _require(
            self.threshold > 0 or self.spread == 0,
            "The feature statistics have a spread and no threshold; measure them again with `wegen calibrate`.",
        )

    @property
    def measured(self) -> bool:
        return self.spread > 0


@dataclass(frozen=True)
class WeGenConfig:
    """Everything needed to build a WeGen without weights. Defaults are the published sizes.

    Raises:
        WeGenError: a whole number below 1, parts that do not fit together, or an unknown `told_size`,
            `reference_view` or `world`.
    """

    vision: VisionConfig = field(default_factory=VisionConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    unet: UNetConfig = field(default_factory=UNetConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    templates: Templates = field(default_factory=Templates)
    features: FeatureStatistics = field(default_factory=FeatureStatistics)
    tokens_per_picture: int = 64
    guidance_scale: float = 7.0
    """Guidance of the decoder that the checkpoint is best with."""
    sampler_steps: int = 20
    """Steps from noise to picture beyond which pictures of the checkpoint become no better."""
    size: int = 1024
    """Side in pixels of the square pictures that the decoder paints by default."""
    told_size: str = "picture"
    """What the UNet is told of a picture's size, in the way of SDXL: "picture" its own width and height; "model" always
    `size`, for UNets that were trained with that one size and paint noise when told of another."""
    name: str = "wegen"
    reference_view: str = "crop"
    """How a reference with a mask is shown to the vision encoder: "crop" cuts it out with some surroundings, for models
    that know things at any size; "page" leaves it alone on its page, for models that know things by their size."""
    turns_in_view: int | None = None
    """How many earlier turns of a chat keep their pictures in the sequence, older ones only their words: as many as the
    model was trained to look back at. None: as many as fit."""
    world: str = ""
    """The closed world that a model of version 0.1 was trained in ("storybook"). Empty for all others, which may answer
    in plain words instead of drawing."""

    def __post_init__(self):
        _require_sizes(self)
        side = self.feature_grid
        _require(side * side == self.tokens_per_picture, f"{self.tokens_per_picture} features do not form a square.")
        _require(
            self.told_size in ("picture", "model"),
            f"told_size is {self.told_size!r}; it must be 'picture' or 'model'.",
        )
        _require(
            self.reference_view in ("crop", "page"),
            f"reference_view is {self.reference_view!r}; it must be 'crop' or 'page'.",
        )
        _require(
            self.world in WORLDS,
            f"The world is {self.world!r}; it must be one of {', '.join(repr(world) for world in WORLDS)}.",
        )
        _require(
            self.vision.grid % side == 0,
            f"A grid of {self.vision.grid} patches cannot be pooled evenly to {side}x{side} features.",
        )
        _require(
            self.unet.cross_attention_dim == self.vision.width,
            f"The UNet attends to features of {self.unet.cross_attention_dim}, "
            f"the vision encoder makes features of {self.vision.width}.",
        )
        _require(
            self.unet.in_channels == self.vae.latent_channels,
            f"The UNet takes {self.unet.in_channels} latent channels, the VAE makes {self.vae.latent_channels}.",
        )

    @property
    def feature_grid(self) -> int:
        """Pooled features along one side of the picture (8 at 64 features)."""
        return round(self.tokens_per_picture**0.5)

    def size_told(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in pixels that the UNet is told for a picture of `width` x `height`."""
        return (self.size, self.size) if self.told_size == "model" else (width, height)

    def with_open_language(self) -> WeGenConfig:
        """The same sizes for a model that takes any words."""
        return dataclasses.replace(self, world="")

    def to_json(self) -> str:
        """The text of a `config.json`, which `from_json` reads."""
        return json.dumps({"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "config.json") -> WeGenConfig:
        """Parse what `to_json` wrote; what is missing is as published.

        Args:
            text: of the file.
            source: names it in errors.

        Raises:
            WeGenError: it is no JSON, has no `format_version` or another one, unknown keys or values of the wrong kind,
                or what it says does not fit together.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise WeGenError(f"{source} is not valid JSON: {error}.") from error
        if not isinstance(values, dict) or "format_version" not in values:
            raise WeGenError(f"{source} is not a WeGen configuration: it has no 'format_version'.")
        version = values.pop("format_version")
        if version != FORMAT_VERSION:
            raise WeGenError(
                f"{source} has format_version {version!r}; this release reads {FORMAT_VERSION}. "
                "Update the pack, or convert the checkpoint again with it."
            )
        return _build(cls, _upgraded(values), source)


def _upgraded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as today's classes have them: until 0.1 `edit` was called `turn`, and a closed world needed no others."""
    values = dict(values)
    templates = values.get("templates")
    if isinstance(templates, Mapping) and "turn" in templates:
        templates = dict(templates)
        templates["edit"] = templates.pop("turn")
        if values.get("world"):
            values.setdefault("reference_view", "page")
            templates.setdefault("edit_rewrite", templates.get("rewrite", ""))
            templates.setdefault("describe", "describe the picture")
        values["templates"] = templates
    return values


def _build(cls: type, values: Mapping[str, Any], source: str = "config.json") -> Any:
    """Make a (nested) configuration dataclass from parsed JSON, with errors that name the key."""
    hints, section = get_type_hints(cls), _SECTIONS.get(cls.__name__, "")
    unknown = sorted(set(values) - set(hints))
    if unknown:
        names = ", ".join(section + key for key in unknown)
        raise WeGenError(
            f"{source} has keys that are unknown here: {names}. Correct or remove them, or update the pack where a "
            "newer one wrote the file."
        )
    arguments = {}
    for name, value in values.items():
        hint = hints[name]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise WeGenError(f"{source}: {section}{name} must be an object, got {value!r}.")
            arguments[name] = _build(hint, value, source)
        else:
            if not is_a(value, hint):
                raise WeGenError(f"{source}: {section}{name} must be {in_words(hint)}, got {value!r}.")
            arguments[name] = converted(value, hint)
    try:
        return cls(**arguments)
    except WeGenError as error:
        raise WeGenError(f"{source}: {error}") from error
