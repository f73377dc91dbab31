"""What was read before is remembered, and never changes a result."""

from dataclasses import replace

import pytest
import torch
from comfyui_wegen.models.network.prefix_cache import BLOCK, PrefixCache
from comfyui_wegen.models.prompting.decoding import Decoding


@pytest.fixture
def wegen(tiny):
    return replace(tiny[0], prefixes=PrefixCache())


def sequence(wegen, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 300, (length,), generator=generator).tolist()
    return wegen.embed(ids)


def features(wegen, *prompts):
    return Decoding(wegen, prompts, room=70).write_picture().features


def fresh(wegen):
    return replace(wegen, prefixes=None)


def test_remembered_blocks_change_nothing_to_the_bit(wegen):
    chat = sequence(wegen, 3 * BLOCK + 40)
    longer = torch.cat([chat, sequence(wegen, 150, seed=1)])
    first = features(wegen, chat)
    assert (wegen.prefixes.found, wegen.prefixes.missed) == (0, 3)
    assert torch.equal(features(wegen, chat), first)
    assert (wegen.prefixes.found, wegen.prefixes.missed) == (3, 3)
    assert torch.equal(features(fresh(wegen), chat), first)
    assert torch.equal(features(wegen, longer), features(fresh(wegen), longer))
    assert wegen.prefixes.found == 6
    # A batch shares what its rows begin with.
    other = torch.cat([chat[: 2 * BLOCK + 7], sequence(wegen, 60, seed=2)])
    together = features(wegen, longer, other)
    assert torch.equal(together, features(fresh(wegen), longer, other))
    assert wegen.prefixes.found == 8


def test_whole_blocks_leave_a_token_to_go_on_from(wegen):
    chat = sequence(wegen, BLOCK)
    assert features(wegen, chat).isfinite().all() and wegen.prefixes.missed == 0
    features(wegen, torch.cat([chat, chat[:1]]))
    assert wegen.prefixes.missed == 1


def test_a_change_anywhere_before_reads_anew(wegen):
    chat = sequence(wegen, 2 * BLOCK + 1)
    features(wegen, chat)
    changed = chat.clone()
    changed[3, 0] += 1e-3
    assert not torch.equal(features(wegen, changed), features(wegen, chat))
    assert wegen.prefixes.missed == 4


def test_it_is_bounded_and_forgets_the_last_blocks_first(wegen):
    chat = sequence(wegen, 4 * BLOCK + 1)
    features(wegen, chat)
    size = wegen.prefixes.bytes // 4
    wegen.prefixes.clear()
    assert wegen.prefixes.bytes == 0
    wegen.prefixes.most_bytes = 3 * size
    expected = features(wegen, chat)
    assert wegen.prefixes.bytes == 3 * size
    wegen.prefixes.found = 0
    assert torch.equal(features(wegen, chat), expected)
    assert wegen.prefixes.bytes <= 3 * size
    wegen.prefixes.most_bytes = size - 1
    wegen.prefixes.clear()
    assert torch.equal(features(wegen, chat), expected) and wegen.prefixes.bytes == 0


def test_other_weights_begin_anew(wegen):
    features(wegen, sequence(wegen, BLOCK + 1))
    wegen.prefixes.belongs_to("a LoRA")
    assert wegen.prefixes.bytes == 0
    features(wegen, sequence(wegen, BLOCK + 1))
    wegen.prefixes.belongs_to("a LoRA")
    assert wegen.prefixes.bytes > 0


def test_blocks_are_kept_on_the_device_that_is_asked_for(wegen):
    """On "meta", which holds no numbers, as no machine has a card for this."""
    wegen = replace(wegen, prefixes=PrefixCache(device=torch.device("meta")))
    features(wegen, sequence(wegen, 2 * BLOCK + 1))
    assert {block.device.type for block in wegen.prefixes._blocks.values()} == {"meta"}
    assert wegen.prefixes.bytes > 0
