"""The contact sheet: the pixels that training sees, with their words; as a command too."""

import shutil

import numpy as np
import pytest
import torch
from command_line import magg  # noqa: F401
from conftest import write_image
from PIL import Image

from model_aggregation.config import make_settings
from model_aggregation.data.augmentation import augment
from model_aggregation.data.pixels import PixelRule, decode_to_rule
from model_aggregation.errors import DataError, SettingsError
from model_aggregation.results.contact_sheet import ContactSheet, Picture, PictureRow, write_contact_sheet
from model_aggregation.training.job import epoch_seed
from model_aggregation.training.preview import PreviewRule, preview


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("写真") / "images"
    for number in range(3):
        for label in ("猫 $1_{x}$", "<b>dog&"):
            write_image(root / label / f"{number}.png", bright=True, seed=number + len(label), size=20)
    return root


def sheet_of(photos, images=4, versions=3, **given):
    settings = make_settings(data=photos, model="timm:test_resnet", **{"image_size": 24, **given})
    return preview(settings, PreviewRule(images, versions))


@pytest.mark.parametrize("augmentation", ["flips", "medical", "trivial"])
def test_what_is_shown_is_what_training_makes(photos, augmentation):
    sheet = sheet_of(photos, augmentation=augmentation, seed=3, resize="crop")
    assert [row.name for row in sheet.rows] == ["<b>dog&"] * 2 + ["猫 $1_{x}$"] * 2
    assert sheet.headings == ("file", "tested as", "epoch 1", "epoch 2", "epoch 3")
    paths = [photos / row.name / row.detail for row in sheet.rows]
    originals = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    rule = PixelRule(24, 3, "bilinear", "crop", 25)
    plain = np.stack([decode_to_rule(str(path), rule) for path in paths])
    for number, row in enumerate(sheet.rows):
        assert np.array_equal(row.pictures[0].pixels, originals[number])
        assert np.array_equal(row.pictures[1].pixels, plain[number])
    if augmentation != "trivial":
        generator = torch.Generator().manual_seed(epoch_seed(3, 1))
        drawn = augment(torch.from_numpy(plain).permute(0, 3, 1, 2), augmentation, generator).permute(0, 2, 3, 1)
        for number, row in enumerate(sheet.rows):
            assert np.array_equal(row.pictures[3].pixels, drawn[number])
    again = sheet_of(photos, augmentation=augmentation, seed=3, resize="crop")
    for row, other in zip(sheet.rows, again.rows, strict=True):
        for picture, same in zip(row.pictures, other.pictures, strict=True):
            assert np.array_equal(picture.pixels, same.pixels)


def test_mixed_pictures_say_their_shares(photos):
    sheet = sheet_of(photos, images=6, cutmix=1.0)
    captions = [picture.caption for row in sheet.rows for picture in row.pictures[2:]]
    assert all("%" in caption for caption in captions)
    assert any("\n" in caption for caption in captions)
    assert any("cutmix 1, with another image on this sheet" in note for note in sheet.notes)


def test_transforms_of_ones_own_are_shown(photos, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\ntrain = lambda image: torch.rand(3, 8, 8) - 5\nval = lambda image: torch.zeros(3, 8, 8)\n",
        encoding="utf-8",
    )
    sheet = sheet_of(photos, transforms=file, image_size=None)
    assert sheet.rows[0].pictures[1].pixels.max() == 0
    shown = [picture.pixels for row in sheet.rows for picture in row.pictures[2:]]
    assert all((pixels.min(), pixels.max()) == (0, 255) for pixels in shown)
    assert len({pixels.tobytes() for pixels in shown}) == len(shown)
    assert "'train' of mine.py" in sheet.notes[0]


def test_a_sheet_of_nothing_is_refused():
    with pytest.raises(SettingsError, match=r"--images \(0\) and --versions \(5\) must be at least 1"):
        PreviewRule(images=0)


def test_grey_values_beyond_8_bits_are_shown_in_the_window_of_training(tmp_path):
    for number, label in enumerate("ab"):
        path = tmp_path / "ct" / label / "0.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((24, 24), 1000 + 100 * number, np.uint16)).save(path)
    sheet = sheet_of(tmp_path / "ct", window="1100,200", augmentation="none")
    for row, value in zip(sheet.rows, (0, 128), strict=True):
        assert [np.unique(picture.pixels).tolist() for picture in row.pictures] == [[value]] * 5
    assert "Window 1100,200." in sheet.notes[-1]


def test_what_cannot_be_read_is_named_and_others_are_shown(photos, tmp_path):
    root = shutil.copytree(photos, tmp_path / "some")
    for number in (0, 2):
        (root / "<b>dog&" / f"{number}.png").write_bytes(b"no image")
    sheet = sheet_of(root, images=4)
    assert [row.name for row in sheet.rows] == ["<b>dog&"] + ["猫 $1_{x}$"] * 3
    assert any("Left out: 2 images." in note for note in sheet.notes)
    assert sum("its content is no image format" in note for note in sheet.notes) == 2
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"None of the training images can be shown:\n.*the file is empty"):
        sheet_of(root)


def test_what_is_too_thin_to_be_cropped_is_named_and_others_are_shown(photos, tmp_path):
    root = shutil.copytree(photos, tmp_path / "thin")
    for number in (0, 2):
        Image.new("L", (60_000 + number, 1)).save(root / "<b>dog&" / f"{number}.png")
    sheet = sheet_of(root, images=4, resize="crop", image_size=224)
    assert [row.name for row in sheet.rows] == ["<b>dog&"] + ["猫 $1_{x}$"] * 3
    assert "Left out: 2 images." in sheet.notes
    assert sum("too long and thin to be cropped" in note for note in sheet.notes) == 2
    assert len(sheet_of(root, images=6, resize="squash").rows) == 6


def test_a_sheet_of_fewer_rows_than_classes_says_so(photos):
    assert "1 of 2 classes" in sheet_of(photos, images=1).notes[-1]


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_any_shape_and_names_of_any_kind_are_drawn(tmp_path, channels):
    pixels = np.zeros((40, 90, channels), np.uint8)
    rows = [PictureRow(name, "x" * 99, (Picture(pixels, "a\nb"), Picture(pixels))) for name in ("", "日本$^", "n" * 99)]
    write_contact_sheet(
        ContactSheet("$title", ("a long note " * 30,), ("one", "two"), tuple(rows)), tmp_path / "図.png"
    )
    with Image.open(tmp_path / "図.png") as written:
        assert written.size[0] > 500
    with pytest.raises(SettingsError, match=r"\.png, \.svg, \.pdf, but .*x\.jpg"):
        write_contact_sheet(ContactSheet("", (), ("one", "two"), tuple(rows)), tmp_path / "x.jpg")


def test_the_command(photos, tmp_path, magg):  # noqa: F811
    out = tmp_path / "sheet.png"
    sight = ("--augmentation", "light", "--image-size", 16, "--resize", "pad")
    text = magg("augment", photos, *sight, "--images", 2, "--versions", 1, "--out", out)
    assert out.is_file()
    assert "16×16×3 pad bilinear" in text
    text = magg("augment", photos, "--augmentation", "light", "--transforms", "x.py", expect=1)
    assert "augmentation has an effect with no transforms file only" in text
