"""Squash, crop and pad: against Pillow, torchvision and timm by themselves, and stored with the weights."""

import json
import math

import numpy as np
import pytest
from conftest import write_image
from PIL import Image, ImageOps
from test_data_store import photograph

import model_aggregation as ma
from model_aggregation.config import make_settings
from model_aggregation.data.image_store import _key
from model_aggregation.data.pixels import PixelRule, decode_to_rule
from model_aggregation.errors import DataError, SettingsError
from model_aggregation.models.build import Preprocessing, preprocessing_for
from model_aggregation.models.imports import timm_library, torchvision_models
from model_aggregation.models.zoo import parse_model_name
from model_aggregation.prediction import predict_folder

BILINEAR = Image.Resampling.BILINEAR
SIZES = [(50, 37), (37, 50), (64, 64), (31, 200), (200, 7), (20, 20), (3, 90)]


def written(path, size, suffix=".png"):
    pixels = np.random.default_rng(sum(size)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path = path / f"image{suffix}"
    Image.fromarray(pixels).save(path)
    return path


def cropped(image, side, shorter):
    """The shorter side resized, then the middle: written down once more, in other words."""
    width, height = image.size
    factor = shorter / min(width, height)
    size = (shorter, int(height * shorter / width)) if width <= height else (int(width * shorter / height), shorter)
    assert max(size) == pytest.approx(max(width, height) * factor, abs=1)
    left, top = round((size[0] - side) / 2), round((size[1] - side) / 2)
    return image.resize(size, BILINEAR).crop((left, top, left + side, top + side))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_way_is_what_pillow_makes(tmp_path, size, channels):
    path = written(tmp_path, size)
    image = Image.open(path).convert("L" if channels == 1 else "RGB")
    expected = {
        PixelRule(32, channels, "bilinear"): image.resize((32, 32), BILINEAR),
        PixelRule(32, channels, "bilinear", "crop", 36): cropped(image, 32, 36),
        PixelRule(32, channels, "bilinear", "crop", 32): cropped(image, 32, 32),
        PixelRule(32, channels, "bilinear", "pad"): ImageOps.pad(image, (32, 32), BILINEAR, color=0),
    }  # fmt: skip
    for rule, picture in expected.items():
        assert np.array_equal(decode_to_rule(str(path), rule), np.asarray(picture).reshape(32, 32, channels)), rule


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b1", "swin_t", "timm:resnet18", "timm:tf_efficientnet_b3"])
@pytest.mark.parametrize("size", [(300, 411), (411, 300)])
def test_crop_is_what_the_library_of_the_weights_does(tmp_path, name, size):
    model = parse_model_name(name)
    facts = preprocessing_for(model, make_settings(data="x", model=name, resize="crop"))
    path = written(tmp_path, size)
    ours = decode_to_rule(str(path), facts.pixel_rule())
    if model.source == "torchvision":
        transform = torchvision_models().get_model_weights(model.architecture).DEFAULT.transforms()
        normalised = transform(Image.open(path))
    else:
        timm = timm_library()
        configuration = timm.models.get_pretrained_cfg(model.full_name).to_dict()
        transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=configuration))
        normalised = transform(Image.open(path))
    mean, std = (np.array(numbers)[:, None, None] for numbers in (facts.mean, facts.std))
    theirs = np.rint((normalised.numpy() * std + mean) * 255).transpose(1, 2, 0)
    assert np.array_equal(ours, theirs)


def test_the_crop_of_every_published_network_is_that_of_its_library():
    timm = timm_library()
    for name in timm.list_models(pretrained=True):
        configuration = timm.data.resolve_data_config(pretrained_cfg=timm.models.get_pretrained_cfg(name).to_dict())
        size = configuration["input_size"][-1]
        made = preprocessing_for(parse_model_name(f"timm:{name}"), make_settings(data="x", model="m", resize="crop"))
        assert (made.image_size, made.shorter_side) == (size, math.floor(size / configuration["crop_pct"])), name
        assert (made.mean, made.std) == (tuple(configuration["mean"]), tuple(configuration["std"]))
        assert made.interpolation == configuration["interpolation"]
    models = torchvision_models()
    for name in models.list_models(module=models):
        for entry in models.get_model_weights(name):
            facts = entry.transforms()
            named = f"torchvision:{name}.{entry.name}"
            made = preprocessing_for(parse_model_name(named), make_settings(data="x", model="m", resize="crop"))
            assert ([made.image_size], [made.shorter_side]) == (facts.crop_size, facts.resize_size), named
            assert (made.mean, made.std) == (tuple(facts.mean), tuple(facts.std))
            assert made.interpolation == facts.interpolation.value


@pytest.mark.parametrize("rule", [
    PixelRule(96, 3, "bilinear", "crop", 110), PixelRule(96, 3, "bilinear", "pad"), PixelRule(96, 3, "bilinear"),
])  # fmt: skip
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_jpeg_keeps_shape_and_tolerance(tmp_path, rule, orientation):
    path = tmp_path / "large.jpg"
    photograph(path, (1203, 905))  # neither is a multiple of 8
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.open(path)
    image.save(path, quality=95, exif=exif)
    assert rule.reduction_of(path.read_bytes()) > 1
    image = ImageOps.exif_transpose(Image.open(path))
    expected = {
        "crop": lambda: cropped(image, 96, 110),
        "pad": lambda: ImageOps.pad(image, (96, 96), BILINEAR),
        "squash": lambda: image.resize((96, 96), BILINEAR),
    }[rule.resize]()
    difference = np.abs(decode_to_rule(str(path), rule) - np.asarray(expected).astype(float))
    assert difference.mean() < 0.5
    assert not difference[np.asarray(expected).sum(axis=2) == 0].any(), "what is filled up stays black"


def test_a_strip_that_cannot_be_cropped_is_refused_in_words(tmp_path):
    path = tmp_path / "strip.png"
    Image.new("L", (100_000, 1), 200).save(path)
    with pytest.raises(DataError, match=r"too long and thin to be cropped.*--resize squash or pad"):
        decode_to_rule(str(path), PixelRule(64, 3, "bilinear", "crop", 73))
    padded = decode_to_rule(str(path), PixelRule(64, 1, "bilinear", "pad"))
    assert (padded == 200).sum() == 64  # one line of it is left


def test_stores_made_before_there_was_a_choice_are_found_and_others_lie_elsewhere():
    assert PixelRule(16, 3, "bilinear").key == "PixelRule(image_size=16, channels=3, interpolation='bilinear')"
    rules = [PixelRule(16, 3, "bilinear"), PixelRule(16, 3, "bilinear", "pad"),
             PixelRule(16, 3, "bilinear", "crop", 16), PixelRule(16, 3, "bilinear", "crop", 18)]  # fmt: skip
    assert len({_key(np.array([b"a"]), rule) for rule in rules}) == 4


def test_weights_of_before_are_read_as_squashed():
    text = '{"image_size": 32, "mean": [0.5], "std": [0.5], "interpolation": "bilinear", "channels": 1}'
    facts = Preprocessing.from_dict(json.loads(text))
    assert facts.pixel_rule() == PixelRule(32, 1, "bilinear")
    facts = preprocessing_for(parse_model_name("resnet18"), make_settings(data="x", model="m", resize="crop"))
    assert Preprocessing.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts


def test_the_shorter_side_follows_the_image_size():
    settings = make_settings(data="x", model="resnet18", resize="crop", image_size=448)
    assert preprocessing_for(parse_model_name("resnet18"), settings).shorter_side == 512


def test_a_way_that_would_do_nothing_is_refused():
    with pytest.raises(SettingsError, match="resize has an effect with no transforms file only"):
        make_settings(data="x", model="resnet18", resize="pad", transforms="x.py")
    assert make_settings(data="x", model="resnet18", recipe="earlier").resize == "squash"


@pytest.mark.parametrize("resize", ["crop", "pad"])
def test_a_run_predicts_new_images_as_it_tested_its_own(tmp_path, resize):
    for number in range(40):
        bright = bool(number % 2)
        path = tmp_path / "images" / ("a" if bright else "b") / f"{number}.png"
        write_image(path, bright=bright, seed=number, size=30)
        Image.open(path).crop((0, 0, 30, 18)).save(path)
    run = ma.train(
        tmp_path / "images", "timm:test_resnet", quiet=True, positive="a", pretrained=False, epochs=1, image_size=32,
        resize=resize, augmentation="light", log_folder=tmp_path / "log", cache_folder=tmp_path / "cache", workers=0,
        tensorboard=False, jobs=0, name="run",
    )  # fmt: skip
    facts = json.loads((run.folder.path / "best_model_weight.json").read_text(encoding="utf-8"))["preprocessing"]
    assert (facts["resize"], facts["shorter_side"]) == (resize, 33 if resize == "crop" else None)
    tested = run.predictions("test").set_index("path")
    again = predict_folder(run.folder.path, tmp_path / "images").set_index("path").loc[tested.index]
    assert np.allclose(tested["a"], again["a"], atol=1e-12)
    facts["resize"], facts["shorter_side"] = "squash", None
    stored = json.loads((run.folder.path / "best_model_weight.json").read_text(encoding="utf-8"))
    (run.folder.path / "best_model_weight.json").write_text(
        json.dumps({**stored, "preprocessing": facts}), encoding="utf-8"
    )
    (run.folder.path / "SHA256SUMS").unlink()  # as a run of an earlier version; else the changed file is refused
    squashed = predict_folder(run.folder.path, tmp_path / "images").set_index("path").loc[tested.index]
    assert not np.allclose(tested["a"], squashed["a"], atol=1e-6), "what is stored decides"
