"""Headers of safetensors files: read as the library reads them, and refused where it refuses them."""

import json

import pytest
import torch
from comfyui_wegen.models.checkpoints.safetensors_contents import LONGEST_HEADER, TYPES, safetensors_contents
from comfyui_wegen.models.errors import CheckpointError
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.torch import load_file, save_file


def test_it_says_what_the_library_says(tmp_path):
    file = tmp_path / "a.safetensors"
    state = {str(dtype): torch.ones(2, 3).to(dtype) for dtype in TYPES.values()}
    save_file({**state, "number": torch.tensor(1.5), "empty": torch.ones(0, 3)}, file, {"made": "here"})
    places, about = safetensors_contents(file)
    with safe_open(file, framework="pt") as handle:
        assert about == handle.metadata() == {"made": "here"}
    content, stored = file.read_bytes(), load_file(file)
    assert places.keys() == stored.keys()
    assert [place.begin for place in places.values()] == sorted(place.begin for place in places.values())
    for key, place in places.items():
        assert (place.dtype, place.shape) == (stored[key].dtype, tuple(stored[key].shape))
        found = content[place.begin : place.begin + place.bytes]
        assert found == bytes(stored[key].reshape(-1).view(torch.uint8).numpy()), key


def described(offsets=(0, 8), shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def content(header, data=bytes(8), length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"short",
        content({}, length=LONGEST_HEADER),
        content({}, length=2**64 - 1),
        content(b"{"),
        content(b"\xff{}"),
        content(b"[" * 10_000),
        content([]),
        content({}),
        content({"a": 1}),
        content({"a": {}}),
        content({"a": described(), "__metadata__": {"a": 1}}),
        content({"a": described(shape=[-2])}),
        content({"a": described(shape=[2.0])}),
        content({"a": described(shape=3)}),
        content({"a": described(shape=[3])}),
        content({"a": described(dtype=[])}),
        content({"a": described((0, 8, 8))}),
        content({"a": described((4, 12))}, bytes(12)),
        content({"a": described((8, 0))}),
        content({"a": described((-8, 0))}),
        content({"a": described(), "b": described()}),
        content({"a": described()}, bytes(7)),
        content({"a": described()}, bytes(9)),
    ],
)
def test_what_the_library_refuses_is_refused(tmp_path, damaged):
    with pytest.raises(SafetensorError):
        deserialize(damaged)
    (tmp_path / "a").write_bytes(damaged)
    with pytest.raises((ValueError, RecursionError)):
        safetensors_contents(tmp_path / "a")


@pytest.mark.parametrize(
    "header", [{"a": described(), "__metadata__": None}, {"b": described((4, 8), [1]), "a": described((0, 4), [])}]
)
def test_what_the_library_takes_is_taken(tmp_path, header):
    whole = content(header)
    deserialize(whole)
    (tmp_path / "a").write_bytes(whole)
    assert "a" in safetensors_contents(tmp_path / "a")[0]


def test_types_that_are_not_known_are_named(tmp_path):
    (tmp_path / "a").write_bytes(content({"x": described(dtype="U64", shape=[1])}))
    with pytest.raises(CheckpointError, match="'x' holds numbers of the unknown type 'U64'"):
        safetensors_contents(tmp_path / "a")
