"""Picture files of every kind: turned, transparent, indexed, deep, for print, broken, far too large."""

import io
import struct

import numpy as np
import pytest
import torch
from comfyui_wegen.models.cli.common import read_mask
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.media.images import check_picture, clip_pixels, flatten_alpha, from_pil, read_picture, to_pil
from photographs import NAMES, photograph, photograph_pil, save_turned
from PIL import Image

GREY = np.linspace(0, 255, 12).reshape(3, 4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_photographs_stand_the_right_side_up(tmp_path, name, orientation):
    picture = photograph_pil(name)
    read = read_picture(save_turned(picture, tmp_path / "turned.jpg", orientation))
    assert read.size == (640, 427) and read.mode == "RGB"
    assert (from_pil(read) - photograph(name)).abs().mean() < 0.02


@pytest.mark.parametrize(
    ("dtype", "top", "suffix"),
    [(np.uint16, 65535, "png"), (np.uint16, 65535, "tif"), (np.int32, 65535, "tif")]
    + [(np.float32, top, "tif") for top in (1, 255, 65535)],
)
def test_deep_grey_is_read_as_it_looks(tmp_path, dtype, top, suffix):
    Image.fromarray((GREY / 255 * top).astype(dtype)).save(tmp_path / f"deep.{suffix}")
    read = np.asarray(read_picture(tmp_path / f"deep.{suffix}"))
    assert read.shape == (3, 4, 3)
    assert np.abs(read[..., 0] - GREY).max() <= 1


def test_floats_a_little_above_1_and_a_transparent_level_of_grey(tmp_path):
    values = np.full((2, 3), 0.5, np.float32)
    values[0, 0] = 1.02  # as resizing leaves them
    Image.fromarray(values).save(tmp_path / "resized.tif")
    read = np.asarray(read_picture(tmp_path / "resized.tif"))[..., 0]
    assert read[0, 0] == 255 and set(read.ravel()[1:]) <= {127, 128}
    deep = Image.fromarray(np.array([[1000, 30000]], np.uint16))
    deep.save(tmp_path / "deep.png", transparency=1000)
    assert read_picture(tmp_path / "deep.png").getpixel((0, 0)) == (255, 255, 255)
    assert abs(read_picture(tmp_path / "deep.png").getpixel((1, 0))[0] - 30000 / 257) <= 1


def test_print_colours_grey_palettes_and_alpha(tmp_path):
    orange = Image.new("RGB", (8, 8), (230, 120, 20))
    for name, mode in (("p.jpg", "CMYK"), ("p.tif", "CMYK"), ("y.jpg", "YCbCr"), ("p.png", "P"), ("l.tif", "LAB")):
        picture = orange.convert(mode) if mode != "LAB" else Image.new("LAB", (8, 8), (160, 40 + 128, 60 + 128))
        picture.save(tmp_path / name)
        colour = np.asarray(read_picture(tmp_path / name)).mean(axis=(0, 1))
        assert mode == "LAB" or np.abs(colour - (230, 120, 20)).max() < 6, name
        assert colour[0] > colour[1] > colour[2], name
    Image.new("1", (4, 4), 1).save(tmp_path / "line.png")
    assert read_picture(tmp_path / "line.png").getpixel((0, 0)) == (255, 255, 255)
    see_through = Image.new("RGBA", (2, 1), (255, 0, 0, 128))
    see_through.save(tmp_path / "alpha.png")
    assert read_picture(tmp_path / "alpha.png").getpixel((0, 0)) == (255, 127, 127)
    indexed = Image.new("P", (2, 1), 3)
    indexed.putpalette(range(12))
    indexed.save(tmp_path / "indexed.png", transparency=3)
    assert read_picture(tmp_path / "indexed.png").getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(WeGenError, match="white everywhere"):  # nothing of a mask is left
        read_mask(tmp_path / "indexed.png")
    assert read_mask(tmp_path / "line.png").eq(1).all()


@pytest.mark.parametrize(("kind", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_masks_of_labels_are_refused(tmp_path, kind, white):
    Image.fromarray(np.array([[0, 1]], kind)).save(tmp_path / "labels.png")
    with pytest.raises(WeGenError, match=f"nearly black: its brightest value is 1, and white is {white}"):
        read_mask(tmp_path / "labels.png")
    Image.fromarray(np.array([[0, white]], kind)).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == [[0, 1]]
    Image.fromarray(np.zeros((1, 2), kind)).save(tmp_path / "black.png")
    assert not read_mask(tmp_path / "black.png").any()


@pytest.mark.parametrize("mode", ["La", "RGBa", "RGBX", "HSV", "F", "I", "I;16B", "PA"])
def test_every_mode_of_pillow_becomes_rgb(mode):
    assert flatten_alpha(Image.new(mode, (5, 4))).mode == "RGB"


@pytest.mark.parametrize("size", [(1, 30000), (30000, 1), (1, 1)])
def test_long_and_thin_pictures(tmp_path, size):
    Image.new("RGB", size, (255, 0, 0)).save(tmp_path / "thin.png")
    picture = read_picture(tmp_path / "thin.png")
    assert picture.size == size and clip_pixels(picture, 32).shape == (3, 32, 32)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(WeGenError, match=r"missing\.png: No such file"):
        read_picture(tmp_path / "missing.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(WeGenError, match=r"text\.png: it is not a picture"):
        read_picture(tmp_path / "text.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(WeGenError, match="it is not a picture"):
        read_picture(tmp_path / "empty.png")
    with pytest.raises(WeGenError, match="Cannot read the picture"):
        read_picture(tmp_path)
    written = io.BytesIO()
    Image.effect_noise((200, 200), 50).save(written, "PNG")
    for cut in (100, 5000):
        (tmp_path / "half.png").write_bytes(written.getvalue()[:cut])
        with pytest.raises(WeGenError, match=r"half\.png"):
            read_picture(tmp_path / "half.png")


def test_a_photograph_whose_camera_wrote_odd_data_is_read(tmp_path):
    """Orientation 6, and a unit as a fraction, which Pillow cannot write anew."""
    tags = struct.pack("<H", 2) + struct.pack("<HHII", 0x112, 3, 1, 6) + struct.pack("<HHII", 0x128, 5, 1, 38)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + tags + bytes(4) + struct.pack("<II", 72, 1)
    Image.new("RGB", (64, 32), "red").save(tmp_path / "odd.jpg", exif=exif)
    assert read_picture(tmp_path / "odd.jpg").size == (32, 64)


def test_pictures_that_would_fill_the_memory_are_not_unpacked(tmp_path):
    for side in (13_400, 20_000):  # past the limit, and past what Pillow opens
        Image.new("1", (side, side)).save(tmp_path / "bomb.png")
        with pytest.raises(WeGenError, match=r"bomb\.png is too large: at most 179 megapixels"):
            read_picture(tmp_path / "bomb.png")


def test_pixels_that_are_no_number_are_named():
    picture = torch.zeros(5, 6, 3)
    picture[1, 2, 0] = picture[1, 2, 1] = picture[3, 3, 2] = torch.nan
    for use in (check_picture, to_pil):
        with pytest.raises(WeGenError, match="2 pixels that are no number"):
            use(picture)
    endless = torch.tensor([[[torch.inf, -torch.inf, 0.5]]])
    assert to_pil(endless).getpixel((0, 0)) == (255, 0, 128)


def test_large_pictures_are_turned_to_bytes_strip_by_strip():
    picture = photograph("china", megapixels=3)
    assert torch.equal(from_pil(to_pil(picture)), picture)
    assert torch.equal(from_pil(to_pil(picture[..., :1])), picture[..., :1].expand(-1, -1, 3))
