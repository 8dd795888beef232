"""What the inspection reads, and every finding on a small data set that has exactly that fault."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from conftest import write_image
from PIL import Image

from model_aggregation.data.image_table import ImageTable
from model_aggregation.data.inspection import Finding, check, inspect, list_findings
from model_aggregation.data.scan import scan
from model_aggregation.data.splitting import SplitRule, split_images
from model_aggregation.errors import DataError


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)).save(path)


def data_set(root: Path, sizes: dict[str, int]) -> Path:
    """Write different pictures: {"train/cat": 3} gives train/cat/0.png, 1.png, 2.png."""
    for number, (folder, size) in enumerate(sizes.items()):
        for image in range(size):
            picture(root / folder / f"{image}.png", 1000 * number + image)
    return root


def sound(root: Path) -> Path:
    return data_set(root, {f"{split}/{label}": 30 for split in ("train", "val", "test") for label in ("cat", "dog")})


def kinds(findings: list[Finding]) -> dict[str, str]:
    return {finding.kind: finding.severity for finding in findings}


def findings_of(root: Path, **options) -> dict[str, Finding]:
    return {finding.kind: finding for finding in list_findings(inspect(scan(root)), **options)}


def test_columns_are_what_hashlib_and_pillow_say(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "a.png", 1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("CMYK", (5, 9)).save(tmp_path / "cat" / "b.jpg", exif=exif)
    seen: list[tuple[int, int]] = []
    table = inspect(scan(tmp_path), progress=lambda done, total: seen.append((done, total)))
    first, second = table.frame.to_dict("records")
    data = (tmp_path / "cat" / "a.png").read_bytes()
    assert first["content_hash"] == hashlib.sha256(data).hexdigest()
    assert first["bytes"] == len(data)
    pixels = Image.open(tmp_path / "cat" / "a.png").tobytes()
    assert first["pixel_hash"] == hashlib.sha256(b"7x5:" + pixels).hexdigest()
    assert (first["width"], first["height"], first["mode"], first["format"]) == (7, 5, "RGB", "PNG")
    assert (second["width"], second["height"], second["mode"], second["format"]) == (9, 5, "CMYK", "JPEG")
    assert seen == [(1, 2), (2, 2)]
    assert table.frame["readable"].all()


def test_pixel_hash_is_equal_across_containers_and_differs_by_shape(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for name, pixels in {
        "a.png": grey,
        "b.bmp": grey,
        "c.tif": np.dstack([grey] * 3),
        "d.png": grey.reshape(4, 3),
    }.items():
        Image.fromarray(pixels).save(tmp_path / "cat" / name)
    hashes = inspect(scan(tmp_path)).frame["pixel_hash"].tolist()
    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]


def test_processes_give_the_same_as_one_process(tmp_path: Path) -> None:
    table = scan(data_set(tmp_path, {"cat": 201, "dog": 10}))
    (tmp_path / "cat" / "7.png").write_bytes(b"broken")
    alone, together = inspect(table, workers=1), inspect(table, workers=2)
    assert alone.frame.equals(together.frame)
    assert alone.fingerprint() == together.fingerprint()
    assert alone.frame.loc[~alone.frame["readable"], "id"].tolist() == ["cat/7.png"]


def test_fingerprint_changes_with_every_part_and_not_with_the_place(tmp_path: Path) -> None:
    before = inspect(scan(sound(tmp_path / "one"))).fingerprint()
    assert inspect(scan(sound(tmp_path / "two"))).fingerprint() == before
    changed = {before}
    picture(tmp_path / "one" / "train" / "cat" / "0.png", 9999)
    table = inspect(scan(tmp_path / "one"))
    changed.add(table.fingerprint())
    for column in ("label", "split", "group", "id"):
        frame = table.frame.copy()
        frame.loc[3, column] = "other"
        changed.add(dataclasses.replace(table, frame=frame).fingerprint())
    assert len(changed) == 6
    with pytest.raises(ValueError, match="inspect"):
        scan(tmp_path / "one").fingerprint()


def test_a_sound_data_set_has_only_the_banner(tmp_path: Path) -> None:
    table = inspect(scan(sound(tmp_path)))
    same, findings = check(table)
    assert same.frame.equals(table.frame)
    assert kinds(findings) == {"no-group": "warning"}
    assert "split by image; leakage between images of one patient cannot be excluded" in findings[0].message


def test_groups_silence_the_banner_and_a_torn_group_is_an_error(tmp_path: Path) -> None:
    root = sound(tmp_path)
    with pytest.raises(DataError, match="1 problem stands") as caught:
        check(inspect(scan(root, group=r"(?P<group>\d+)\.png")))
    assert "30 groups lie in more than one split" in str(caught.value)
    assert check(inspect(scan(root, group=r"(?P<group>.+)")))[1] == []


def test_the_banner_offers_a_guess(tmp_path: Path) -> None:
    for number in range(20):
        picture(tmp_path / "train" / "cat" / f"P{number // 2}_{number}.png", number)
    message = findings_of(tmp_path)["no-group"].message
    assert '--group "(?P<group>' in message


def test_unreadable_files_stop_the_run_or_are_left_out_and_recorded(tmp_path: Path) -> None:
    root = sound(tmp_path)
    (root / "test" / "cat" / "3.png").write_bytes(b"")
    (root / "train" / "dog" / "4.png").write_bytes(b"GIF89a")
    table = inspect(scan(root))
    with pytest.raises(DataError, match="--skip-unreadable") as caught:
        check(table)
    assert "test/cat/3.png: cannot be read: the file is empty" in str(caught.value)
    assert "train/dog/4.png" in str(caught.value)
    kept, findings = check(table, skip_unreadable=True)
    finding = next(finding for finding in findings if finding.kind == "unreadable")
    assert finding.severity == "warning"
    assert finding.files == ("test/cat/3.png", "train/dog/4.png")
    assert "1 of them are test images" in finding.message
    assert len(kept.frame) == 180
    assert len(kept.part("test")) == 59
    assert kept.counts().loc["dog", "train"] == 29
    assert kept.frame.loc[~kept.frame["readable"], "width"].isna().all()


def test_classes_missing_in_splits(tmp_path: Path) -> None:
    root = data_set(tmp_path, {"train/cat": 3, "train/dog": 3, "val/cat": 2, "test/cat": 2, "test/bird": 1})
    with pytest.raises(DataError) as caught:
        check(inspect(scan(root)))
    assert "training images do not know: bird" in str(caught.value)
    findings = list_findings(inspect(scan(root)))
    missing = [finding.message for finding in findings if finding.kind == "class-missing"]
    assert missing[0].startswith("the val images hold none of: bird, dog")
    assert missing[1].startswith("the test images hold none of: dog")
    assert kinds(findings)["class-missing"] == "warning"


def test_a_class_whose_training_images_are_all_unreadable(tmp_path: Path) -> None:
    root = sound(tmp_path)
    for path in (root / "train" / "cat").iterdir():
        path.write_bytes(b"")
    finding = findings_of(root, skip_unreadable=True)
    assert finding["class-missing"].severity == "error"
    assert "no readable training image of: cat" in finding["class-missing"].message


def test_one_class_empty_class_and_similar_names(tmp_path: Path) -> None:
    assert (
        "one folder deeper" in findings_of(data_set(tmp_path / "a", {"all/cat": 2, "all/dog": 2}))["one-class"].message
    )
    root = sound(tmp_path / "b")
    (root / "train" / "bird").mkdir()
    assert findings_of(root)["empty-class"].severity == "error"
    for number in range(2):
        picture(root / "train" / "ＣＡＴ" / f"{number}.png", 7000 + number)
    finding = findings_of(root)["similar-classes"]
    assert (finding.severity, "'cat' / 'ＣＡＴ'" in finding.message) == ("warning", True)


def test_missing_splits(tmp_path: Path) -> None:
    only_train = data_set(tmp_path / "a", {"train/cat": 2, "train/dog": 2})
    assert {"no-val": "warning", "no-test": "warning"}.items() <= kinds(list(findings_of(only_train).values())).items()
    only_test = data_set(tmp_path / "b", {"test/cat": 2, "test/dog": 2})
    assert findings_of(only_test)["no-train"].severity == "error"
    unsplit = data_set(tmp_path / "c", {"cat": 2, "dog": 2})
    assert findings_of(unsplit)["no-split"].severity == "error"
    with pytest.raises(ValueError, match="inspect"):
        list_findings(scan(unsplit))


def test_duplicates(tmp_path: Path) -> None:
    root = sound(tmp_path)
    picture(root / "train" / "cat" / "same.png", 1)  # as train/cat/1.png
    assert findings_of(root)["duplicate-within"].severity == "note"
    picture(root / "val" / "cat" / "same.bmp", 1)
    finding = findings_of(root)["duplicate-train-val"]
    assert finding.severity == "warning"
    assert finding.files == ("train/cat/1.png", "train/cat/same.png", "val/cat/same.bmp")
    picture(root / "test" / "dog" / "same.tif", 1)
    table = inspect(scan(root))
    with pytest.raises(DataError, match="--allow-duplicates") as caught:
        check(table)
    assert "test/dog/same.tif" in str(caught.value)
    _, findings = check(table, allow_duplicates=True)
    assert kinds(findings)["duplicate-test"] == "warning"
    assert kinds(findings)["duplicate-labels"] == "warning"


def test_duplicate_ids(tmp_path: Path) -> None:
    root = data_set(tmp_path, {"cat": 2, "dog": 2})
    lines = ["path,label,split", "cat/0.png,cat,train", "./cat//0.png,cat,train", "dog/0.png,dog,train"]
    (root / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    finding = findings_of(root / "t.csv")["duplicate-id"]
    assert (finding.severity, finding.files) == ("error", ("cat/0.png",))


def test_small_test_sets(tmp_path: Path) -> None:
    root = data_set(
        tmp_path,
        {"train/cat": 2, "train/dog": 2, "train/elk": 2, "test/cat": 9, "test/dog": 29, "test/elk": 30},
    )
    findings = findings_of(root)
    assert findings["too-few-test"].message.endswith("test images of cat (9)")
    assert findings["few-test"].message.endswith("test images of dog (29)")


def test_what_the_pixels_tell(tmp_path: Path) -> None:
    root = sound(tmp_path)
    folder = root / "train" / "cat"
    Image.fromarray(np.array([[291, 694]], dtype=np.uint16)).save(folder / "dim.png")
    Image.fromarray(np.array([[-3.0, 3.0]], dtype=np.float32)).save(folder / "float.tif")
    Image.new("RGB", (4, 4), (200, 10, 10)).save(folder / "flat.png")
    pages = [Image.fromarray(np.array([[value, 255]], dtype=np.uint8)) for value in (0, 1)]
    pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:])
    findings = findings_of(root)
    expected = {
        "deep": ("train/cat/dim.png", "train/cat/float.tif"),
        "own-scale": ("train/cat/float.tif",),
        "low-contrast": ("train/cat/dim.png",),
        "flat": ("train/cat/flat.png",),
        "frames": ("train/cat/pages.tif",),
    }
    assert {kind: findings[kind].files for kind in expected} == expected


def test_ignored_files_are_a_note_but_lost_images_a_warning(tmp_path: Path) -> None:
    root = sound(tmp_path)
    (root / "train" / "cat" / "Thumbs.db").write_bytes(b"")
    (root / "train" / "cat" / "scan.nii").write_bytes(b"")
    picture(root / "test" / "unlabelled.png", 1)
    findings = findings_of(root)
    assert findings["ignored"].severity == "note"
    assert findings["images-left-aside"].severity == "warning"
    assert "scan.nii" in str(findings["images-left-aside"])
    assert "unlabelled.png" in str(findings["images-left-aside"])


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    root = sound(tmp_path)
    (root / "train" / "bird").mkdir()
    (root / "train" / "cat" / "0.png").write_bytes(b"")
    picture(root / "test" / "elk" / "0.png", 1001)  # as train/dog/1.png
    with pytest.raises(DataError) as caught:
        check(inspect(scan(root)))
    assert len(caught.value.problems) == 4
    for word in ("cannot be read", "--allow-duplicates", "bird", "do not know: elk"):
        assert word in str(caught.value)


def test_an_automatic_split_passes_the_check(tmp_path: Path) -> None:
    root = data_set(tmp_path, {"cat": 20, "dog": 12})
    for number in range(5):
        picture(root / "dog" / f"twin{number}.bmp", 1000 + number)
    (root / "cat" / "3.png").write_bytes(b"")
    table: ImageTable = split_images(inspect(scan(root)), SplitRule())
    _, findings = check(table, skip_unreadable=True)
    assert not {"duplicate-test", "duplicate-train-val", "class-missing"} & set(kinds(findings))


def test_class_names_that_a_spreadsheet_takes_for_formulas_are_found(tmp_path):
    for label in ("=1+1", "@home", "plain"):
        for number in range(3):
            write_image(tmp_path / label / f"{number}.png", bright=label == "plain", seed=number + 10 * len(label))
    table = split_images(inspect(scan(tmp_path)), SplitRule(0.3, 0.7, 0))
    found = [finding for finding in list_findings(table) if finding.kind == "formula-name"]
    assert [finding.severity for finding in found] == ["warning"]
    assert "=1+1, @home" in found[0].message
