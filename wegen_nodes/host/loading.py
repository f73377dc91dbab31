"""WeGen's parts in the host's model patchers: built with the host's operations, read when used, moved by the host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.quant_ops
import comfy.sd
import comfy.supported_models
import comfy.utils
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch import nn

from ...models.checkpoints.quantise import HEADER_KEY
from ...models.checkpoints.reader import Checkpoint, Part, checkpoint_kind, open_checkpoint, part_file
from ...models.errors import CheckpointError, WeGenError
from ...models.network.agent import Agent
from ...models.network.compact_vae import CompactVAE
from ...models.network.configuration import UNetConfig, VAEConfig
from ...models.network.vision_encoder import VisionEncoder
from .decode_attention import decode_attention
from .int8_layers import with_int8_products
from .parts import (
    Files,
    Weights,
    loads_on_demand,
    on_demand_patcher,
    part_patcher,
    pieces,
    placeholders,
    reading_errors,
    stored_names,
)

PRECISIONS = {"default": None, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
#: parts up to this many bytes in float32 are held in it on a CPU, where casting at each use would cost more
SMALL_PART = 2 * 1024**3


@cache
def _with_weights(operations):
    """The same operations with layers that have their weights from the beginning: under DynamicVRAM the host's own get
    them when they are loaded, but for layers that load in a way of their own."""

    class Linear(operations.Linear):
        def _load_from_state_dict(self, *arguments, **named):
            return nn.Linear._load_from_state_dict(self, *arguments, **named)

    class Embedding(operations.Embedding):
        def _load_from_state_dict(self, *arguments, **named):
            return nn.Embedding._load_from_state_dict(self, *arguments, **named)

    return type("WithWeights", (operations,), {"Linear": Linear, "Embedding": Embedding})


def load_part(folder: str, part: str, precision: str = "default", disable_dynamic: bool = False):
    """The vision encoder or the language model of a checkpoint folder, in a patcher of its own.

    Args:
        folder: a packed or published checkpoint folder.
        part: "vision_encoder" or "language_model".
        precision: a key of `PRECISIONS`.
        disable_dynamic: asked for by the host when it needs a patcher that does not load weights on demand; its weights
            are then read at once.

    Returns:
        A patcher of the host around the network. Where the host does not load weights on demand they are read when the
        patcher is first used, but for `disable_dynamic`.

    Raises:
        CheckpointError: no such checkpoint, or one that cannot be used.
        WeGenError: it is quantised in a way that this ComfyUI does not run, or there is too little memory for weights
            that are read at once.
        OutOfMemoryError: PyTorch's; memory ran out while weights were read.
    """
    checkpoint = open_checkpoint(folder)
    config = checkpoint.config
    classes = {
        "vision_encoder": lambda **kw: VisionEncoder(config.vision, **kw),
        "language_model": lambda **kw: Agent(config, **kw),
    }
    build = classes[part]
    tensors = checkpoint.parts[part]
    # Shapes are compared on a module without memory: a patcher that loads on demand would not notice a wrong one.
    tensors.check(build(device="meta"))
    load_device = comfy.model_management.get_torch_device()
    offload_device = comfy.model_management.text_encoder_offload_device()
    quantised = _require_quantised(tensors)
    weight_dtype = _weight_dtype(tensors, precision, load_device)
    on_demand = _on_demand(checkpoint, load_device) and not disable_dynamic
    operations = _operations(quantised, weight_dtype, load_device)
    if not (quantised or on_demand):
        operations = _with_weights(operations)

    def network(device) -> nn.Module:
        module = build(operations=operations, dtype=weight_dtype, device=device).eval().requires_grad_(False)
        if isinstance(module, Agent):
            module.llm.decode_attention = decode_attention
        # Kept here, since under DynamicVRAM the weights themselves are not there to be asked.
        module.weight_dtype = weight_dtype
        comfy.model_management.archive_model_dtypes(module)
        return module

    if on_demand:
        files = Files(tensors.files)
        with reading_errors(tensors.title, tensors.stored_bytes(), tensors.formats):
            module = network(offload_device)
            patcher = on_demand_patcher(module, files, load_device, offload_device)
            module.load_state_dict(_read(checkpoint, part, files), assign=patcher.is_dynamic())
    else:
        names = {key: key for key in tensors}
        patcher = _lazy(folder, part, names, network, load_device, offload_device, read=disable_dynamic)
    patcher.cached_patcher_init = (load_part, (folder, part, precision))
    return patcher


def load_unet(folder: str, precision: str = "default", disable_dynamic: bool = False):
    """The decoder's UNet as a native MODEL: stock samplers, LoRA, previews and patches work on it.

    Args:
        folder: a packed or published checkpoint folder.
        precision: a key of `PRECISIONS`. "default" is float32 for a small UNet on a CPU, else what the host takes for
            one that is stored like this. What is quantised stays so; the precision is that of the arithmetic then.
        disable_dynamic: as for `load_part`.

    Returns:
        A patcher of the host around its own SDXL model with the checkpoint's sizes, noise levels and latent format.

    Raises:
        CheckpointError: no such checkpoint, one that cannot be used, or tensors of other shapes than its sizes say.
        WeGenError: the host's own UNet has no place for such levels, or as `load_part`.
        OutOfMemoryError: as `load_part`.
    """
    checkpoint = open_checkpoint(folder)
    config, tensors = checkpoint.config, checkpoint.unet
    unet_config = host_unet_config(config.unet)
    load_device = comfy.model_management.get_torch_device()
    offload_device = comfy.model_management.unet_offload_device()
    quantised = _require_quantised(tensors)
    if PRECISIONS[precision] is not None:
        weight_dtype = PRECISIONS[precision]
    elif _small_on_cpu(tensors, load_device):
        weight_dtype = torch.float32
    else:
        weight_dtype = comfy.model_management.unet_dtype(
            model_params=_parameters(tensors), weight_dtype=_weight_dtype(tensors, precision, load_device)
        )
    model_config = WeGenDecoder(unet_config)
    model_config.quant_config = {"mixed_ops": True} if quantised else None
    model_config.latent_format = latent_format(config.vae)
    model_config.sampling_settings = {
        "linear_start": config.schedule.beta_start,
        "linear_end": config.schedule.beta_end,
        "timesteps": config.schedule.num_train_timesteps,
    }
    # Quantised weights do not say which type to compute in; a precision that was asked for does.
    stored = PRECISIONS[precision] if quantised else weight_dtype
    cast = comfy.model_management.unet_manual_cast(stored, load_device, model_config.supported_inference_dtypes)
    if quantised and cast is None:
        cast = stored
    model_config.set_inference_dtype(weight_dtype, cast)
    compute = model_config.manual_cast_dtype
    if quantised:
        operations = _operations(quantised, compute, load_device)
    else:
        operations = comfy.ops.pick_operations(weight_dtype, compute, model_config=model_config)
    model_config.custom_operations = operations
    on_demand = _on_demand(checkpoint, load_device) and not disable_dynamic

    model = model_config.get_model({}, "", device=None if on_demand else torch.device("meta"))
    # The host only logs what is missing or of another shape: a wrong file must not give a picture.
    # Shapes are taken from a network of plain layers: those that may be quantised have no weights before loading.
    plain = UNetModel(**unet_config, device="meta", operations=_with_weights(comfy.ops.manual_cast))
    own = {name: tuple(value.shape) for name, value in plain.state_dict().items()}
    names: dict[str, str] = {}
    for theirs, ours in comfy.utils.unet_to_diffusers(unet_config).items():
        # The host's table also has names that a UNet of these levels does not have; some stand for the same layer.
        if ours in own and (ours not in names or theirs in tensors):
            names[ours] = theirs
    if set(names) != set(own):
        raise WeGenError(f"The UNet of {folder} has a layout that ComfyUI's own UNet does not know.")
    tensors.check_shapes({theirs: own[ours] for ours, theirs in names.items()})
    if on_demand:
        files = Files(tensors.files)
        patcher = on_demand_patcher(model, files, load_device, offload_device)
        with reading_errors(tensors.title, tensors.stored_bytes(), tensors.formats):
            if not comfy.model_management.is_device_cpu(offload_device):
                model.to(offload_device)
            state = _read(checkpoint, "unet", files)
            weights = {ours: state[key] for ours, key, _ in pieces(tensors, names)}
            model.load_model_weights(weights, "", assign=patcher.is_dynamic())
    else:
        model.device = offload_device
        if not quantised:
            operations = _with_weights(operations)

        def network(device) -> nn.Module:
            # Not `unet_config`: the model's copy of it also holds the type of the weights.
            made = UNetModel(**model_config.unet_config, device=device, operations=operations)
            made.eval().requires_grad_(False)
            comfy.model_management.archive_model_dtypes(made)
            return made

        patcher = _lazy(folder, "unet", names, network, load_device, offload_device, disable_dynamic, model)
    patcher.cached_patcher_init = (load_unet, (folder, precision))
    return patcher


class _ReadVAE(comfy.sd.VAE):
    """The host's VAE, whose weights may have to be read before they are used or saved.

    Within `decode` and `encode` the host would take memory that runs out while they are read for a card that is full,
    and go on in tiles with weights that are not there.
    """

    def decode(self, *args, **kwargs):
        self._read()
        return super().decode(*args, **kwargs)

    def encode(self, *args, **kwargs):
        self._read()
        return super().encode(*args, **kwargs)

    def get_sd(self):
        self._read()
        return super().get_sd()

    def _read(self) -> None:
        if hasattr(self.patcher, "read"):  # those that load on demand, and their copies, have no such thing
            self.patcher.read()


def load_vae(folder: str, disable_dynamic: bool = False) -> comfy.sd.VAE:
    """The decoder's VAE as a native VAE: it batches, tiles and moves like any other. See `load_part`.

    It computes in the precision that the host takes for VAEs. Its weights are read when it is first used, or as the
    host needs them where it loads on demand.

    Args:
        folder: a packed or published checkpoint folder.
        disable_dynamic: load all weights at once also where the host could load them on demand.

    Raises:
        CheckpointError: no such checkpoint, one that cannot be used, or a VAE that the host's own has no place for.
    """
    checkpoint = open_checkpoint(folder)
    config = checkpoint.config.vae
    # The host's class reads the weights when it is made, so it gets a minimal network, which is then replaced.
    parameters = _host_vae_parameters(32, [1], 1, config.latent_channels)
    vae = _ReadVAE(sd=AutoencoderKL(**parameters).state_dict(), config={"params": parameters})
    build, names = (_compact_vae if config.patch > 1 else _published_vae)(checkpoint)

    def network(device) -> nn.Module:
        made = build(device).to(vae.vae_dtype).eval().requires_grad_(False)
        comfy.model_management.archive_model_dtypes(made)
        return made

    offload_device = comfy.model_management.vae_offload_device()
    if _on_demand(checkpoint, vae.device) and not disable_dynamic:
        files = Files(checkpoint.vae.files)
        with reading_errors(checkpoint.vae.title, checkpoint.vae.stored_bytes(), checkpoint.vae.formats):
            module = network(offload_device)
            vae.patcher = on_demand_patcher(module, files, vae.device, offload_device)
            state = _read(checkpoint, "vae", files)
            weights = {ours: state[theirs] for ours, theirs in names.items()}
            for name, value in weights.items():
                if ".attn_1." in name and value.ndim == 2:  # a 1x1 convolution of the host, and a linear layer here
                    weights[name] = value[:, :, None, None]
            module.load_state_dict(weights, assign=vae.patcher.is_dynamic())
    else:
        vae.patcher = _lazy(folder, "vae", names, network, vae.device, offload_device, disable_dynamic)
    vae.patcher.cached_patcher_init = (load_vae_patcher, (folder,))
    vae.first_stage_model = vae.patcher.model
    vae.size = None  # of the minimal network; asked for anew
    vae.model_size()
    vae.downscale_ratio = vae.upscale_ratio = config.downscale
    vae.latent_channels = config.latent_channels
    return vae


def load_vae_patcher(folder: str, disable_dynamic: bool = False) -> comfy.model_patcher.ModelPatcher:
    """Another patcher of that VAE, which the host makes to have it on another device as well.

    Args:
        folder, disable_dynamic: as for `load_vae`.

    Raises:
        CheckpointError: as `load_vae`.
    """
    return load_vae(folder, disable_dynamic).patcher


def _published_vae(checkpoint: Checkpoint) -> tuple[Callable[..., nn.Module], dict[str, str]]:
    """The host's own network, and its names of the checkpoint's tensors."""
    config, tensors = checkpoint.config.vae, checkpoint.vae
    width = config.block_out_channels[0]
    multiples = [channels // width for channels in config.block_out_channels]
    parameters = _host_vae_parameters(width, multiples, config.layers_per_block, config.latent_channels)

    def build(device) -> nn.Module:
        with torch.device(device):
            return AutoencoderKL(**parameters)

    names = {host_vae_name(name, len(multiples)): name for name in tensors}
    own = {name: tuple(value.shape) for name, value in build("meta").state_dict().items()}
    different = set(own) ^ set(names)
    if different:
        raise CheckpointError(
            f"The VAE of {checkpoint.folder} does not fit ComfyUI's own; first difference: {min(different)!r}."
        )
    expected = {}
    for ours, theirs in names.items():
        shape, stored = own[ours], tensors.stored[theirs].shape
        # Linear layers of the attention are 1x1 convolutions in the host.
        expected[theirs] = shape[:2] if ".attn_1." in ours and len(stored) == 2 and shape[2:] == (1, 1) else shape
    tensors.check_shapes(expected)
    return build, names


def _compact_vae(checkpoint: Checkpoint) -> tuple[Callable[..., nn.Module], dict[str, str]]:
    """The small models' network, and its names of the checkpoint's tensors."""
    config = checkpoint.config.vae
    checkpoint.vae.check(CompactVAE(config, device="meta"))
    names = {name: name for name in checkpoint.vae}
    return lambda device: CompactVAE(config, operations=comfy.ops.disable_weight_init, device=device), names


def _host_vae_parameters(width: int, multiples: list[int], layers: int, latent_channels: int) -> dict:
    return {
        "ddconfig": {
            "double_z": True,
            "z_channels": latent_channels,
            "resolution": 256,
            "in_channels": 3,
            "out_ch": 3,
            "ch": width,
            "ch_mult": multiples,
            "num_res_blocks": layers,
            "attn_resolutions": [],
            "dropout": 0.0,
        },
        "embed_dim": latent_channels,
    }


class WeGenDecoder(comfy.supported_models.SDXL):
    """SDXL's class with WeGen's sizes. It takes the head width from its own configuration, not SDXL's 64."""

    unet_extra_config = {}  # noqa: RUF012 - the host's own declaration

    def inpaint_model(self) -> bool:
        """Latents of more than SDXL's 4 channels do not make it a model that takes a mask as input."""
        return False


def host_unet_config(config: UNetConfig) -> dict:
    """A UNet configuration in the host's terms: keyword arguments of its `UNetModel`."""
    levels = len(config.block_out_channels)
    width = config.block_out_channels[0]
    down = [
        depth if "CrossAttn" in kind else 0
        for depth, kind in zip(config.transformer_layers_per_block, config.down_block_types, strict=True)
    ]
    return {
        "image_size": 32,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "model_channels": width,
        "channel_mult": [channels // width for channels in config.block_out_channels],
        "num_res_blocks": [config.layers_per_block] * levels,
        "transformer_depth": [depth for depth in down for _ in range(config.layers_per_block)],
        "transformer_depth_output": [depth for depth in down for _ in range(config.layers_per_block + 1)],
        "transformer_depth_middle": config.transformer_layers_per_block[-1],
        "num_heads": -1,
        "num_head_channels": width // config.attention_head_dim[0],
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "context_dim": config.cross_attention_dim,
        "adm_in_channels": config.projection_class_embeddings_input_dim,
        "num_classes": "sequential",
        "legacy": False,
    }


def latent_format(config: VAEConfig) -> comfy.latent_formats.LatentFormat:
    """The latent's scale and channels, and what colours it has for previews: SDXL's where the checkpoint says none and
    has the published kind of VAE."""
    latent = comfy.latent_formats.SDXL()
    latent.scale_factor = config.scaling_factor
    latent.latent_channels = config.latent_channels
    if config.preview_factors or config.patch > 1:
        rows = [list(config.preview_factors[i : i + 3]) for i in range(0, len(config.preview_factors), 3)]
        latent.latent_rgb_factors, latent.latent_rgb_factors_bias = (rows[:-1], rows[-1]) if rows else (None, None)
        latent.taesd_decoder_name = None  # made for SDXL's VAE
    return latent


def host_vae_name(name: str, levels: int) -> str:
    """Name of a parameter of diffusers' `AutoencoderKL` in the host's VAE.

    Args:
        name: as diffusers has it.
        levels: how many `block_out_channels` there are.
    """
    parts = name.split(".")
    if "quant_conv" in parts[0]:
        return name
    side, rest = parts[0], parts[1:]
    if rest[0] in ("down_blocks", "up_blocks"):
        level = int(rest[1])
        # The host counts the decoder's levels from the latent's end.
        direction, level = ("down", level) if rest[0] == "down_blocks" else ("up", levels - 1 - level)
        if rest[2] == "resnets":
            layer = "nin_shortcut" if rest[4] == "conv_shortcut" else rest[4]
            return ".".join([side, direction, str(level), "block", rest[3], layer, *rest[5:]])
        sampler = "downsample" if direction == "down" else "upsample"
        return ".".join([side, direction, str(level), sampler, *rest[4:]])
    if rest[0] == "mid_block":
        if rest[1] == "resnets":
            return ".".join([side, "mid", f"block_{int(rest[2]) + 1}", *rest[3:]])
        layer = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}[rest[3]]
        return ".".join([side, "mid", "attn_1", layer, rest[-1]])
    return ".".join([side, "norm_out" if rest[0] == "conv_norm_out" else rest[0], *rest[1:]])


def _lazy(folder: str, part: str, names, network, load_device, offload_device, read: bool = False, model=None):
    """A patcher of a part whose weights are read when it is used.

    Args:
        folder, part: of the checkpoint.
        names: the network's name of each weight, and the checkpoint's.
        network: makes the network on a device.
        load_device, offload_device: of the patcher.
        read: whether the weights are read at once, for good: patchers that the host makes around the model, as for
            `TorchCompileModel`, could not read them again.
        model: the host's model around the network; None: the network itself.
    """
    tensors = open_checkpoint(folder).parts[part]
    stored = stored_names(tensors, names)

    def empty() -> nn.Module:
        made = network(torch.device("meta"))
        if tensors.quantised:  # their layers have no weights, not even empty ones, before some are loaded
            made.load_state_dict(placeholders(stored))
        return made

    inside = empty()
    if model is None:
        model = inside
    else:
        model.diffusion_model = inside
    # Without memory of its own, which on Windows counts as used before there is anything in it. The host's quantised
    # layers put weights on the device that they were made for.
    device = torch.device("cpu" if tensors.quantised else "meta")
    weights = Weights(
        tensors, lambda: stored_names(open_checkpoint(folder).parts[part], names), inside, lambda: network(device)
    )
    patcher = part_patcher(model, weights, load_device, offload_device)
    if read:
        weights.keep(inside)
    return patcher


def _on_demand(checkpoint: Checkpoint, load_device) -> bool:
    """Whether the host reads weights when they are used, from the files themselves: it maps packed ones. Published ones
    would be in memory as long as the model, all 27 GB of them, so their parts come and go as on other hosts."""
    return loads_on_demand(load_device) and checkpoint_kind(checkpoint.folder) == "packed"


def _read(checkpoint: Checkpoint, part: str, files: Files) -> dict[str, torch.Tensor]:
    """All tensors of a packed part for a host that loads weights on demand.

    Raises:
        WeGenError: files that are gone or were changed.
    """
    files.check()
    comfy.model_management.throw_exception_if_processing_interrupted()
    file = str(checkpoint.folder / part_file(part))
    state, metadata = comfy.utils.load_torch_file(file, safe_load=True, return_metadata=True)
    if HEADER_KEY in (metadata or {}):
        state, _ = comfy.utils.convert_old_quants(state, metadata=metadata)
    return state


def _require_quantised(tensors: Part) -> bool:
    """Whether a part is quantised.

    Raises:
        WeGenError: it is, and this host does not know how to compute with that.
    """
    formats = tensors.formats
    known = getattr(comfy.quant_ops, "QUANT_ALGOS", {}) if hasattr(comfy.ops, "mixed_precision_ops") else {}
    unknown = sorted(formats - set(known))
    if unknown:
        raise WeGenError(
            f"This ComfyUI does not run weights in {unknown[0]!r} as in {tensors.files[0]}. Update it, or convert to "
            "another precision."
        )
    return bool(formats)


def _operations(quantised: bool, compute: torch.dtype | None, device: torch.device):
    if not quantised:
        return comfy.ops.manual_cast
    # Cards that multiply in fp8 would round what goes into a layer to fp8 as well, with a scale of 1: a value of 2000
    # would be cut to 448, and one of 0.001 be lost.
    disabled = {"float8_e4m3fn", "float8_e5m2"}
    for name in ("nvfp4", "mxfp8"):
        supports = getattr(comfy.model_management, f"supports_{name}_compute", None)
        if supports is None or not supports(device):
            disabled.add(name)
    operations = comfy.ops.mixed_precision_ops({"mixed_ops": True}, compute, disabled=disabled)
    return with_int8_products(operations, device)


def _parameters(tensors: Part) -> int:
    return sum(entry.elements for entry in tensors.stored.values())


def _small_on_cpu(tensors: Part, device: torch.device) -> bool:
    return comfy.model_management.is_device_cpu(device) and 4 * _parameters(tensors) <= SMALL_PART


def _weight_dtype(tensors: Part, precision: str, device: torch.device) -> torch.dtype:
    if PRECISIONS[precision] is not None:
        return PRECISIONS[precision]
    if _small_on_cpu(tensors, device):
        return torch.float32
    if tensors.quantised:  # for the layers that are not; a count of all weights would give int8
        return torch.bfloat16
    counts: Counter[torch.dtype] = Counter()
    for entry in tensors.stored.values():
        counts[entry.dtype] += entry.elements
    return counts.most_common(1)[0][0]


def compute_dtype(patcher) -> torch.dtype:
    """Precision of the arithmetic of a `load_part` patcher: that of its weights where the device is good at it."""
    stored, device = patcher.model.weight_dtype, patcher.load_device
    if comfy.model_management.is_device_cpu(device):
        return torch.float32
    if stored == torch.bfloat16 and comfy.model_management.should_use_bf16(device):
        return torch.bfloat16
    if stored != torch.float32 and comfy.model_management.should_use_fp16(device):
        return torch.float16
    return torch.float32
