"""The examination finds what was planted: near duplicates, shortcuts, odd files; and says where."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import magg  # noqa: F401  (fixture)
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import gaussian_filter

import model_aggregation as ma
from model_aggregation.data import look_alikes
from model_aggregation.data.doctor.examination import Examination, examine
from model_aggregation.data.doctor.rule import CheckRule
from model_aggregation.data.doctor.shortcuts import find_shortcuts, shortcut_findings
from model_aggregation.data.duplicate_findings import near_duplicates
from model_aggregation.data.finding import Finding
from model_aggregation.data.inspection import inspect
from model_aggregation.data.kept_tables import KeptTables
from model_aggregation.data.look_alikes import find_look_alikes, mark_look_alikes
from model_aggregation.data.scan import scan
from model_aggregation.errors import DataError, SettingsError

RULE = CheckRule(image_size=32)


def scene(seed: int, size: int = 64) -> Image.Image:
    """A picture of soft shapes, of brightness and contrast that do not depend on the seed much."""
    noise = np.random.default_rng(seed).normal(size=(size, size, 3))
    soft = gaussian_filter(noise, (6, 6, 0)) + gaussian_filter(noise, (2, 2, 0)) / 8
    soft = (soft - soft.mean()) / soft.std()
    return Image.fromarray(np.clip(128 + 40 * soft, 0, 255).astype(np.uint8))


def data_set(root: Path, per_class: int = 20, *, splits: tuple[str, ...] = ("",)) -> Path:
    seed = 0
    for split in splits:
        for label in ("cat", "dog"):
            for number in range(per_class):
                path = root / split / label / f"{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                seed += 1
                scene(seed).save(path)
    return root


def examined(root: Path, tmp_path: Path, **options) -> Examination:
    return examine(root, CheckRule(**{"image_size": 32, "cache_folder": tmp_path / "cache", **options}))


def kinds(found: Examination) -> dict[str, Finding]:
    return {finding.kind: finding for finding in found.findings}


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


CHANGES = {
    "smaller": lambda image: image.resize((32, 32), Image.Resampling.BICUBIC),
    "larger": lambda image: image.resize((100, 100), Image.Resampling.BICUBIC),
    "recompressed": lambda image: recompressed(image, 30),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.5),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.5),
    "grey": lambda image: image.convert("L"),
    "inverted": ImageOps.invert,
    "mirrored": ImageOps.mirror,
    "smaller, recompressed, darker": lambda image: recompressed(
        ImageEnhance.Brightness(image.resize((38, 38), Image.Resampling.BICUBIC)).enhance(0.8), 60
    ),
    "cropped": lambda image: image.crop((1, 1, 64, 64)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(tmp_path: Path, change: str) -> None:
    root = data_set(tmp_path / "images", splits=("train", "val", "test"))
    CHANGES[change](scene(3)).save(root / "test" / "cat" / "copy.png")
    table = inspect(scan(root), appearance=True)
    pairs = find_look_alikes(table).pairs
    name = table.frame.set_index("pixel_hash")["id"]
    assert [{name[pair.first], name[pair.second]} for pair in pairs.itertuples()] == [
        {"train/cat/002.png", "test/cat/copy.png"}
    ]
    assert pairs["change"].tolist() == [change if change in ("inverted", "mirrored") else ""]
    assert pairs["similarity"].between(0.95, 1.001).all()


def test_near_duplicates_are_told_by_what_they_do(tmp_path: Path) -> None:
    root = data_set(tmp_path / "images", splits=("train", "val", "test"))
    CHANGES["smaller"](scene(1)).save(root / "test" / "cat" / "a.png")  # train/cat/000
    CHANGES["darker"](scene(2)).save(root / "val" / "cat" / "b.png")  # train/cat/001
    CHANGES["mirrored"](scene(3)).save(root / "train" / "dog" / "c.png")  # train/cat/002
    CHANGES["larger"](scene(4)).save(root / "train" / "cat" / "d.png")  # train/cat/003
    found = kinds(examined(root, tmp_path))
    assert {kind: (finding.severity, set(finding.files)) for kind, finding in found.items() if "near" in kind} == {
        "near-duplicate-test": ("warning", {"train/cat/000.png", "test/cat/a.png"}),
        "near-duplicate-train-val": ("warning", {"train/cat/001.png", "val/cat/b.png"}),
        "near-duplicate-labels": ("warning", {"train/cat/002.png", "train/dog/c.png"}),
        "near-duplicate-within": ("note", {"train/cat/003.png", "train/cat/d.png"}),
    }
    assert found["near-duplicate-labels"].details[0].endswith("mirrored")


def test_look_alikes_agree_with_every_pair_compared(tmp_path: Path) -> None:
    for number in range(60):  # neighbours in a film: each frame like the next
        path = tmp_path / ("a" if number % 2 else "b") / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        mixed = Image.blend(scene(number // 6), scene(number // 6 + 1), number % 6 / 6)
        mixed.save(path)
    table = inspect(scan(tmp_path), appearance=True)
    rows = table.frame
    assert table.thumbnails is not None
    thumbnails = list(table.thumbnails[rows["look_thumbnail"].to_numpy(dtype=int)])
    small = [np.rint(resized(thumbnail, 16)).ravel() for thumbnail in thumbnails]
    vectors = (small - np.mean(small, 1, keepdims=True)) / np.std(small, 1, keepdims=True)
    shared = np.linalg.svd(vectors)[2][0]
    left = vectors - np.outer(vectors @ shared, shared)
    left -= left.mean(1, keepdims=True)
    details = [gaussian_filter(resized(thumbnail, 32), 4) for thumbnail in thumbnails]
    fine = np.corrcoef(
        [(resized(picture, 32) - blur).ravel() for picture, blur in zip(thumbnails, details, strict=True)]
    )
    wanted = np.corrcoef(left)
    for threshold in (0.8, 0.95):
        pairs = find_look_alikes(table, threshold=threshold).pairs
        place = pd.Series(range(len(rows)), index=rows["pixel_hash"])
        plain = pairs[pairs["change"] == ""]
        found = {tuple(sorted((int(place[p.first]), int(place[p.second])))) for p in plain.itertuples()}
        near = {(i, j) for i in range(60) for j in range(i + 1, 60) if wanted[i, j] >= threshold}
        agreeing = {pair for pair in near if fine[pair] >= 1 - 0.6 * (1 - threshold)}
        assert agreeing <= found <= near  # a crop may agree where the whole picture does not
        assert len(found - agreeing) < len(agreeing) / 10
    with pytest.raises(SettingsError, match=r"0\.5 and 1"):
        find_look_alikes(table, threshold=5)


def resized(picture: np.ndarray, size: int) -> np.ndarray:
    """A picture as Pillow resizes it in floats."""
    image = Image.fromarray(picture.astype(np.float32))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def test_outlines_that_all_share_make_no_near_duplicates(tmp_path: Path) -> None:
    """Cells, films of chests: one outline, and within it what differs is faint."""
    rows, columns = np.mgrid[-1:1:50j, -1:1:50j]
    for number in range(60):
        chance = np.random.default_rng(number)
        disc = 160 * (np.hypot(rows * chance.uniform(0.99, 1.01), columns) < chance.uniform(0.9, 0.93))
        inside = disc + 12 * (disc > 0) * gaussian_filter(chance.normal(size=(50, 50)), 2) / 0.14
        path = tmp_path / ("a" if number % 2 else "b") / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.clip(inside, 0, 255).astype(np.uint8)).save(path)
    copy = Image.open(tmp_path / "b" / "00.png").resize((30, 30), Image.Resampling.BICUBIC)
    recompressed(ImageEnhance.Brightness(copy).enhance(0.8).convert("RGB"), 60).save(tmp_path / "a" / "copy.png")
    table = inspect(scan(tmp_path), appearance=True)
    marked = mark_look_alikes(table, find_look_alikes(table)).frame
    assert marked.loc[marked["look_alike"].notna(), "id"].tolist() == ["a/copy.png", "b/00.png"]


def test_very_many_look_alikes_are_cut_short_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        path = tmp_path / "images" / ("a" if number % 2 else "b") / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        faint = np.random.default_rng(number).normal(scale=1.5, size=(64, 64, 3))
        Image.fromarray(np.clip(scene(number // 20) + faint, 0, 255).astype(np.uint8)).save(path)
    table = inspect(scan(tmp_path / "images"), appearance=True)
    whole = find_look_alikes(table)
    assert whole.complete
    assert len(whole.pairs) > 400
    monkeypatch.setattr(look_alikes, "_MOST_PAIRS", 30)
    kept = KeptTables(tmp_path / "kept")
    for _ in range(2):  # also when it is taken from the disk
        alike = find_look_alikes(table, kept=kept)
        assert not alike.complete
        assert len(alike.pairs) <= 30 + 60
    families = [mark_look_alikes(table, found).frame["look_alike"].nunique() for found in (whole, alike)]
    assert families == [3, 3]
    found = {finding.kind: finding for finding in near_duplicates(table, alike)}
    assert found["near-duplicate-many"].severity == "warning"
    assert found["near-duplicate-labels"].message.startswith("at least ")
    assert "near-duplicate-many" not in {finding.kind for finding in near_duplicates(table, whole)}


def test_families_of_look_alikes_share_a_number(tmp_path: Path) -> None:
    root = data_set(tmp_path)
    CHANGES["smaller"](scene(1)).save(root / "dog" / "x.png")
    CHANGES["darker"](scene(1)).save(root / "dog" / "y.png")
    table = inspect(scan(root), appearance=True)
    marked = mark_look_alikes(table, find_look_alikes(table)).frame.set_index("id")["look_alike"]
    assert set(marked.dropna().index) == {"cat/000.png", "dog/x.png", "dog/y.png"}
    assert marked.dropna().nunique() == 1


def planted_shortcut(root: Path, kind: str) -> Path:
    for number in range(60):
        label = "cat" if number % 2 else "dog"
        image, suffix = scene(number), "png"
        if label == "cat" and kind == "brightness":
            image = ImageEnhance.Brightness(image).enhance(1.25)
        if label == "cat" and kind == "image size":
            image = image.resize((80, 80))
        if label == "cat" and kind == "storage":
            suffix = "bmp"
        if label == "cat" and kind == "colour":
            pixels = np.asarray(image, dtype=float) * [1.15, 1, 0.85]
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        if label == "cat" and kind == "border":
            image = ImageOps.expand(image.crop((6, 6, 58, 58)), border=6, fill=(90, 90, 90))
        if label == "cat" and kind == "detail":
            image = recompressed(image, 10)
        path = root / label / f"{number}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return root


@pytest.mark.parametrize("kind", ["brightness", "image size", "storage", "colour", "border", "detail"])
def test_a_planted_shortcut_is_found(tmp_path: Path, kind: str) -> None:
    table = inspect(scan(planted_shortcut(tmp_path, kind)), appearance=True)
    found = [finding for finding in shortcut_findings(find_shortcuts(table)) if finding.message.startswith(kind)]
    assert len(found) == 1
    assert float(re.search(r"AUC (\d\.\d+)", found[0].message)[1]) > 0.85
    assert len(found[0].details) == 2


def test_without_a_shortcut_there_is_no_warning(tmp_path: Path) -> None:
    shortcuts = find_shortcuts(inspect(scan(planted_shortcut(tmp_path, "none")), appearance=True))
    assert list(shortcut_findings(shortcuts)) == []
    assert shortcuts.aucs["auc"].between(0.1, 0.8).all()


def test_too_few_images_or_groups_are_said(tmp_path: Path) -> None:
    table = inspect(scan(data_set(tmp_path, 9)), appearance=True)
    assert "fewer than two classes" in find_shortcuts(table).reason
    table = inspect(scan(data_set(tmp_path / "more", 12), group=r"(?P<group>[0-9])\.png"), appearance=True)
    table.frame["group"] = table.frame["label"]
    assert "fewer than 5 groups" in find_shortcuts(table).reason


def test_odd_files_are_found(tmp_path: Path) -> None:
    root = data_set(tmp_path / "images")
    folder = root / "cat"
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(101).save(folder / "turned.jpg", exif=exif)
    scene(102).convert("CMYK").save(folder / "cmyk.jpg")
    scene(103).quantize(16).save(folder / "palette.png")
    scene(104).save(folder / "long.png")
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 200), dtype=np.uint8)).save(folder / "long.png")
    (folder / "lying.jpg").write_bytes((folder / "001.png").read_bytes())
    scene(105, 12).save(folder / "tiny.png")
    (folder / "empty.png").write_bytes(b"")
    scene(106, 100).save(folder / "huge.png")
    found = kinds(examined(root, tmp_path))
    assert found["turned"].files == ("cat/turned.jpg",)
    assert found["odd-mode"].files == ("cat/cmyk.jpg", "cat/palette.png")
    assert "CMYK 1, P 1" in found["odd-mode"].message
    assert found["aspect"].files == ("cat/long.png",)
    assert found["wrong-suffix"].files == ("cat/lying.jpg",)
    assert found["small"].files == ("cat/tiny.png",)
    assert found["unreadable"].files == ("cat/empty.png",)


def test_the_pixel_limit_may_be_chosen(tmp_path: Path, magg) -> None:  # noqa: F811
    root = data_set(tmp_path / "images")
    scene(106, 100).save(root / "cat" / "huge.png")
    cache = ("--cache-folder", tmp_path / "cache", "--out", tmp_path / "out")
    assert "huge.png" not in magg("check", root, *cache)
    shown = magg("check", root, "--max-pixels", 9_000, *cache, expect=1)
    assert "huge.png: cannot be read: Image size (10000 pixels) exceeds limit of 9000 pixels" in shown


def test_class_sizes(tmp_path: Path) -> None:
    root = data_set(tmp_path / "images", 20)
    for number in range(9):
        (root / "elk").mkdir(exist_ok=True)
        scene(900 + number).save(root / "elk" / f"{number}.png")
    for number in range(80):
        scene(700 + number).save(root / "dog" / f"more{number}.png")
    found = kinds(examined(root, tmp_path))
    assert "elk (9)" in found["tiny-class"].message
    assert "cat (20)" in found["small-class"].message
    assert "'dog' has 100 images, the smallest 'elk' has 9" in found["imbalance"].message


def test_splits_that_look_otherwise(tmp_path: Path) -> None:
    root = data_set(tmp_path / "images", splits=("train", "val", "test"))
    assert "split-differs" not in kinds(examined(root, tmp_path))
    for path in (root / "test").rglob("*.png"):
        ImageEnhance.Brightness(Image.open(path)).enhance(0.6).save(path)
    finding = kinds(examined(root, tmp_path))["split-differs"]
    assert finding.message.startswith("the test images look otherwise than those of train (brightness: 12")


def test_an_unsplit_data_set_is_no_error(tmp_path: Path) -> None:
    found = examined(data_set(tmp_path / "images", 40), tmp_path)
    assert [finding.kind for finding in found.findings] == ["no-group"]
    assert found.passed
    assert found.statistics["label"].tolist() == ["all", "cat", "dog"]
    assert found.statistics["images"].tolist() == [80, 40, 40]
    rows = found.table.frame
    of_cats = rows.loc[rows["label"] == "cat", "look_brightness"]
    assert found.statistics.loc[1, "brightness_mean"] == pytest.approx(of_cats.mean(), abs=1e-3)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names, self.sources = [], []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]


def test_the_command_prints_and_writes_a_page_of_its_own(tmp_path: Path, magg, monkeypatch) -> None:  # noqa: F811
    monkeypatch.chdir(tmp_path)
    root = data_set(tmp_path / "images <b>", 20)
    (root / "cat" / "<script>.png").write_bytes(b"")
    CHANGES["smaller"](scene(1)).save(root / "cat" / "copy.png")
    shown = magg("check", root, "--image-size", 32, "--cache-folder", tmp_path / "cache", expect=1)
    assert "error: 1 images cannot be read" in shown
    assert "42 images in 2 classes: 1 error, 2 warnings, 1 note." in shown
    folder = tmp_path / "check" / "images <b>"
    assert {path.name for path in folder.iterdir()} == {"findings.csv", "statistics.csv", "findings.html"}
    written = pd.read_csv(folder / "findings.csv", keep_default_na=False)
    assert written.columns.tolist() == ["severity", "kind", "message", "files", "details"]
    assert written["kind"].tolist() == ["unreadable", "small-class", "no-group", "near-duplicate-within"]
    html = (folder / "findings.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(html)
    assert "script" not in tags.names
    assert tags.names.count("img") == 2
    assert all(source.startswith("data:image/jpeg;base64,") for source in tags.sources)
    assert len(html) < 100_000


def test_from_python(tmp_path: Path) -> None:
    root = data_set(tmp_path / "images", 20)
    found = ma.check(root, quiet=True, cache_folder=tmp_path / "cache", out=tmp_path / "out")
    assert found.findings_table().equals(
        pd.read_csv(tmp_path / "out" / "findings.csv", keep_default_na=False).astype(found.findings_table().dtypes)
    )
    with pytest.raises(SettingsError, match="did you mean alike"):
        ma.check(root, quiet=True, alik=1)
    with pytest.raises(DataError, match="does not exist"):
        ma.check(tmp_path / "none", quiet=True)
