"""Starting a training from the weights of a finished model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from einops import repeat
from safetensors.torch import load_file
from torch import Tensor, nn

from ..checkpoints.reader import CONFIG_FILE, part_file
from ..checkpoints.tokenizer import Tokenizer
from ..errors import WeGenError
from ..network.agent import Agent
from ..network.configuration import WeGenConfig
from ..network.vision_encoder import VisionEncoder

#: parameters that hold one row for each token
TABLES = ("llm.model.embed_tokens.weight", "llm.lm_head.weight")

LAYERS = "llm.model.layers."
KERNELS, POSITIONS = "patch_embed.proj.weight", "pos_embed"


@dataclass(frozen=True)
class PackedStart:
    """The packed folder of a finished model."""

    folder: Path

    def config(self) -> WeGenConfig:
        """Its sizes. Raises WeGenError where there is no such model."""
        path = self.folder / CONFIG_FILE
        if not path.is_file():
            raise WeGenError(f"There is no {path}: the entry 'start' of a recipe names the packed folder of a model.")
        return WeGenConfig.from_json(path.read_text(encoding="utf-8-sig"), str(path))

    def weights(self, part: str) -> dict[str, Tensor]:
        return {name: value.float() for name, value in load_file(self.folder / part_file(part)).items()}

    def fill(self, module: nn.Module, part: str) -> None:
        """Give a module the weights of a part of the same sizes."""
        module.load_state_dict(self.weights(part))

    def fill_encoder(self, encoder: VisionEncoder) -> None:
        """Give a vision encoder the weights of one with as many blocks or fewer, and patches as large or larger.

        Blocks beyond give back what they get, until they are trained. Where patches were larger, each of the smaller
        ones is seen as if it filled the whole, and stands where the whole stood.

        Raises:
            WeGenError: it has fewer blocks, or patches that those of the start cannot be divided into.
        """
        state, layers = encoder.state_dict(), self.config().vision.layers
        if encoder.config.layers < layers:
            raise WeGenError(
                f"The vision encoder has {encoder.config.layers} blocks, fewer than the one in {self.folder} that it "
                f"starts from: give it {layers} or more in 'vision.layers'."
            )
        for number in range(layers, encoder.config.layers):
            for norm in ("norm1", "norm2"):
                state[f"blocks.{number}.{norm}.weight"].zero_()
                state[f"blocks.{number}.{norm}.bias"].zero_()
        weights = self.weights("vision_encoder")
        parts, rest = divmod(self.config().vision.patch_size, encoder.config.patch_size)
        if rest or not parts:
            raise WeGenError(
                f"The vision encoder has patches of {encoder.config.patch_size} pixels, and the one in {self.folder} "
                f"that it starts from of {self.config().vision.patch_size}: 'vision.patch_size' must divide that."
            )
        if parts > 1:
            weights[KERNELS] = F.avg_pool2d(weights[KERNELS], parts) * parts**2
            weights[POSITIONS] = _divided(weights[POSITIONS], parts)
        encoder.load_state_dict({**state, **weights})

    def fill_unet(self, unet: UNet2DConditionModel) -> None:
        """Give a UNet the weights of one with as many layers in each block or fewer.

        Layers beyond give back what they get, until they are trained.

        Raises:
            WeGenError: it has fewer layers.
        """
        old, new = self.config().unet.layers_per_block, unet.config["layers_per_block"]
        if new < old:
            raise WeGenError(
                f"The UNet has {new} layers in each block, fewer than the one in {self.folder} that it starts from: "
                f"give it {old} or more in 'unet.layers_per_block'."
            )
        state = unet.state_dict()
        # The new ones stand where what goes up meets the picture of the last layer that went down, or of a new one.
        places = {"down_blocks": range(old), "up_blocks": [0, *range(new - old + 1, new + 1)]}
        kept = {}
        for name, value in self.weights("unet").items():
            blocks, *rest = name.split(".")
            if blocks in places and rest[1] in ("resnets", "attentions"):
                rest[2] = str(places[blocks][int(rest[2])])
            kept[".".join([blocks, *rest])] = value
        for name in state.keys() - kept.keys():
            if ".conv2." in name or (".attentions." in name and ".proj_out." in name):
                state[name].zero_()
            elif ".conv_shortcut." in name:  # of what comes from below and what is put beside it, the first goes on
                torch.nn.init.dirac_(state[name]) if name.endswith("weight") else state[name].zero_()
        unet.load_state_dict({**state, **kept})

    def fill_agent(self, agent: Agent, tokenizer: Tokenizer) -> None:
        """Give an agent the weights of one with another vocabulary, and with as many layers or fewer.

        A piece that is new gets the mean row of the old pieces that spelled it, so that it means at first what they
        meant together. Picture tokens and single letters stay what they were. New layers stand evenly between the old
        ones; each is a copy of the one before it that adds nothing, until it is trained.

        Raises:
            WeGenError: it has fewer layers.
        """
        weights = self.weights("language_model")
        weights = _spread(weights, self.config().language.layers, agent.llm.config.layers, self.folder)
        old = Tokenizer.from_folder(self.folder, tokenizer.tokens_per_picture)
        spelled = [_spelling(tokenizer, old, index) for index in range(tokenizer.vocab_size)]
        for name in TABLES:
            weights[name] = torch.stack([weights[name][list(ids)].mean(dim=0) for ids in spelled])
        agent.load_state_dict(weights)


def _divided(positions: Tensor, parts: int) -> Tensor:
    """Positions `[1, 1 + grid^2, D]`, the first of the class token, for patches divided both ways: each has its own."""
    grid = math.isqrt(positions.shape[1] - 1)
    cells = repeat(positions[:, 1:], "b (h w) d -> b (h y w x) d", h=grid, y=parts, x=parts)
    return torch.cat([positions[:, :1], cells], dim=1)


def _spread(weights: dict[str, Tensor], old: int, new: int, folder: Path) -> dict[str, Tensor]:
    """The weights of a language model of `old` layers as those of one of `new`, which says the same."""
    if new < old:
        raise WeGenError(
            f"The language model has {new} layers, fewer than the one in {folder} that it starts from: give it {old} "
            "or more in 'language.layers'."
        )
    places = [-(-layer * new // old) for layer in range(old)]  # where each old layer stands
    spread = {name: value for name, value in weights.items() if not name.startswith(LAYERS)}
    for layer in range(new):
        before = max(number for number, place in enumerate(places) if place <= layer)
        for name, value in weights.items():
            if name.startswith(f"{LAYERS}{before}."):
                silent = layer not in places and name.endswith(("o_proj.weight", "down_proj.weight"))
                spread[name.replace(f"{LAYERS}{before}.", f"{LAYERS}{layer}.", 1)] = value * 0 if silent else value
    return spread


def _spelling(tokenizer: Tokenizer, old: Tokenizer, index: int) -> list[int]:
    """The old tokens that say what token `index` says."""
    names = {number: name for name, number in tokenizer.added_tokens.items()}
    if index in names:
        return [old.added_tokens[names[index]]]
    piece = tokenizer.pieces.id_to_piece(index)
    known = old.pieces.piece_to_id(piece)
    if known != old.pieces.unk_id() or index == tokenizer.pieces.unk_id():
        return [known]
    # The word marker that SentencePiece puts in front is there only when the piece begins a word.
    ids = old.pieces.encode(piece.replace("\u2581", " "))
    begins = piece.startswith("\u2581")
    marker = old.pieces.piece_to_id("\u2581")
    return [number for number in ids if begins or number != marker] or [old.pieces.unk_id()]
