"""The vision encoder and its pooling."""

import dataclasses

import pytest
import torch
from comfyui_wegen.models.checkpoints.wegen import LOOKED_AT_ONCE, WeGen
from comfyui_wegen.models.network.vision_encoder import VisionEncoder, pool_features
from tiny import tiny_config


def test_pooling_averages_square_cells():
    grid = torch.arange(16.0).reshape(1, 16, 1)  # rows 0 1 2 3 / 4 5 6 7 / ...
    assert pool_features(grid, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert torch.equal(pool_features(grid, 4), grid)


def test_pooling_is_that_of_a_convolution_net():
    patches = torch.randn(2, 256, 5)
    square = patches.transpose(1, 2).reshape(2, 5, 16, 16)
    expected = torch.nn.functional.avg_pool2d(square, 2).flatten(2).transpose(1, 2)
    torch.testing.assert_close(pool_features(patches, 8), expected)


def test_normalised_features_have_no_scale_of_their_own():
    config = dataclasses.replace(tiny_config().vision, normalize_features=True)
    features = VisionEncoder(config)(torch.randn(1, 3, 32, 32))
    assert features.shape == (1, 256, 32)
    torch.testing.assert_close(features.mean(-1), torch.zeros(1, 256), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.var(-1, unbiased=False), torch.ones(1, 256), atol=1e-3, rtol=0)


def test_encoding_is_the_same_alone_and_in_a_batch(tiny):
    from PIL import Image

    wegen, _ = tiny
    pictures = [Image.new("RGB", (40, 20), "red"), Image.radial_gradient("L")]
    together = wegen.encode_pictures(pictures)
    assert together.shape == (2, 64, 32) and together.dtype == torch.float32
    for picture, features in zip(pictures, together, strict=True):
        torch.testing.assert_close(wegen.encode_pictures([picture])[0], features, atol=1e-5, rtol=1e-4)


def test_many_pictures_are_looked_at_a_few_at_a_time(tiny, monkeypatch):
    from PIL import Image

    wegen, _ = tiny
    pictures = [Image.new("RGB", (8, 8), (10 * number, 90, 200)) for number in range(2 * LOOKED_AT_ONCE + 1)]
    sizes = []
    encode = WeGen.encode_pixels
    monkeypatch.setattr(WeGen, "encode_pixels", lambda self, pixels: sizes.append(len(pixels)) or encode(self, pixels))
    found = wegen.encode_pictures(pictures)
    assert sizes == [LOOKED_AT_ONCE, LOOKED_AT_ONCE, 1] and len(found) == len(pictures)
    torch.testing.assert_close(wegen.encode_pictures(pictures[-1:]), found[-1:], atol=1e-5, rtol=1e-4)


def test_features_can_be_used_like_any_tensor(tiny):
    from PIL import Image

    features = tiny[0].encode_pictures([Image.new("RGB", (8, 8))])
    assert not features.is_inference()
    features += 1  # an inference tensor would refuse


def test_embedding_puts_features_in_their_places(tiny):
    wegen, _ = tiny
    first, second = torch.randn(2, 64, 32)
    picture = list(wegen.tokenizer.picture_ids)
    ids = [1, *picture, 5, *picture]
    embedded = wegen.embed(ids, [first, second])
    torch.testing.assert_close(embedded[2:66], wegen.agent.embed_features(first))
    torch.testing.assert_close(embedded[69:133], wegen.agent.embed_features(second))
    plain = wegen.agent.llm.embed(torch.tensor(ids))
    for place in (0, 1, 66, 67, 68, 133):
        assert torch.equal(embedded[place], plain[place])
    with pytest.raises(ValueError, match="room for 2 pictures, 1 were given"):
        wegen.embed(ids, [first])
