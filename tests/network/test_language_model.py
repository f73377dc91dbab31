"""The language model: a cache changes nothing, whatever the rows' lengths and the number of heads."""

from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.network import language_model
from comfyui_wegen.models.network.configuration import LanguageConfig
from comfyui_wegen.models.network.language_model import LanguageModel

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module", params=[4, 2, 1], ids=lambda n: f"{n}kv")
def model(request):
    config = LanguageConfig(
        vocab_size=50, width=32, mlp_width=40, layers=3, heads=4, kv_heads=request.param, context_length=64
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return LanguageModel(config).eval().requires_grad_(False)


def embeddings(batch, tokens, seed=0):
    return torch.randn(batch, tokens, 32, generator=torch.Generator().manual_seed(seed))


def cache_for(model, batch, capacity=64):
    return model.new_cache(batch, capacity, torch.float32, torch.device("cpu"))


def decode_attention(q, k, v, lengths):
    """What a card's function for single tokens computes, row by row."""
    assert q.shape[1] == 1 and k.is_contiguous() and v.is_contiguous() and lengths.dtype == torch.int32
    rows = []
    for row, length in enumerate(lengths.tolist()):
        seen = (one[row : row + 1, :length].transpose(1, 2) for one in (k, v))
        rows.append(F.scaled_dot_product_attention(q[row : row + 1].transpose(1, 2), *seen, enable_gqa=True))
    return torch.cat(rows).transpose(1, 2)


def test_a_cache_changes_nothing(model):
    x = embeddings(2, 12)
    whole = model(x)
    cache = cache_for(model, 2)
    pieces = [model(piece, cache) for piece in x.split([5, 1, 1, 4, 1], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, **CLOSE)
    assert cache.lengths.tolist() == [12, 12]


def test_later_tokens_do_not_reach_back(model):
    x = embeddings(1, 8)
    changed = x.clone()
    changed[:, 5:] += 1
    torch.testing.assert_close(model(x)[:, :5], model(changed)[:, :5], **CLOSE)
    assert not torch.allclose(model(x)[:, 5:], model(changed)[:, 5:], atol=1e-2)


@pytest.mark.parametrize("lengths", [[3, 7, 5], [7, 7, 3], [3, 7, 7], [5, 5, 5]], ids=str)
def test_rows_of_different_lengths_are_as_if_alone(model, lengths):
    rows = [embeddings(1, n, seed=10 * b + n) for b, n in enumerate(lengths)]
    tails = [embeddings(1, 4, seed=100 + 10 * b + n) for b, n in enumerate(lengths)]
    padded = torch.full((3, max(lengths), 32), 9.0)  # what stands in the padding must not matter
    for b, row in enumerate(rows):
        padded[b, : row.shape[1]] = row[0]
    cache = cache_for(model, 3)
    first = model(padded, cache, lengths)
    second = torch.cat([model(torch.cat(tails)[:, t : t + 1], cache) for t in range(4)], dim=1)
    for b, (row, tail) in enumerate(zip(rows, tails, strict=True)):
        alone = model(torch.cat([row, tail], dim=1))[0]
        torch.testing.assert_close(first[b, : lengths[b]], alone[: lengths[b]], **CLOSE)
        torch.testing.assert_close(second[b], alone[lengths[b] :], **CLOSE)


def test_rows_are_looked_at_in_groups_of_their_length(model, monkeypatch):
    """On a CPU at one token: without a mask, and nothing is computed that would be hidden by one."""
    monkeypatch.setattr(language_model, "APART", 0)
    cache = cache_for(model, 4)
    model(embeddings(4, 6), cache, [6, 6, 2, 2])
    step = cache.step(1)
    assert step.groups == [(0, 2, 7), (2, 4, 3)] and step.mask is None
    model(embeddings(4, 1), cache, [1, 0, 1, 1])
    assert not cache.step(1).groups and cache.step(1).mask is not None  # three lengths: all at once is faster


def test_rows_that_see_nearly_the_same_are_looked_at_together(model):
    cache = cache_for(model, 2)
    model(embeddings(2, 6), cache, [6, 2])
    step = cache.step(1)
    assert not step.groups and step.window == 7
    assert step.mask is not None and step.mask.isinf().sum(-1).flatten().tolist() == [0, 4]


def test_a_row_can_pause(model):
    x = embeddings(2, 6)
    cache = cache_for(model, 2)
    model(x[:, :3], cache)
    model(x[:, 3:4], cache, [1, 0])
    assert cache.lengths.tolist() == [4, 3]
    # The paused row's next token takes the place of the one that did not count.
    last = model(torch.stack([x[0, 4:5], x[1, 3:4]]), cache)
    torch.testing.assert_close(last[0, 0], model(x[:1, :5])[0, -1], **CLOSE)
    torch.testing.assert_close(last[1, 0], model(x[1:, :4])[0, -1], **CLOSE)


def test_a_repeated_cache_goes_on_alike_and_apart(model):
    x = embeddings(1, 5)
    cache = cache_for(model, 1)
    model(x, cache)
    many = cache.select([0] * 3)
    tails = embeddings(3, 2, seed=7)
    got = model(tails, many)
    for b in range(3):
        torch.testing.assert_close(got[b], model(torch.cat([x, tails[b : b + 1]], dim=1))[0, 5:], **CLOSE)
    assert cache.lengths.tolist() == [5]


def test_a_restarted_cache_is_a_new_one(model):
    cache = cache_for(model, 1)
    model(embeddings(1, 9), cache)
    cache.restart()
    x = embeddings(1, 4, seed=3)
    torch.testing.assert_close(model(x, cache), model(x), **CLOSE)


def test_positions_matter(model):
    x = embeddings(1, 1)
    cache = cache_for(model, 1)
    model(embeddings(1, 3), cache)
    assert not torch.allclose(model(x, cache), model(x), atol=1e-3)


def test_the_context_length_is_kept(model):
    cache_for(model, 1, 64)
    with pytest.raises(WeGenError, match="needs 65 tokens; the model's context holds 64"):
        cache_for(model, 1, 65)


def test_logits_are_float32_in_any_precision(model):
    hidden = model(embeddings(1, 2))
    assert model.logits(hidden).dtype == torch.float32
    assert model.logits(hidden).shape == (1, 2, 50)


def test_layers_come_from_the_injected_operations():
    made = []

    class Operations:
        @staticmethod
        def Linear(*args, **kwargs):
            made.append("linear")
            return torch.nn.Linear(*args, **kwargs)

        Embedding, RMSNorm = torch.nn.Embedding, torch.nn.RMSNorm

    LanguageModel(LanguageConfig(vocab_size=5, width=8, mlp_width=8, layers=1, heads=2, kv_heads=2), Operations)
    assert len(made) == 4 + 3 + 1


def test_attention_of_the_hosts_own_changes_nothing(model, monkeypatch):
    """Whatever is done with a cache: rows of different lengths, some of its rows, a row twice, and from the start."""
    asked = mock.Mock(side_effect=decode_attention)

    def run():
        cache = cache_for(model, 3)
        found = [model(embeddings(3, 6), cache, [3, 6, 5])]
        found += [model(embeddings(3, 1, seed), cache) for seed in (1, 2)]
        first, rest = cache.rows(slice(0, 1)), cache.rows(slice(1, 3))
        found += [model(embeddings(1, 1, 3), first), model(embeddings(2, 2, 4), rest), model(embeddings(2, 1, 5), rest)]
        chosen = rest.select([1, 0, 1])
        found += [model(embeddings(3, 1, seed), chosen) for seed in (6, 7)]
        cache.restart()
        return [*found, model(embeddings(3, 4, 8), cache), model(embeddings(3, 1, 9), cache)]

    wanted = run()
    monkeypatch.setattr(model, "decode_attention", lambda device, dtype, width: asked)
    for one, other in zip(run(), wanted, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)
    assert asked.call_count == 7 * len(model.model.layers)
