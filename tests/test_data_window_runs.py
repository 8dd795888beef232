"""A window and a pixel limit are settings of a run: they reach its pixels, its predictions and its tests."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import magg  # noqa: F401  (fixture)
from PIL import Image

import model_aggregation as ma
from model_aggregation.data.pixels import decode_to_rule
from model_aggregation.errors import SettingsError
from model_aggregation.models.build import pixel_rule


def deep_images(root: Path, count: int = 24) -> Path:
    """16-bit pictures that differ between 1000 and 1400 only: all but black without a window."""
    for number in range(count):
        pixels = 1000 + np.random.default_rng(number).integers(0, 200, (16, 16))
        if number % 2:
            pixels[:, :8] += 200
        path = root / ("ill" if number % 2 else "well") / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint16)).save(path)
    return root


def settings(root: Path, folder: Path, **own: object) -> dict[str, object]:
    return {
        "data": root, "model": "timm:test_resnet", "positive": "ill", "pretrained": False, "image_size": 32,
        "log_folder": folder / "log", "cache_folder": folder / "cache", "tensorboard": False, "jobs": 0, "epochs": 1,
        "window": "1200,400", **own,
    }  # fmt: skip


def test_it_decides_the_pixels_of_training_prediction_and_test(tmp_path: Path) -> None:
    root = deep_images(tmp_path / "images")
    plan = ma.make_plan(**settings(root, tmp_path))
    rule = pixel_rule(plan.runs[0].preprocessing, plan.runs[0].settings)
    image = plan.table.frame["path"].iloc[0]
    pixels = decode_to_rule(image, rule)
    assert int(pixels.max()) - int(pixels.min()) > 100
    plain = ma.make_plan(**settings(root, tmp_path, window=None, alike=None))
    unwindowed = decode_to_rule(image, pixel_rule(plain.runs[0].preprocessing, plain.runs[0].settings))
    assert int(unwindowed.max()) - int(unwindowed.min()) < 3
    run = ma.run(plan, quiet=True)
    weights = json.loads(next(run.path.glob("*_weight.json")).read_text(encoding="utf-8"))
    assert weights["settings"]["window"] == "1200,400"
    tested = pd.read_csv(next(run.path.glob("*_test.csv"))).set_index("path")["ill"]
    again = ma.predict(run, root).set_index("path")["ill"].loc[tested.index]
    np.testing.assert_allclose(again, tested, atol=1e-6)
    assert tested.nunique() == len(tested)
    other = deep_images(tmp_path / "other", 12)
    for path in other.rglob("*.png"):  # other pictures than those learnt
        with Image.open(path) as picture:
            Image.fromarray(np.asarray(picture)[::-1]).save(path)
    ma.test(run, other, name="other", quiet=True)
    tested = pd.read_csv(run.path / f"{run.path.name}_other.csv").set_index("path")["ill"]
    np.testing.assert_allclose(ma.predict(run, other).set_index("path")["ill"].loc[tested.index], tested, atol=1e-6)


def test_images_beyond_the_limit_count_as_unreadable(tmp_path: Path) -> None:
    root = deep_images(tmp_path / "images")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)).save(root / "ill" / "big.png")
    with pytest.raises(ma.ModelAggregationError, match=r"ill/big\.png"):
        ma.make_plan(**settings(root, tmp_path, max_pixels=1000))
    plan = ma.make_plan(**settings(root, tmp_path, max_pixels=1000, skip_unreadable=True))
    assert plan.table.frame.set_index("id").loc[["ill/big.png"], "readable"].tolist() == [False]
    assert ma.make_plan(**settings(root, tmp_path)).table.frame["readable"].all()


def test_a_window_is_read_as_numbers_or_refused(tmp_path: Path, magg) -> None:  # noqa: F811
    root = deep_images(tmp_path / "images")
    plan = ma.make_plan(**settings(root, tmp_path, window=[1200, 400]))
    assert plan.settings.window == "1200,400"
    for wrong in ("1200", "1200,0", "a,b"):
        with pytest.raises(SettingsError, match=r"window|width"):
            ma.make_plan(**settings(root, tmp_path, window=wrong))
    for negative in (["--window=-600,1500"], ["--window", "-600,1500"]):
        shown = magg("check", root, *negative, "--cache-folder", tmp_path / "cache", "--out", tmp_path / "out")
        assert "24 images are of one single colour" in shown  # all above the window
