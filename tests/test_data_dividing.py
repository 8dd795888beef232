"""``magg split``: divisions in which nothing leaks, folds drawn again, and the check of a given division."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import magg  # noqa: F401  (fixture)
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter

import model_aggregation as ma
from model_aggregation.data.inspection import inspect
from model_aggregation.data.scan import scan
from model_aggregation.data.splitting import apply_split


def scene(seed: int, size: int = 48) -> Image.Image:
    soft = gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 4)
    return Image.fromarray(np.clip(128 + 40 * soft / soft.std(), 0, 255).astype(np.uint8))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of 40 images, every fourth with two near duplicates, one of them with another name order."""
    folder = tmp_path / "images"
    for number in range(80):
        path = folder / ("cat" if number % 2 else "dog") / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = scene(number)
        image.save(path)
        if number % 4 == 1:
            image.resize((30, 30), Image.Resampling.BICUBIC).save(path.with_name(f"z{number}.png"))
            ImageEnhance.Brightness(image).enhance(0.6).save(path.with_name(f"a{number}.png"))
    return folder


def family(name: str) -> str:
    return Path(name).stem.lstrip("az").zfill(2)


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_near_duplicates_are_kept_together_and_the_file_trains(root: Path, tmp_path: Path, magg) -> None:  # noqa: F811
    out = tmp_path / "分割" / "splits.csv"
    shown = magg("split", root, "--out", out, "--cache-folder", tmp_path / "cache")
    rows = read(out)
    assert (rows.groupby(rows["id"].map(family))["split"].nunique() == 1).all()
    assert rows["content_hash"].str.fullmatch("[0-9a-f]{64}").all()
    shares = pd.crosstab(rows["label"], rows["split"], normalize="columns")
    whole = rows["label"].value_counts(normalize=True)
    assert (shares.sub(whole, axis=0).abs() < 0.02).to_numpy().all()
    trained = rows[rows["split"] == "train"]["label"].value_counts()
    assert re.search(rf"dog +{trained['dog']} \({trained['dog'] / trained.sum():.1%}\)", shown)
    assert "near duplicates" in shown
    assert apply_split(inspect(scan(root)), out).frame["split"].tolist() == rows["split"].tolist()


def test_the_same_seed_gives_the_same_file_and_another_another(root: Path, tmp_path: Path, magg) -> None:  # noqa: F811
    cache = ("--cache-folder", tmp_path / "cache")
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        magg("split", root, "--out", tmp_path / f"{name}.csv", "--seed", seed, *cache)
    first, again, other = ((tmp_path / f"{name}.csv").read_bytes() for name in "abc")
    assert first == again != other


def test_repeated_folds(root: Path, tmp_path: Path, magg) -> None:  # noqa: F811
    magg("split", root, "--out", tmp_path / "s.csv", "--folds", 4, "--repeats", 2, "--cache-folder", tmp_path / "cache")
    written = {path.name: read(path) for path in tmp_path.glob("s_*.csv")}
    assert set(written) == {f"s_r{repeat}_f{fold}.csv" for repeat in (1, 2) for fold in (1, 2, 3, 4)}
    for repeat in (1, 2):
        tests = [set(written[f"s_r{repeat}_f{fold}.csv"].query("split == 'test'")["id"]) for fold in (1, 2, 3, 4)]
        assert sum(map(len, tests)) == len(set.union(*tests)) == len(written["s_r1_f1.csv"])
    for rows in written.values():
        assert (rows.groupby(rows["id"].map(family))["split"].nunique() == 1).all()
    assert not written["s_r1_f1.csv"].equals(written["s_r2_f1.csv"])
    magg("split", root, "--out", tmp_path / "t.csv", "--folds", 4, "--seed", 1, "--cache-folder", tmp_path / "cache")
    assert read(tmp_path / "t_f1.csv").equals(written["s_r2_f1.csv"])


def test_a_given_division_is_checked(root: Path, tmp_path: Path, magg) -> None:  # noqa: F811
    cache = ("--cache-folder", tmp_path / "cache")
    out = tmp_path / "splits.csv"
    magg("split", root, "--out", out, *cache)
    before = out.read_bytes()
    good = magg("split", root, "--check", out, *cache)
    assert "lie in test and in train" not in good
    rows = read(out)
    part = rows[rows["id"].map(family) == "05"].iloc[0]
    rows.loc[rows["id"] == part["id"], "split"] = "train" if part["split"] == "test" else "test"
    rows.to_csv(out, index=False)
    (root / "dog" / "same.png").write_bytes((root / "dog" / "02.png").read_bytes())
    assert "not in the file: dog/same.png" in magg("split", root, "--check", out, *cache, expect=1)
    original = rows.loc[rows["id"] == "dog/02.png"].iloc[0]
    new = original.to_dict() | {"id": "dog/same.png", "split": "train" if original["split"] == "test" else "test"}
    pd.concat([rows, pd.DataFrame([new])]).to_csv(out, index=False)
    bad = magg("split", root, "--check", out, *cache, expect=1)
    assert "error: 1 pictures (2 files) lie in test and in train or val" in bad
    assert "cat/05.png" in bad
    assert "of near duplicates" in bad
    assert before != out.read_bytes()


def test_what_has_no_meaning_is_refused(root: Path, tmp_path: Path, magg) -> None:  # noqa: F811
    shown = magg("split", root, "--repeats", 0, "--folds", 1, "--test-share", 0.5, expect=1)
    assert "--folds must be at least 2" in shown
    assert "--repeats must be at least 1" in shown
    assert "--test-share has no effect" in shown
    first, last = scene(100), scene(101)
    for number in range(90):  # each like the next
        Image.blend(first, last, number / 90).save(root / "dog" / f"film{number}.png")
    shown = magg("split", root, "--cache-folder", tmp_path / "cache", "--out", tmp_path / "s.csv", expect=1)
    assert "look alike, each like the next" in shown
    assert not (tmp_path / "s.csv").exists()


def test_training_divides_as_split_does_and_says_what_it_keeps_together(root: Path, tmp_path: Path, magg) -> None:  # noqa: F811
    given = {
        "data": root, "model": "timm:test_resnet", "positive": "cat", "pretrained": False,
        "log_folder": tmp_path / "log", "cache_folder": tmp_path / "cache",
    }  # fmt: skip
    plan = ma.make_plan(**given, seed=3)
    magg("split", root, "--out", tmp_path / "s.csv", "--seed", 3, "--cache-folder", tmp_path / "cache")
    rows = read(tmp_path / "s.csv")
    assert dict(zip(rows["id"], rows["split"], strict=True)) == dict(
        zip(plan.table.frame["id"], plan.table.frame["split"], strict=True)
    )
    assert "60 near duplicates in 20 families kept together" in plan.split_origin
    folds = ma.make_plan(**given, folds=4)
    assert "60 near duplicates in 20 families kept together" in folds.split_origin
    for table in folds.tables:
        assert (table.frame.groupby(table.frame["id"].map(family))["split"].nunique() == 1).all()
    apart = ma.make_plan(**given, alike=None)
    assert "near duplicates" not in apart.split_origin
    assert (apart.table.frame.groupby(apart.table.frame["id"].map(family))["split"].nunique() > 1).any()
    apart.table.frame[["id", "split"]].to_csv(tmp_path / "leaking.csv", index=False)
    leaking = ma.make_plan(**given, split=tmp_path / "leaking.csv")
    assert "near-duplicate-test" in {finding.kind for finding in leaking.findings}
