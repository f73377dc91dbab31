"""Reading checkpoints: the published folder and the packed one, both as lazily read tensors with checked names."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .configuration import LanguageConfig, ScheduleConfig, UNetConfig, VAEConfig, VisionConfig, WeGenConfig
from .errors import CheckpointError, WeGenError
from .tokenizer import ADDED_FILE, Tokenizer

PARTS = ("vision_encoder", "language_model", "unet", "vae")
CONFIG_FILE = "config.json"

AGENT_FILE = "pytorch_model.bin"
VISION_FILE = Path("pretrained/EVA-CLIP/visual.pt")
VISION_CONFIG_FILE = "vision_config.json"
TOKENIZER_FOLDER = Path("pretrained/SEED-X/cvlm_llama2_tokenizer_100img_and_224loc_addpatch")
LLAMA_CONFIG_FILE = Path("pretrained/meta-llama/Llama-2-7b-chat-hf/config.json")
UNET_FOLDER = Path("stage1_final/unet")
VAE_FOLDER = Path("pretrained/stable-diffusion-xl-base-1.0/vae")
SCHEDULER_FILE = Path("pretrained/stable-diffusion-xl-base-1.0/scheduler/scheduler_config.json")
#: what published folders are called when they stand inside another one
PUBLISHED_NAME = "wegen_mllm_ckpt"

#: entries of published files that no computation uses
UNUSED = re.compile(
    r"llm\.model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq|(input_resampler|adapter)\..*scale"
    r"|(norm|fc_norm|head)\.(weight|bias)|mask_token"
)


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file: where it stands, its shape, and how to read it."""

    file: Path
    key: str
    shape: tuple[int, ...]
    read: Callable[[], Tensor]


class Part(Mapping[str, Tensor]):
    """The tensors of one part of the model by the model's own names, each read when it is asked for."""

    def __init__(self, name: str, tensors: Mapping[str, StoredTensor]):
        self.name = name
        self.stored = dict(tensors)

    def __getitem__(self, key: str) -> Tensor:
        entry = self.stored[key]
        try:
            return entry.read()
        except (SafetensorError, RuntimeError, OSError, ValueError) as error:
            raise CheckpointError(f"{entry.file}: cannot read {entry.key!r}: {error}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)

    def check(self, module: nn.Module) -> None:
        """Compare names and shapes with those of `module` (which may be on the meta device).

        Raises:
            CheckpointError: naming the file and the first missing, mis-shaped or unknown key.
        """
        expected = {key: tuple(value.shape) for key, value in module.state_dict().items()}
        self.check_shapes(expected)

    def check_shapes(self, expected: Mapping[str, tuple[int, ...]]) -> None:
        missing = sorted(set(expected) - set(self.stored))
        files = sorted({str(entry.file) for entry in self.stored.values()})
        where = " and ".join(files) or "the checkpoint"
        if missing:
            raise CheckpointError(
                f"{where}: the {self.name.replace('_', ' ')} lacks {len(missing)} of {len(expected)} tensors, "
                f"first of them {missing[0]!r}. The file is incomplete or of another model."
            )
        for key in sorted(set(self.stored) - set(expected)):
            entry = self.stored[key]
            raise CheckpointError(
                f"{entry.file}: {entry.key!r} does not belong to a WeGen {self.name.replace('_', ' ')}. "
                "The file is of another model."
            )
        for key, shape in expected.items():
            entry = self.stored[key]
            if entry.shape != shape:
                raise CheckpointError(
                    f"{entry.file}: {entry.key!r} has the shape {list(entry.shape)}, expected {list(shape)}."
                )


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint folder: sizes, tokenizer, and the four parts' tensors, none of them read yet."""

    folder: Path
    config: WeGenConfig
    tokenizer: Tokenizer
    vision_encoder: Part
    language_model: Part
    unet: Part
    vae: Part

    @property
    def parts(self) -> dict[str, Part]:
        return {name: getattr(self, name) for name in PARTS}


def open_checkpoint(folder: str | Path) -> Checkpoint:
    """Open a packed or a published checkpoint folder; only names, shapes and small files are read.

    Raises:
        CheckpointError: naming what is missing or wrong, and in which file.
    """
    folder = Path(folder).expanduser()
    kind = checkpoint_kind(folder)
    if kind == "packed":
        checkpoint = _open_packed(folder)
    elif kind == "published":
        checkpoint = _open_published(folder if (folder / AGENT_FILE).is_file() else folder / PUBLISHED_NAME)
    elif not folder.is_dir():
        raise CheckpointError(f"There is no checkpoint folder {folder}.")
    else:
        raise CheckpointError(
            f"{folder} holds no WeGen checkpoint: neither {CONFIG_FILE} (packed, written by 'wegen convert') "
            f"nor {AGENT_FILE} (published) is there."
        )
    _check_vocabulary(checkpoint)
    return checkpoint


def checkpoint_kind(folder: Path) -> str | None:
    """ "packed", "published", or None when `folder` is neither."""
    if (folder / CONFIG_FILE).is_file() and (folder / part_file("language_model")).is_file():
        return "packed"
    if (folder / AGENT_FILE).is_file() or (folder / PUBLISHED_NAME / AGENT_FILE).is_file():
        return "published"
    return None


def part_file(part: str) -> str:
    """Name of a part's file in a packed folder."""
    return f"{part}.safetensors"


def _check_vocabulary(checkpoint: Checkpoint) -> None:
    rows, needed = checkpoint.config.language.vocab_size, checkpoint.tokenizer.vocab_size
    if rows != needed:
        raise CheckpointError(
            f"{checkpoint.folder}: the tokenizer ({ADDED_FILE} and tokenizer.model) has {needed} tokens, the language "
            f"model's embedding {rows} rows. The two are of different models."
        )


# --- files -----------------------------------------------------------------------------------------------------------


def _read_json(path: Path) -> dict:
    if not path.is_file():
        raise CheckpointError(f"The checkpoint needs {path}, which does not exist.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object.")
    return values


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Names and shapes in a safetensors file; tensors are memory-mapped when read."""
    if not path.is_file():
        raise CheckpointError(f"The checkpoint needs {path}, which does not exist.")
    try:
        handle = safe_open(path, framework="pt")
        return {
            key: StoredTensor(
                path, key, tuple(handle.get_slice(key).get_shape()), lambda key=key: handle.get_tensor(key)
            )
            for key in handle.keys()  # noqa: SIM118 - not a mapping
        }
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}") from error


def read_pickle(path: Path) -> dict[str, StoredTensor]:
    """Names and shapes in a pickled state dict, memory-mapped; a pickle that holds anything but tensors is refused."""
    if not path.is_file():
        raise CheckpointError(f"The checkpoint needs {path}, which does not exist.")
    try:
        # Files from before PyTorch 1.6 are no zip archives and cannot be mapped.
        values = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} was not loaded: it is damaged, or holds something else than tensors, which could run code "
            f"({str(error).splitlines()[0]})."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or no PyTorch file: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict) or not all(isinstance(value, Tensor) for value in values.values()):
        raise CheckpointError(f"{path} does not hold a state dict (names to tensors).")
    return {key: StoredTensor(path, key, tuple(t.shape), lambda t=t: t) for key, t in values.items()}


def _read_diffusers(folder: Path) -> dict[str, StoredTensor]:
    """The weights of a diffusers model folder, whatever their variant."""
    found = [
        *sorted(folder.glob("diffusion_pytorch_model*.safetensors")),
        *sorted(folder.glob("diffusion_pytorch_model*.bin")),
    ]
    if not found:
        raise CheckpointError(f"The checkpoint needs diffusion_pytorch_model.safetensors in {folder}.")
    return read_safetensors(found[0]) if found[0].suffix == ".safetensors" else read_pickle(found[0])


def _below(tensors: Mapping[str, StoredTensor], prefix: str) -> dict[str, StoredTensor]:
    return {key.removeprefix(prefix): entry for key, entry in tensors.items() if key.startswith(prefix)}


def _shape(tensors: Mapping[str, StoredTensor], key: str, file: Path, dimensions: int) -> tuple[int, ...]:
    if key not in tensors:
        raise CheckpointError(f"{file}: {key!r} is missing. The file is incomplete or of another model.")
    shape = tensors[key].shape
    if len(shape) != dimensions:
        raise CheckpointError(f"{file}: {key!r} has the shape {list(shape)}, expected {dimensions} dimensions.")
    return shape


def _count(tensors: Mapping[str, StoredTensor], pattern: str) -> int:
    return 1 + max((int(m.group(1)) for key in tensors if (m := re.match(pattern, key))), default=-1)


# --- the packed folder -----------------------------------------------------------------------------------------------


def _open_packed(folder: Path) -> Checkpoint:
    path = folder / CONFIG_FILE
    try:
        config = WeGenConfig.from_json(path.read_text(encoding="utf-8"), str(path))
    except CheckpointError:
        raise
    except WeGenError as error:
        raise CheckpointError(str(error)) from error
    return Checkpoint(
        folder=folder,
        config=config,
        tokenizer=Tokenizer.from_folder(folder, config.tokens_per_picture),
        **{part: Part(part, read_safetensors(folder / part_file(part))) for part in PARTS},
    )


# --- the published folder --------------------------------------------------------------------------------------------


def _open_published(folder: Path) -> Checkpoint:
    agent = {key: entry for key, entry in read_pickle(folder / AGENT_FILE).items() if not UNUSED.fullmatch(key)}
    vision = {key: entry for key, entry in read_pickle(folder / VISION_FILE).items() if not UNUSED.fullmatch(key)}
    known = ("llm.", "input_resampler.", "output_resampler.", "adapter.unet.", "adapter.vae.")
    for key in agent:
        if not key.startswith(known):
            raise CheckpointError(f"{folder / AGENT_FILE}: {key!r} does not belong to a WeGen agent.")
    unet, vae = _below(agent, "adapter.unet."), _below(agent, "adapter.vae.")
    # Where the agent brings its own decoder it wins, key by key; the stage-one files need not even be there then.
    if not unet or any((folder / UNET_FOLDER).glob("diffusion_pytorch_model*")):
        unet = {**_read_diffusers(folder / UNET_FOLDER), **unet}
    if not vae or any((folder / VAE_FOLDER).glob("diffusion_pytorch_model*")):
        vae = {**_read_diffusers(folder / VAE_FOLDER), **vae}
    language = {key: entry for key, entry in agent.items() if not key.startswith("adapter.")}

    vision_config = _vision_config(vision, folder)
    unet_config = UNetConfig.from_diffusers(_read_json(folder / UNET_FOLDER / CONFIG_FILE))
    vae_config = VAEConfig.from_diffusers(_read_json(folder / VAE_FOLDER / CONFIG_FILE))
    schedule = _schedule_config(_read_json(folder / SCHEDULER_FILE))
    try:
        config = WeGenConfig(
            vision=vision_config,
            language=_language_config(language, folder),
            unet=unet_config,
            vae=vae_config,
            schedule=schedule,
            size=unet_config.sample_size * vae_config.downscale,
            name=folder.parent.name if folder.name == PUBLISHED_NAME else folder.name,
        )
    except CheckpointError:
        raise
    except WeGenError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    return Checkpoint(
        folder=folder,
        config=config,
        tokenizer=Tokenizer.from_folder(folder / TOKENIZER_FOLDER, config.tokens_per_picture),
        vision_encoder=Part("vision_encoder", vision),
        language_model=Part("language_model", language),
        unet=Part("unet", unet),
        vae=Part("vae", vae),
    )


def _vision_config(vision: Mapping[str, StoredTensor], folder: Path) -> VisionConfig:
    """Sizes from the weights; those that leave no trace there from `vision_config.json`, else the published ones."""
    file = folder / VISION_FILE
    width, _, patch, _ = _shape(vision, "patch_embed.proj.weight", file, 4)
    positions = _shape(vision, "pos_embed", file, 3)[1]
    grid = round((positions - 1) ** 0.5)
    if grid**2 + 1 != positions:
        raise CheckpointError(f"{file}: 'pos_embed' has {positions} positions, expected a square and one.")
    extra = {}
    for place in (folder, folder.parent):
        if (place / VISION_CONFIG_FILE).is_file():
            extra = _read_json(place / VISION_CONFIG_FILE)
            break
    try:
        return VisionConfig(
            image_size=grid * patch,
            patch_size=patch,
            width=width,
            layers=_count(vision, r"blocks\.(\d+)\."),
            head_width=int(extra.get("head_width", VisionConfig.head_width)),
            mlp_width=_shape(vision, "blocks.0.mlp.fc1.weight", file, 2)[0],
            qkv_bias="blocks.0.attn.qkv.bias" in vision,
            layer_norm_eps=float(extra.get("layer_norm_eps", VisionConfig.layer_norm_eps)),
        )
    except WeGenError as error:
        raise CheckpointError(f"{file}: {error} Put the right one into {VISION_CONFIG_FILE} in {folder}.") from error


def _language_config(agent: Mapping[str, StoredTensor], folder: Path) -> LanguageConfig:
    file = folder / AGENT_FILE
    vocab_size, width = _shape(agent, "llm.model.embed_tokens.weight", file, 2)
    values = _read_json(folder / LLAMA_CONFIG_FILE)
    published = LanguageConfig()
    heads = int(values.get("num_attention_heads", published.heads))
    if width % heads:
        raise CheckpointError(f"{folder / LLAMA_CONFIG_FILE}: {heads} heads do not divide the width {width} of {file}.")
    kv_width = _shape(agent, "llm.model.layers.0.self_attn.k_proj.weight", file, 2)[0]
    return LanguageConfig(
        vocab_size=vocab_size,
        width=width,
        mlp_width=_shape(agent, "llm.model.layers.0.mlp.gate_proj.weight", file, 2)[0],
        layers=_count(agent, r"llm\.model\.layers\.(\d+)\."),
        heads=heads,
        kv_heads=kv_width // (width // heads),
        norm_eps=float(values.get("rms_norm_eps", published.norm_eps)),
        rope_theta=float(values.get("rope_theta", published.rope_theta)),
        context_length=int(values.get("max_position_embeddings", published.context_length)),
    )


def _schedule_config(values: Mapping) -> ScheduleConfig:
    expected = {"beta_schedule": "scaled_linear", "prediction_type": "epsilon", "timestep_spacing": "leading"}
    for name, wanted in expected.items():
        if values.get(name, wanted) != wanted:
            raise CheckpointError(f"{SCHEDULER_FILE}: {name} is {values[name]!r}; WeGen's decoder needs {wanted!r}.")
    return ScheduleConfig(
        num_train_timesteps=int(values.get("num_train_timesteps", 1000)),
        beta_start=float(values.get("beta_start", 0.00085)),
        beta_end=float(values.get("beta_end", 0.012)),
        steps_offset=int(values.get("steps_offset", 1)),
    )
