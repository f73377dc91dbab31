"""Memory beside the weights, counted without computing."""

import pytest
import torch
import torch.nn.functional as F
from comfyui_wegen.models.checkpoints.activations import peak_bytes, working_bytes
from comfyui_wegen.models.checkpoints.random_weights import CONFIGS
from torch import nn

WIDE = 1000 * 4  # bytes of one tensor below


class Steps(nn.Module):
    """Three layers; `keep` holds on to what each of them makes."""

    def __init__(self, keep):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(1000, 1000, bias=False, device="meta") for _ in range(3))
        self.keep = keep

    def forward(self, x):
        held = []
        for layer in self.layers:
            x = layer(x)
            held = [*held, x] if self.keep else []
        return x


@pytest.mark.parametrize("keep, tensors", [(True, 3), (False, 2)])
def test_what_is_let_go_does_not_count(keep, tensors):
    module = Steps(keep)
    given = torch.empty(1, 1000, device="meta")
    assert peak_bytes(module, lambda: module(given)) == tensors * WIDE


def test_views_and_changes_in_place_take_nothing():
    module = nn.Linear(1000, 1000, bias=False, device="meta")
    given = torch.empty(1, 1000, device="meta")
    assert peak_bytes(module, lambda: module(given).view(10, 100).t().mul_(2)) == WIDE


def test_attention_is_counted_without_its_matrix():
    module = nn.Identity()
    q = torch.empty(1, 1, 5000, 8, device="meta")
    assert peak_bytes(module, lambda: F.scaled_dot_product_attention(q, q, q)) == q.nbytes


def test_parts_take_more_with_more_pictures():
    config = CONFIGS["tiny"]
    one, four = working_bytes(config, 100), working_bytes(config, 100, batch=4)
    assert set(one) == {"vision_encoder", "language_model", "unet", "vae"}
    assert one["vae"] == four["vae"]  # one picture after another
    assert all(3.9 < four[part] / one[part] < 4.1 for part in one if part != "vae")


def test_counting_a_vae_agrees_with_what_it_allocates():
    """The same decoding with numbers, where the profiler tells of every allocation."""
    from comfyui_wegen.models.network.decoder import make_vae
    from torch.profiler import ProfilerActivity, profile

    config = CONFIGS["tiny"].vae
    vae = make_vae(config).eval()
    latent = torch.randn(1, config.latent_channels, 32, 32)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        made = vae.decode(latent)  # noqa: F841 - it is alive at the end
    held = most = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    with torch.device("meta"):
        counted = peak_bytes(empty := make_vae(config), lambda: empty.decode(torch.empty(latent.shape)))
    assert counted == pytest.approx(most, rel=0.15)
