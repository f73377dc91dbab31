"""A WeGen of a few hundred thousand random numbers, in both checkpoint layouts, made from nothing but this file."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

import sentencepiece
import torch
from comfyui_wegen.models.checkpoints.reader import (
    AGENT_FILE,
    LLAMA_CONFIG_FILE,
    SCHEDULER_FILE,
    TOKENIZER_FOLDER,
    UNET_FOLDER,
    VAE_FOLDER,
    VISION_CONFIG_FILE,
    VISION_FILE,
    part_file,
)
from comfyui_wegen.models.checkpoints.tokenizer import Tokenizer, picture_token
from comfyui_wegen.models.network.agent import Agent
from comfyui_wegen.models.network.configuration import LanguageConfig, UNetConfig, VAEConfig, VisionConfig, WeGenConfig
from comfyui_wegen.models.network.decoder import make_vae
from comfyui_wegen.models.network.vision_encoder import VisionEncoder
from safetensors.torch import save_file

SENTENCES = """
Generate a painting: a red cat on the roof of the old house, with the moon above.
Describe in detail a painting of: a small boat at sea, three fish and a blue star.
make it night, keep the same style and put the second picture on the left side!
[INST] what is in the first one? [/INST] A yellow flower (large), 12 trees; two suns.
""".strip().splitlines()

ADDED = ["<img>", "</img>", *(picture_token(i) for i in range(100)), *(f"<loc-{i}>" for i in range(224)), "<box_start>"]


@cache
def tokenizer_model() -> bytes:
    """A SentencePiece model with LLaMA's settings (BPE, bytes for what it does not know, nothing normalised)."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=written,
        model_type="bpe",
        vocab_size=380,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    return written.getvalue()


@cache
def added_tokens() -> dict[str, int]:
    pieces = sentencepiece.SentencePieceProcessor(model_proto=tokenizer_model()).get_piece_size()
    return {token: pieces + index for index, token in enumerate(ADDED)}


def tiny_tokenizer() -> Tokenizer:
    return Tokenizer(tokenizer_model(), added_tokens())


def tiny_config(compact: bool = False) -> WeGenConfig:
    """Tiny sizes in the published layout, or with the small models' VAE and its latents of 8 channels."""
    latent_channels = 8 if compact else 4
    return WeGenConfig(
        vision=VisionConfig(image_size=32, patch_size=2, width=32, layers=2, head_width=16, mlp_width=48),
        language=LanguageConfig(
            vocab_size=tiny_tokenizer().vocab_size,
            width=32,
            mlp_width=48,
            layers=2,
            heads=4,
            kv_heads=2,
            context_length=2048,
        ),
        unet=UNetConfig(
            in_channels=latent_channels,
            out_channels=latent_channels,
            block_out_channels=(32, 64),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            transformer_layers_per_block=(1, 1),
            attention_head_dim=(1, 2),
            cross_attention_dim=32,
            projection_class_embeddings_input_dim=32 + 6 * 256,
            sample_size=16,
        ),
        vae=VAEConfig(
            block_out_channels=(32, 32),
            layers_per_block=1,
            sample_size=32,
            latent_channels=latent_channels,
            patch=4 if compact else 1,
            decoder_layers_per_block=3 if compact else None,
        ),
        size=32,
        name="tiny",
    )


@cache
def weights(compact: bool = False) -> dict[str, dict[str, torch.Tensor]]:
    """Random weights of every part. Shared: copy before you change any."""
    from diffusers import UNet2DConditionModel

    config = tiny_config(compact)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        agent = Agent(config)
        with torch.no_grad():
            # At their usual start all words would be about as likely: make the model prefer some.
            agent.llm.model.embed_tokens.weight.normal_(0, 1)
            agent.llm.lm_head.weight.normal_(0, 0.5)
            agent.output_resampler.proj.weight.normal_(0, 0.3)
        parts = {
            "vision_encoder": VisionEncoder(config.vision),
            "language_model": agent,
            "unet": UNet2DConditionModel(**config.unet.to_diffusers()),
            "vae": make_vae(config.vae),
        }
    return {name: module.state_dict() for name, module in parts.items()}


def write_packed(folder: Path, compact: bool = False, **changed: dict[str, torch.Tensor]) -> Path:
    """The packed layout; `changed` gives parts other weights."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(tiny_config(compact).to_json())
    _write_tokenizer(folder)
    for name, state in weights(compact).items():
        save_file(changed.get(name, state), folder / part_file(name))
    return folder


def write_published(folder: Path) -> Path:
    """The published layout, with the quirks of the real one."""
    config, state = tiny_config(), weights()
    for sub in (VISION_FILE.parent, TOKENIZER_FOLDER, LLAMA_CONFIG_FILE.parent, UNET_FOLDER, VAE_FOLDER):
        (folder / sub).mkdir(parents=True)
    (folder / SCHEDULER_FILE.parent).mkdir(parents=True)
    agent = {
        **state["language_model"],
        **{f"adapter.unet.{key}": value for key, value in state["unet"].items()},
        "input_resampler.avgpoolquery.scale": torch.ones(1),
        "adapter.resampler.scale": torch.ones(1),
        "llm.model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
    }
    torch.save(agent, folder / AGENT_FILE)
    torch.save({**state["vision_encoder"], "norm.weight": torch.ones(32)}, folder / VISION_FILE)
    _write_tokenizer(folder / TOKENIZER_FOLDER)
    # The agent's UNet wins over this one.
    wrong = {key: torch.zeros_like(value, dtype=torch.bfloat16) for key, value in state["unet"].items()}
    save_file(wrong, folder / UNET_FOLDER / "diffusion_pytorch_model.bf16.safetensors")
    save_file(state["vae"], folder / VAE_FOLDER / "diffusion_pytorch_model.safetensors")
    language = config.language
    values = {
        LLAMA_CONFIG_FILE: {
            "num_attention_heads": language.heads,
            "rms_norm_eps": language.norm_eps,
            "max_position_embeddings": language.context_length,
        },
        UNET_FOLDER / "config.json": {**config.unet.to_diffusers(), "_class_name": "UNet2DConditionModel"},
        VAE_FOLDER / "config.json": {**config.vae.to_diffusers(), "_class_name": "AutoencoderKL"},
        SCHEDULER_FILE: {**asdict(config.schedule), "timestep_spacing": "leading"},
        Path(VISION_CONFIG_FILE): {"head_width": config.vision.head_width, "layer_norm_eps": 1e-6},
    }
    for path, content in values.items():
        (folder / path).write_text(json.dumps(content))
    return folder


def _write_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.model").write_bytes(tokenizer_model())
    (folder / "added_tokens.json").write_text(json.dumps(added_tokens()))
