"""How much memory a computation takes beside its weights, counted on tensors that have shapes and no numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..network.agent import Agent
from ..network.configuration import VAEConfig, WeGenConfig
from ..network.decoder import empty_decoder, make_vae
from ..network.vision_encoder import VisionEncoder


class _LiveBytes(TorchDispatchMode):
    """Adds up what is alive of what operations have made; `peak` is the most at any moment."""

    def __init__(self, weights: nn.Module) -> None:
        super().__init__()
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self._own = {self._of(value) for value in (*weights.parameters(), *weights.buffers())}
        self.peak = 0

    @staticmethod
    def _of(value: Tensor) -> int:
        return value.untyped_storage()._cdata

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, Tensor) and self._of(value) not in self._own:
                storage = value.untyped_storage()
                self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._alive = {place: entry for place, entry in self._alive.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return made


class _AttentionInPieces(TorchFunctionMode):
    """Attention as kernels compute it: without the matrix of all tokens against all."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.scaled_dot_product_attention:
            named = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
            query, value = named["query"], named["value"]
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        return func(*args, **(kwargs or {}))


def peak_bytes(module: nn.Module, run: Callable[[], object]) -> int:
    """The most bytes that are alive at once beside the weights of a module on the meta device, while `run` uses it.

    Kernels that need room of their own, and what an allocator keeps, are not counted.
    """
    with torch.no_grad(), _AttentionInPieces(), _LiveBytes(module) as live:
        run()
    return live.peak


def decoding_bytes(config: VAEConfig, cells: int) -> int:
    """What a VAE needs beside its weights, in 32 bits, for a latent of `cells` x `cells`."""
    with torch.device("meta"):
        vae, painted = make_vae(config), torch.empty(1, config.latent_channels, cells, cells)
    return peak_bytes(vae, lambda: vae.decode(painted))


def working_bytes(config: WeGenConfig, positions: int, batch: int = 1) -> dict[str, int]:
    """What each part of a model needs beside its weights, in 16 bits and the VAE in 32.

    The VAE decodes one picture after another, as ComfyUI lets it where there is no room for more.

    Args:
        config: of the model.
        positions: tokens of a chat that the language model reads at once (at most what its context holds), with a
            picture to follow; with guidance, so that everything is there twice.
        batch: pictures that are drawn, or looked at, at once.
    """
    vision, language = config.vision, config.language
    half = {"dtype": torch.bfloat16, "device": "meta"}
    latent = config.size // config.vae.downscale
    unet, _ = empty_decoder(config)
    unet = nn.Module.to(unet, torch.bfloat16)  # diffusers' own warns of layers that it does not have here
    positions = min(positions, language.context_length - config.tokens_per_picture)
    with torch.device("meta"):
        encoder, agent = VisionEncoder(vision, **half), Agent(config, **half)
        pixels = torch.empty(batch, 3, vision.image_size, vision.image_size, dtype=torch.bfloat16)
        prompt = torch.empty(2 * batch, positions, language.width, dtype=torch.bfloat16)
        noisy = torch.empty(2 * batch, config.vae.latent_channels, latent, latent, dtype=torch.bfloat16)
        features = torch.empty(2 * batch, config.tokens_per_picture, vision.width, dtype=torch.bfloat16)
        conditions = {
            "text_embeds": torch.empty(2 * batch, vision.width, dtype=torch.bfloat16),
            "time_ids": torch.empty(2 * batch, 6),
        }
        time = torch.empty(2 * batch)

    def read() -> object:
        room = positions + config.tokens_per_picture
        with torch.device("meta"):
            return agent.llm(prompt, agent.llm.new_cache(2 * batch, room, torch.bfloat16, torch.device("meta")))

    return {
        "vision_encoder": peak_bytes(encoder, lambda: encoder(pixels)),
        "language_model": peak_bytes(agent, read),
        "unet": peak_bytes(unet, lambda: unet(noisy, time, features, added_cond_kwargs=conditions)),
        "vae": decoding_bytes(config.vae, latent),
    }
