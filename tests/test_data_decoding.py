"""Every pixel mode by the documented rule, checked against values computed by hand or by numpy."""

import csv
import io
import shutil
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_aggregation.data.decoding import (
    FOREIGN_IMAGE_SUFFIXES,
    IMAGE_SUFFIXES,
    count_frames,
    decode,
    open_image,
    resize_image,
)
from model_aggregation.errors import DataError, SettingsError

COLOURS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3
SHARED = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "odd_formats"


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tif", "tga", "webp", "jp2", "qoi", "sgi", "pcx"])
def test_lossless_containers_give_the_same_pixels(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"写真 1.{suffix}", COLOURS, **options)
    pixels = decode(path, channels=3)
    assert pixels.dtype == np.uint8
    assert pixels.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(pixels, COLOURS)


def test_one_channel_is_luma_and_has_a_channel_axis(tmp_path: Path) -> None:
    grey = decode(save(tmp_path / "a.png", COLOURS), channels=1)
    assert grey.shape == (4, 6, 1)
    np.testing.assert_allclose(grey[..., 0], COLOURS @ [0.299, 0.587, 0.114], atol=0.51)
    same = np.full((2, 2), 77, dtype=np.uint8)
    assert (decode(save(tmp_path / "b.png", same), channels=3) == 77).all()


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    shutil.copy(save(tmp_path / "a.png", COLOURS), tmp_path / "b.jpg")
    np.testing.assert_array_equal(decode(tmp_path / "b.jpg", channels=3), COLOURS)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90),
    ],
)
def test_exif_orientation(tmp_path: Path, suffix: str, orientation: int, turn) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    blocks = np.zeros((32, 64, 3), dtype=np.uint8)
    blocks[:16, :16], blocks[16:, 32:48] = 255, 128
    options = {"webp": {"lossless": True}, "jpg": {"quality": 95}}.get(suffix, {})
    path = save(tmp_path / f"a.{suffix}", blocks, exif=exif, **options)
    np.testing.assert_allclose(decode(path, channels=3), turn(blocks), atol=3)


def test_exif_that_cannot_be_parsed_leaves_the_image_as_stored(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", COLOURS, exif=b"Exif\x00\x00garbage that is no TIFF")
    assert decode(path, channels=3).shape == COLOURS.shape


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_uses_the_full_range_of_16_bits(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 128, 129, 4095, 32768, 65535]], dtype=np.uint16)
    pixels = decode(save(tmp_path / f"a.{suffix}", values), channels=3)
    assert (pixels == pixels[..., :1]).all()
    np.testing.assert_array_equal(pixels[..., 0], np.rint(values / 257).astype(np.uint8))


def test_16_bit_big_endian(tmp_path: Path) -> None:
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 257, 65535))
    image.save(tmp_path / "a.tif")
    assert decode(tmp_path / "a.tif", channels=1).ravel().tolist() == [1, 255]


def tiff(path: Path, values: np.ndarray, *, bits: int, photometric: int, data: bytes) -> Path:
    height, width = values.shape
    entries = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1)]
    entries += [(278, height), (279, len(data))]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    padded = data + b"\0" * (len(data) % 2)
    entries_at = 8 + len(padded)
    directory = struct.pack("<H", len(entries)) + directory + b"\0\0\0\0"
    path.write_bytes(struct.pack("<2sHI", b"II", 42, entries_at) + padded + directory)
    return path


def test_12_bit_tiff_uses_the_full_range_of_12_bits(tmp_path: Path) -> None:
    values = np.array([[0x000, 0xFFF], [0x800, 0x010]])
    packed = bytes([0x00, 0x0F, 0xFF, 0x80, 0x00, 0x10])
    path = tiff(tmp_path / "a.tif", values, bits=12, photometric=1, data=packed)
    assert decode(path, channels=1)[..., 0].tolist() == [[0, 255], [128, 1]]


def test_16_bit_tiff_with_white_as_zero_is_inverted(tmp_path: Path) -> None:
    values = np.array([[0, 65535]], dtype="<u2")
    path = tiff(tmp_path / "a.tif", values, bits=16, photometric=0, data=values.tobytes())
    assert decode(path, channels=1).ravel().tolist() == [255, 0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 65535, 257]], dtype=np.int32), [0, 255, 1]),
        (np.array([[-1000, 0, 1000]], dtype=np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.5, 1.0]], dtype=np.float32), [0, 128, 255]),
        (np.array([[-10.0, 0.0, 30.0]], dtype=np.float32), [0, 64, 255]),
        (np.array([[7.0, 7.0]], dtype=np.float32), [0, 0]),
    ],
)
def test_32_bit_and_float(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    assert decode(save(tmp_path / "a.tif", values), channels=1).ravel().tolist() == expected


def test_nan_is_unreadable(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", np.array([[0.0, np.nan]], dtype=np.float32))
    with pytest.raises(DataError, match=r"a\.tif: cannot be read: .*NaN"):
        decode(path, channels=1)


def test_transparency_is_laid_on_black(tmp_path: Path) -> None:
    rgba = np.array([[[200, 100, 50, 0], [200, 100, 50, 255], [200, 100, 50, 51]]], dtype=np.uint8)
    pixels = decode(save(tmp_path / "a.png", rgba), channels=3)
    assert pixels.tolist() == [[[0, 0, 0], [200, 100, 50], [40, 20, 10]]]
    grey_alpha = np.array([[[200, 0], [200, 255]]], dtype=np.uint8)
    Image.fromarray(grey_alpha, mode=None).save(tmp_path / "b.png")
    assert decode(tmp_path / "b.png", channels=1).ravel().tolist() == [0, 200]


def test_colour_keys_and_palettes(tmp_path: Path) -> None:
    save(tmp_path / "grey.png", np.array([[10, 20]], dtype=np.uint8), transparency=10)
    assert decode(tmp_path / "grey.png", channels=1).ravel().tolist() == [0, 20]
    save(tmp_path / "deep.png", np.array([[1000, 65535]], dtype=np.uint16), transparency=65535)
    assert decode(tmp_path / "deep.png", channels=1).ravel().tolist() == [4, 0]
    palette = Image.new("P", (3, 1))
    palette.putpalette([9, 8, 7, 60, 50, 40, 255, 0, 0])
    palette.putdata([0, 1, 2])
    palette.save(tmp_path / "palette.png", transparency=bytes([255, 0, 255]))
    assert decode(tmp_path / "palette.png", channels=3).tolist() == [[[9, 8, 7], [0, 0, 0], [255, 0, 0]]]
    palette.save(tmp_path / "palette.gif")
    assert decode(tmp_path / "palette.gif", channels=3).tolist() == [[[9, 8, 7], [60, 50, 40], [255, 0, 0]]]


def test_one_bit_cmyk_and_lab(tmp_path: Path) -> None:
    save(tmp_path / "bits.png", np.array([[True, False]]))
    assert decode(tmp_path / "bits.png", channels=1).ravel().tolist() == [255, 0]
    Image.new("CMYK", (1, 1), (0, 255, 255, 0)).save(tmp_path / "cmyk.tif")
    assert decode(tmp_path / "cmyk.tif", channels=3).tolist() == [[[255, 0, 0]]]
    Image.new("LAB", (1, 1), (255, 128, 128)).save(tmp_path / "lab.tif")
    np.testing.assert_allclose(decode(tmp_path / "lab.tif", channels=3), 255, atol=2)


def test_the_first_frame_is_taken_and_frames_are_counted(tmp_path: Path) -> None:
    frames = [Image.new("L", (2, 2), value) for value in (10, 200, 90)]
    for suffix in ("tif", "png", "gif", "webp"):
        path = tmp_path / f"a.{suffix}"
        frames[0].save(
            path, save_all=True, append_images=frames[1:], **({"lossless": True} if suffix == "webp" else {})
        )
        assert decode(path, channels=1).max() == 10, suffix
        assert count_frames(path.read_bytes()) == 3, suffix


def png_bytes() -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def broken_files() -> dict[str, tuple[bytes, str]]:
    jpeg = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(jpeg, "JPEG")
    png = png_bytes()
    bomb = b"GIF87a" + struct.pack("<HH", 65535, 65535) + b"\x80\0\0" + b"\0" * 6
    bomb += b"," + struct.pack("<HHHH", 0, 0, 65535, 65535) + b"\0\x02\x02\x44\x01\0;"
    return {
        "empty.png": (b"", "empty"),
        "text.png": (b"this is only text, sorry\n", "no image format"),
        "pointer.png": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        "truncated.jpg": (jpeg.getvalue()[:-200], "truncated"),
        "truncated.png": (png[: len(png) // 2], "truncated"),
        "no_end.png": (png[:-12] + struct.pack(">I", 100) + b"tEXtabc", "Truncated"),
        "bomb.gif": (bomb, "decompression bomb"),
        "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "no image format"),
    }


@pytest.mark.parametrize("name", broken_files())
def test_broken_files_are_errors_each_time_they_are_opened(tmp_path: Path, name: str) -> None:
    data, reason = broken_files()[name]
    path = tmp_path / name
    path.write_bytes(data)
    for _ in range(2):  # Pillow may load what it refused a moment before, if asked the same object again
        with pytest.raises(DataError, match=reason) as caught:
            open_image(path, channels=3)
        assert str(path) in str(caught.value)
        assert "0x" not in str(caught.value)  # no memory address


def test_missing_file_and_folder_are_data_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            decode(path, channels=3)


def test_resize_squashes_and_antialiases() -> None:
    stripes = Image.fromarray(np.tile(np.array([0, 255], dtype=np.uint8), (8, 32)))
    small = np.asarray(resize_image(stripes, (8, 4), "bilinear"))
    assert small.shape == (4, 8)
    assert abs(float(small.mean()) - 127.5) < 2
    assert small.std() < 15  # without antialiasing it would be all black or all white
    with pytest.raises(SettingsError, match="bicubic"):
        resize_image(stripes, (8, 4), "cubic")


def test_every_suffix_that_pillow_opens_is_an_image_or_left_out_on_purpose() -> None:
    Image.init()
    registered = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}
    left_out = {".bufr", ".grib", ".h5", ".hdf", ".iim", ".mpeg", ".mpg", ".ps", ".eps", ".emf", ".wmf"}
    assert registered - left_out <= IMAGE_SUFFIXES
    assert not left_out & IMAGE_SUFFIXES
    assert not FOREIGN_IMAGE_SUFFIXES & IMAGE_SUFFIXES


def test_png_exif_after_the_pixels_is_found(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    plain = save(tmp_path / "a.png", COLOURS).read_bytes()
    (tmp_path / "a.png").write_bytes(plain[:-12] + chunk + plain[-12:])  # the last 12 bytes are IEND
    np.testing.assert_array_equal(decode(tmp_path / "a.png", channels=3), np.rot90(COLOURS, -1))


@pytest.mark.skipif(not SHARED.is_dir(), reason="Pillow's own odd images are not here")
def test_odd_formats_as_expected() -> None:
    with (SHARED / "expected.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    for row in rows:
        # where reading EXIF fails, the load before it failed: only a second try on the same object succeeded
        readable = row["loads"] == "1" and row["rgb_ok"] == "1" and row["orientation"] != "OSError"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if readable:
                turned = row["orientation"] in {"6", "8"}
                size = (int(row["height"]), int(row["width"]))
                shape = decode(SHARED / row["file"], channels=3).shape[:2]
                assert shape == (size[::-1] if turned else size), row["file"]
            else:
                with pytest.raises(DataError):
                    decode(SHARED / row["file"], channels=3)
