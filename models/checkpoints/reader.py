"""Reading checkpoints: the published folder and the packed one, both as lazily read tensors with checked names."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
import os
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, WeGenError, is_out_of_memory
from ..json_values import in_words, is_a
from ..network.configuration import LanguageConfig, ScheduleConfig, UNetConfig, VAEConfig, VisionConfig, WeGenConfig
from ..paths import expanded
from .quantise import (
    CONFIGURATION,
    Int8Weight,
    dequantise,
    from_header,
    int8_weight,
    piece_names,
    to_tensor,
    whole_shape,
)
from .safetensors_contents import safetensors_contents
from .tokenizer import ADDED_FILE, Tokenizer
from .torch_contents import TensorPlace, require_state_dict, tensor_places

PARTS = ("vision_encoder", "language_model", "unet", "vae")
CONFIG_FILE = "config.json"
SAMPLED = 8
"""About how many tensors tell a part from others of the same sizes."""

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

DIFFUSERS_FILE = re.compile(r"diffusion_pytorch_model(?:\.(\w+))?\.(?:safetensors|bin)")
#: the form in which the published code asks for the UNet
UNET_VARIANT = "bf16"

#: entries of published files that no computation uses
UNUSED = re.compile(
    r"llm\.model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq|(input_resampler|adapter)\..*scale"
    r"|(norm|fc_norm|head)\.(weight|bias)|mask_token"
)

AHEAD = 64 * 2**20
"""Bytes behind a tensor that the system is asked to read too: tensors are asked for in the order of their file."""


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file: where it stands, its shape, and how to read it.

    Attributes:
        shape: of what `read` gives, which is in memory of its own.
        dtype: as it is stored; that of its int8 or fp8 values where it is quantised.
        layer: how it is quantised; None where it is not. `read` gives float32 then.
        pieces: the tensors that a quantised weight is stored as, by the end of their keys behind the layer's name.
    """

    file: Path
    key: str
    shape: tuple[int, ...]
    read: Callable[[], Tensor]
    dtype: torch.dtype
    layer: Mapping[str, Any] | None = None
    pieces: Mapping[str, StoredTensor] = field(default_factory=dict)

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class Part(Mapping[str, Tensor]):
    """The tensors of one part of the model by the model's own names, each read when it is asked for."""

    def __init__(self, name: str, tensors: Mapping[str, StoredTensor]):
        self.name = name
        self.stored = dict(tensors)

    def __getitem__(self, key: str) -> Tensor:
        return _read(self.stored[key])

    def __contains__(self, key: object) -> bool:
        return key in self.stored  # that of all mappings would read it

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.name.replace("_", " ")

    @property
    def files(self) -> list[Path]:
        """The files that it is read from."""
        return sorted({entry.file for entry in self.stored.values()})

    @property
    def quantised(self) -> dict[str, StoredTensor]:
        """The quantised weights by the names of their layers."""
        return {key.removesuffix(".weight"): entry for key, entry in self.stored.items() if entry.layer is not None}

    @property
    def formats(self) -> frozenset[str]:
        """Of its quantised weights, as `quantise` names them."""
        return frozenset(entry.layer["format"] for entry in self.stored.values() if entry.layer is not None)

    def int8_weight(self, key: str) -> Int8Weight | None:
        """The weight `key` in int8, read now; None where it is stored otherwise.

        Raises:
            CheckpointError: naming the file and the key that cannot be read.
        """
        entry = self.stored[key]
        if entry.layer is None:
            return None
        with _reading(entry):
            return int8_weight({end: piece.read() for end, piece in entry.pieces.items()}, entry.layer)

    def as_stored(self, key: str) -> dict[str, StoredTensor]:
        """The tensors that `key` stands for in ComfyUI's layout: itself, or the pieces of a quantised weight."""
        entry = self.stored[key]
        if entry.layer is None:
            return {key: entry}
        name = key.removesuffix("weight")
        configuration = to_tensor(entry.layer)
        described = StoredTensor(
            entry.file, f"{name}{CONFIGURATION}", tuple(configuration.shape), lambda: configuration, torch.uint8
        )
        return {**{f"{name}{end}": piece for end, piece in entry.pieces.items()}, described.key: described}

    def stored_bytes(self, *keys: str) -> int:
        """Bytes of these tensors in their files; of all where none is named."""
        whole = (one for key in keys or self.stored for one in self.as_stored(key).values())
        return sum(one.elements * one.dtype.itemsize for one in whole)

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
                f"{where}: the {self.title} lacks {len(missing)} of {len(expected)} tensors, "
                f"first of them {missing[0]!r}. The file is incomplete or of another model."
            )
        for key in sorted(set(self.stored) - set(expected)):
            entry = self.stored[key]
            raise CheckpointError(
                f"{entry.file}: {entry.key!r} does not belong to a WeGen {self.title}. The file is of another model."
            )
        for key, shape in expected.items():
            entry = self.stored[key]
            if entry.shape != shape:
                raise CheckpointError(
                    f"{entry.file}: {entry.key!r} has the shape {list(entry.shape)}, expected {list(shape)}."
                )
            if entry.layer is None and not entry.dtype.is_floating_point:
                raise CheckpointError(
                    f"{entry.file}: {entry.key!r} holds {entry.dtype}, expected floating point numbers."
                )


def _read(entry: StoredTensor) -> Tensor:
    with _reading(entry):
        return entry.read()


@contextmanager
def _reading(entry: StoredTensor) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(f"{entry.file} is no longer there. Put it back, and load the model again.") from error
    except OSError as error:
        raise _unreadable(entry.file, error) from error
    except ValueError as error:
        raise CheckpointError(f"{entry.file}: cannot read {entry.key!r}: {error}") from error


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

    @cached_property
    def vision_id(self) -> str:
        """Tells the vision encoder from others, retrained ones too: a hash of some of its small tensors in bfloat16.

        It is the same in every precision that keeps what bfloat16 tells apart.

        Raises:
            CheckpointError: they cannot be read.
        """
        return part_id(self.vision_encoder)


def part_id(part: Part) -> str:
    """Tells a part from others of the same sizes, as `Checkpoint.vision_id` tells vision encoders."""
    some = small_tensors(part)
    values = torch.cat([part[key].to(torch.bfloat16) for key in some] or [torch.empty(0, dtype=torch.bfloat16)])
    return hashlib.sha256(values.view(torch.uint8).numpy().tobytes()).hexdigest()[:16]


def small_tensors(part: Part) -> list[str]:
    """Names of about `SAMPLED` of the tensors that are soon read, and are never quantised."""
    small = sorted(key for key, entry in part.stored.items() if len(entry.shape) == 1 and entry.layer is None)
    return small[:: max(1, len(small) // SAMPLED)]


def open_checkpoint(folder: str | Path) -> Checkpoint:
    """Open a packed or a published checkpoint folder; only names, shapes and small files are read.

    Raises:
        CheckpointError: naming what is missing or wrong, and in which file.
    """
    folder = expanded(folder)
    kind = checkpoint_kind(folder)
    if kind == "packed":
        checkpoint = _open_packed(folder)
    elif kind == "published":
        checkpoint = _open_published(folder if (folder / AGENT_FILE).is_file() else folder / PUBLISHED_NAME)
    elif folder.is_file():
        raise CheckpointError(f"There is no checkpoint folder {folder}: that is a file. Give the folder it belongs to.")
    elif not folder.is_dir():
        raise CheckpointError(f"There is no checkpoint folder {folder}.")
    else:
        raise CheckpointError(
            f"{folder} holds no WeGen checkpoint: neither {CONFIG_FILE} with {part_file(PARTS[0])} (packed, written by "
            f"'wegen convert') nor {AGENT_FILE} (published) is there."
        )
    _check_vocabulary(checkpoint)
    return checkpoint


def checkpoint_kind(folder: Path) -> str | None:
    """ "packed", "published", or None when `folder` is neither."""
    # One part is enough to know what the folder is meant to be; which others are missing is then said by name.
    # Nothing is raised for a folder that may not be read: it stands beside those that may.
    isfile = os.path.isfile
    if isfile(folder / CONFIG_FILE) and any(isfile(folder / part_file(part)) for part in PARTS):
        return "packed"
    if isfile(folder / AGENT_FILE) or isfile(folder / PUBLISHED_NAME / AGENT_FILE):
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
        values = json.loads(path.read_text(encoding="utf-8-sig"))  # Windows editors put a mark before it
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object.")
    return values


class _File:
    """One file. Tensors are read into memory of their own, never mapped.

    Pages of a mapped file count as this process's memory, and a file that is cut short while it is mapped ends the
    process.
    """

    def __init__(self, path: Path):
        self.path = path
        self.stamp = file_stamp(path)

    def read(self, begin: int, count: int) -> Tensor:
        """`count` bytes from `begin` on."""
        memory = torch.empty(count, dtype=torch.uint8)
        with self.path.open("rb", buffering=0) as file:
            if file_stamp(self.path) != self.stamp:
                raise CheckpointError(f"{self.path} was changed while it was in use; load the model again.")
            if hasattr(os, "posix_fadvise"):  # the disk goes on while memory is made ready for what it has read
                os.posix_fadvise(file.fileno(), begin, count + AHEAD, os.POSIX_FADV_WILLNEED)
            file.seek(begin)
            left = memoryview(memory.numpy())
            while len(left):
                got = file.readinto(left)
                if not got:
                    raise CheckpointError(f"{self.path} was cut short while it was in use; load the model again.")
                left = left[got:]
        return memory


class SafetensorsFile(_File):
    """One safetensors file: what its header says, and the tensors when they are asked for.

    Raises:
        CheckpointError, ValueError, RecursionError: see `safetensors_contents`.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        self.places, self.about = safetensors_contents(path)

    def tensor(self, key: str) -> Tensor:
        place = self.places[key]
        return self.read(place.begin, place.bytes).view(place.dtype).view(place.shape)

    def stored(self, key: str) -> StoredTensor:
        place = self.places[key]
        return StoredTensor(self.path, key, place.shape, partial(self.tensor, key), place.dtype)


def file_stamp(path: Path) -> tuple[int, int]:
    """Changes when a file does."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def checkpoint_stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes when a file of a checkpoint's folder does, or one behind a link in it: path, bytes and time of each."""
    stamps, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:  # a link that leads to where it is
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        stamps += [(str(path), *file_stamp(path)) for name in sorted(names) if (path := Path(place, name)).is_file()]
    return tuple(stamps)


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Names and shapes in a safetensors file. Tensors are read when they are asked for, quantised ones turned back."""
    if not path.is_file():
        raise CheckpointError(f"The checkpoint needs {path}, which does not exist.")
    try:
        _refuse_stand_in(path)
        file = SafetensorsFile(path)
        layers = from_header(file.about, path)
    except CheckpointError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}.") from error
    tensors = {key: file.stored(key) for key in file.places}
    for name, layer in layers.items():
        ends = piece_names(layer)
        pieces = {end: tensors.pop(f"{name}.{end}", None) for end in ends}
        missing = [end for end, piece in pieces.items() if piece is None]
        if missing:
            raise CheckpointError(f"{path}: {name!r} is quantised, but its {missing[0].replace('_', ' ')} is missing.")
        key, weight = f"{name}.weight", pieces["weight"]
        tensors[key] = StoredTensor(
            path,
            key,
            whole_shape(weight.shape, layer),
            partial(_turn_back, pieces, layer),
            weight.dtype,
            layer,
            pieces,
        )
    return tensors


def _turn_back(pieces: Mapping[str, StoredTensor], layer: Mapping[str, Any]) -> Tensor:
    return dequantise({end: piece.read() for end, piece in pieces.items()}, layer)


def read_pickle(path: Path) -> dict[str, StoredTensor]:
    """Names and shapes in a pickled state dict; a pickle that holds anything but tensors is refused.

    Tensors are read when they are asked for, except those of files from before PyTorch 1.6, which are read here.
    """
    if not path.is_file():
        raise CheckpointError(f"The checkpoint needs {path}, which does not exist.")
    try:
        _refuse_stand_in(path)
        file = _File(path)
        if zipfile.is_zipfile(path):
            return {
                key: StoredTensor(path, key, place.shape, partial(_read_strided, file, place), place.dtype)
                for key, place in tensor_places(path).items()
            }
        values = torch.load(path, map_location="cpu", weights_only=True)
        require_state_dict(values)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} was not loaded: it is damaged, or holds something else than tensors, which could run code "
            f"({_first_line(error)})."
        ) from error
    except CheckpointError:
        raise
    # Damaged pickles make the unpickler stumble in many ways, over indices and attributes of its own among them.
    except (
        RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
        OverflowError, struct.error, zlib.error, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        if is_out_of_memory(error):
            raise
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that is a wrong place in the file
            raise _unreadable(path, error) from error
        raise CheckpointError(f"{path} is damaged or no PyTorch file: {_first_line(error)}.") from error
    return {key: StoredTensor(path, key, tuple(t.shape), t.detach().clone, t.dtype) for key, t in values.items()}


def _read_strided(file: _File, place: TensorPlace) -> Tensor:
    if 0 in place.shape:
        return torch.empty(place.shape, dtype=place.dtype)
    numbers = file.read(place.begin, place.bytes).view(place.dtype)
    return numbers.as_strided(place.shape, place.stride).contiguous()


def _refuse_stand_in(path: Path) -> None:
    """Raises CheckpointError for what a broken download leaves in the place of weights."""
    with path.open("rb") as file:
        begin = file.read(64).lstrip()
    for mark, what in ((b"version https://git-lfs", "a Git LFS pointer"), (b"<", "a web page")):
        if begin.startswith(mark):
            raise CheckpointError(f"{path} is {what} and not the weights: download the file itself.")


def _unreadable(path: Path, error: OSError) -> Exception:
    """What to raise for an error of the system at a file: lack of memory as it is, as that is no fault of the file."""
    return error if is_out_of_memory(error) else CheckpointError(f"{path} cannot be read: {error.strerror or error}.")


def _first_line(error: Exception) -> str:
    """The reason alone: PyTorch puts advice around it that is no way out here."""
    _, _, reason = str(error).rpartition("WeightsUnpickler error: ")
    return (reason.strip().splitlines() or ["its data end too early"])[0].rstrip(".")


def _diffusers_files(folder: Path) -> list[Path]:
    """The files of weights in a diffusers model folder; what a download has not finished is none of them."""
    return [path for path in folder.glob("*") if DIFFUSERS_FILE.fullmatch(path.name)]


def _read_diffusers(folder: Path, variant: str = "") -> dict[str, StoredTensor]:
    """The weights of a diffusers model folder: the variant that the published code asks for ("" is the plain file),
    else the plain file, else any other; safetensors before pickles."""

    def preference(path: Path) -> tuple:
        form = DIFFUSERS_FILE.fullmatch(path.name).group(1) or ""
        return path.suffix != ".safetensors", form != variant, form != "", form

    found = sorted(_diffusers_files(folder), key=preference)
    if not found:
        raise CheckpointError(f"The checkpoint needs diffusion_pytorch_model.safetensors in {folder}.")
    return read_safetensors(found[0]) if found[0].suffix == ".safetensors" else read_pickle(found[0])


def _number(values: Mapping, key: str, default: float, file: Path) -> float:
    """A number of a JSON file, of the type of `default`; null counts as absent."""
    value = default if values.get(key) is None else values[key]
    if not is_a(value, type(default)):
        raise CheckpointError(f"{file}: {key} must be {in_words(type(default))}, got {value!r}.")
    return type(default)(value)


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
        config = WeGenConfig.from_json(path.read_text(encoding="utf-8-sig"), str(path))
    except CheckpointError:
        raise
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not a text in UTF-8: {error}. Save it in that encoding.") from error
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
    if not unet or _diffusers_files(folder / UNET_FOLDER):
        unet = {**_read_diffusers(folder / UNET_FOLDER, UNET_VARIANT), **unet}
    if not vae or _diffusers_files(folder / VAE_FOLDER):
        vae = {**_read_diffusers(folder / VAE_FOLDER), **vae}
    language = {key: entry for key, entry in agent.items() if not key.startswith("adapter.")}

    vision_config = _vision_config(vision, folder)
    try:
        unet_config = _diffusers_config(UNetConfig, folder / UNET_FOLDER / CONFIG_FILE)
        vae_config = _diffusers_config(VAEConfig, folder / VAE_FOLDER / CONFIG_FILE)
        config = WeGenConfig(
            vision=vision_config,
            language=_language_config(language, folder),
            unet=unet_config,
            vae=vae_config,
            schedule=_schedule_config(folder / SCHEDULER_FILE),
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


def _diffusers_config(kind: type[UNetConfig] | type[VAEConfig], file: Path) -> UNetConfig | VAEConfig:
    try:
        return kind.from_diffusers(_read_json(file), str(file))
    except CheckpointError:
        raise
    except WeGenError as error:
        raise CheckpointError(str(error)) from error


def _vision_config(vision: Mapping[str, StoredTensor], folder: Path) -> VisionConfig:
    """Sizes from the weights; those that leave no trace there from `vision_config.json`, else the published ones."""
    file = folder / VISION_FILE
    width, _, patch, _ = _shape(vision, "patch_embed.proj.weight", file, 4)
    positions = _shape(vision, "pos_embed", file, 3)[1]
    grid = round((positions - 1) ** 0.5)
    if grid**2 + 1 != positions:
        raise CheckpointError(f"{file}: 'pos_embed' has {positions} positions, expected a square and one.")
    places = [place / VISION_CONFIG_FILE for place in (folder, folder.parent)]
    extra_file = next((place for place in places if place.is_file()), places[0])
    extra = _read_json(extra_file) if extra_file.is_file() else {}
    try:
        return VisionConfig(
            image_size=grid * patch,
            patch_size=patch,
            width=width,
            layers=_count(vision, r"blocks\.(\d+)\."),
            head_width=_number(extra, "head_width", VisionConfig.head_width, extra_file),
            mlp_width=_shape(vision, "blocks.0.mlp.fc1.weight", file, 2)[0],
            qkv_bias="blocks.0.attn.qkv.bias" in vision,
            layer_norm_eps=_number(extra, "layer_norm_eps", VisionConfig.layer_norm_eps, extra_file),
        )
    except CheckpointError:
        raise
    except WeGenError as error:
        raise CheckpointError(f"{file}: {error} Put the right one into {VISION_CONFIG_FILE} in {folder}.") from error


def _language_config(agent: Mapping[str, StoredTensor], folder: Path) -> LanguageConfig:
    file = folder / AGENT_FILE
    vocab_size, width = _shape(agent, "llm.model.embed_tokens.weight", file, 2)
    sizes = folder / LLAMA_CONFIG_FILE
    values = _read_json(sizes)
    published = LanguageConfig()
    heads = _number(values, "num_attention_heads", published.heads, sizes)
    if heads < 1 or width % heads:
        raise CheckpointError(f"{sizes}: {heads} heads do not divide the width {width} of {file}.")
    kv_width = _shape(agent, "llm.model.layers.0.self_attn.k_proj.weight", file, 2)[0]
    return LanguageConfig(
        vocab_size=vocab_size,
        width=width,
        mlp_width=_shape(agent, "llm.model.layers.0.mlp.gate_proj.weight", file, 2)[0],
        layers=_count(agent, r"llm\.model\.layers\.(\d+)\."),
        heads=heads,
        kv_heads=kv_width // (width // heads),
        norm_eps=_number(values, "rms_norm_eps", published.norm_eps, sizes),
        rope_theta=_number(values, "rope_theta", published.rope_theta, sizes),
        context_length=_number(values, "max_position_embeddings", published.context_length, sizes),
    )


def _schedule_config(file: Path) -> ScheduleConfig:
    values = _read_json(file)
    expected = {"beta_schedule": "scaled_linear", "prediction_type": "epsilon", "timestep_spacing": "leading"}
    for name, wanted in expected.items():
        if values.get(name, wanted) != wanted:
            raise CheckpointError(f"{file}: {name} is {values[name]!r}; WeGen's decoder needs {wanted!r}.")
    names = [field.name for field in dataclasses.fields(ScheduleConfig)]
    return ScheduleConfig(**{name: _number(values, name, getattr(ScheduleConfig, name), file) for name in names})
