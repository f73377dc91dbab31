"""The configuration: what goes out to JSON comes back, and what cannot be is refused by name."""

import dataclasses
import json

import pytest
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.network.compact_vae import Block, CompactVAE
from comfyui_wegen.models.network.configuration import (
    LanguageConfig,
    ScheduleConfig,
    Templates,
    UNetConfig,
    VAEConfig,
    VisionConfig,
    WeGenConfig,
)
from tiny import tiny_config


@pytest.mark.parametrize("config", [WeGenConfig(), tiny_config()], ids=["published", "tiny"])
def test_json_round_trip(config):
    assert WeGenConfig.from_json(config.to_json()) == config


def test_round_trip_keeps_every_kind_of_value():
    vision = dataclasses.replace(tiny_config().vision, qkv_bias=False, layer_norm_eps=2e-5)
    templates = Templates(edit="[{pictures}|{text}]\n", mention="{picture}", rewrite_place="answer")
    vae = dataclasses.replace(tiny_config().vae, preview_factors=(0.5, -1.0, 2.0) * 5)
    config = dataclasses.replace(tiny_config(), vision=vision, templates=templates, vae=vae, name="größer")
    again = WeGenConfig.from_json(config.to_json())
    assert again == config
    assert isinstance(again.unet.block_out_channels, tuple)


def changed(path, value):
    values = json.loads(tiny_config().to_json())
    *outer, last = path.split(".")
    here = values
    for step in outer:
        here = here[step]
    here[last] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("format_version", 2, "format_version 2"),
        ("surprise", 1, "unknown here: surprise"),
        ("vision.depth", 1, "unknown here: vision.depth"),
        ("vision", [], ": vision must be an object"),
        ("vae.decoder_layers_per_block", 2, "decoder_layers_per_block is 2; it must be"),
        ("vision.width", "64", "vision.width must be a whole number, got '64'"),
        ("vision.width", 64.0, "vision.width must be a whole number"),
        ("vision.width", True, "vision.width must be a whole number"),
        ("vision.width", 33, "not a multiple of head_width 16"),
        ("vision.layers", 0, ": vision.layers is 0"),
        ("vision.layers", 257, "vision.layers is 257; it must be from 1 to 256"),
        ("language.width", 2**40, f"language.width is {2**40}; it must be from 1 to {2**20}"),
        ("unet.block_out_channels", [32, 2**62], f"unet.block_out_channels is (32, {2**62}); it must be"),
        ("vae.patch", 2**40, f"vae.patch is {2**40}; it must be from 0 to 256"),
        ("schedule.num_train_timesteps", 10**12, "schedule.num_train_timesteps is"),
        ("vision.qkv_bias", 1, "vision.qkv_bias must be true or false"),
        ("vision.layer_norm_eps", float("nan"), "must be a finite number, got nan"),
        ("language.kv_heads", 3, "cannot share 3"),
        ("language.heads", 0, ": language.heads is 0"),
        ("unet.block_out_channels", 32, "must be a list"),
        ("unet.block_out_channels", [32], "entries for 1 levels"),
        ("unet.cross_attention_dim", 64, "added embedding"),
        ("unet.block_out_channels", [], "is empty"),
        ("unet.down_block_types", ["Foo", "DownBlock2D"], "has ['Foo']"),
        ("vae.latent_channels", 8, "8"),
        ("vae.scaling_factor", 0.0, "scaling_factor is 0.0; it must be a number above 0"),
        ("vae.block_out_channels", [], "is empty"),
        ("vae.block_out_channels", [32, 0], "VAE block_out_channels is (32, 0); each must be 1 or more"),
        ("vae.in_channels", 4, "pictures have 3"),
        ("language.rope_theta", 0.0, "language.rope_theta is 0.0"),
        ("language.norm_eps", -1.0, "language.norm_eps is -1.0"),
        ("schedule.steps_offset", 1000, "steps_offset"),
        ("templates.turn", "{text}", "must hold {pictures} exactly once"),
        ("templates.mention", "{who}", "'mention'"),
        ("templates.mention", "{name.who}", "'mention'"),
        ("templates.rewrite_place", "nowhere", "nowhere"),
        ("told_size", "both", "told_size is 'both'; it must be 'picture' or 'model'"),
        ("tokens_per_picture", 60, "do not form a square"),
        ("tokens_per_picture", 25, "cannot be pooled evenly"),
    ],
)
def test_what_cannot_be_is_refused_with_file_and_key(path, value, word):
    with pytest.raises(WeGenError) as error:
        WeGenConfig.from_json(changed(path, value), "some/config.json")
    assert word in str(error.value)
    assert "some/config.json" in str(error.value)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("1" * 5000, "not valid JSON"),
        ("[]", "format_version"),
        ("{}", "format_version"),
    ],
)
def test_other_json_is_refused(text, word):
    with pytest.raises(WeGenError, match=word):
        WeGenConfig.from_json(text)


def test_the_unet_travels_through_diffusers_terms():
    config = tiny_config().unet
    assert UNetConfig.from_diffusers(config.to_diffusers()) == config
    scalar = {**config.to_diffusers(), "transformer_layers_per_block": 1, "sample_size": None}
    assert UNetConfig.from_diffusers(scalar).transformer_layers_per_block == (1, 1)
    assert UNetConfig.from_diffusers(scalar).sample_size == UNetConfig.sample_size
    with pytest.raises(WeGenError, match="entries for 3 levels"):
        UNetConfig.from_diffusers({**scalar, "block_out_channels": None})
    with pytest.raises(WeGenError, match=r"unet\.json.*block_out_channels"):
        UNetConfig.from_diffusers({**scalar, "block_out_channels": 320}, "unet.json")


def test_a_unet_of_another_kind_is_refused():
    values = {**tiny_config().unet.to_diffusers(), "addition_embed_type": None}
    with pytest.raises(WeGenError, match=r"unet.json: addition_embed_type is None.*'text_time'"):
        UNetConfig.from_diffusers(values, "unet.json")


def test_the_vae_travels_through_diffusers_terms():
    config = tiny_config().vae
    assert VAEConfig.from_diffusers({**config.to_diffusers(), "force_upcast": True}) == config
    assert config.downscale == 2


def test_a_compact_vae_may_have_a_deeper_decoder():
    def blocks(layers):
        vae = CompactVAE(
            VAEConfig(block_out_channels=(8, 8), layers_per_block=1, patch=4, decoder_layers_per_block=layers)
        )
        return [sum(isinstance(part, Block) for part in half) for half in (vae.encoder, vae.decoder)]

    assert blocks(None) == [2, 4] and blocks(3) == [2, 6]
    with pytest.raises(WeGenError, match="decoder_layers_per_block is -1"):
        blocks(-1)


def test_derived_sizes():
    config = WeGenConfig()
    assert (config.vision.grid, config.vision.heads, config.feature_grid) == (32, 16, 8)
    assert config.language.kv_cache_bytes(10, 2) == 2 * 32 * 4096 * 10 * 2


def test_the_unet_is_told_the_size_of_the_picture_or_the_models_own():
    config = tiny_config()
    assert config.size_told(48, 96) == (48, 96)
    assert dataclasses.replace(config, told_size="model").size_told(48, 96) == (config.size, config.size)


def test_configurations_cannot_change():
    for config in (WeGenConfig(), VisionConfig(), LanguageConfig(), UNetConfig(), ScheduleConfig()):
        with pytest.raises(dataclasses.FrozenInstanceError):
            config.width = 1


def test_a_world_is_one_that_is_known():
    assert WeGenConfig().world == ""
    assert WeGenConfig.from_json(dataclasses.replace(WeGenConfig(), world="storybook").to_json()).world == "storybook"
    with pytest.raises(WeGenError, match="'middle-earth'"):
        dataclasses.replace(WeGenConfig(), world="middle-earth")
