"""The three layouts, junk, odd names, links, groups and every refusal of an ambiguous data set."""

import os
import sys
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_aggregation.data.grouping import guess_pattern
from model_aggregation.data.scan import scan
from model_aggregation.errors import DataError

FOLDED = unicodedata.normalize("NFD", "がん")  # two code points more than NFC


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")  # scanning never opens an image
    return root


def rows(table, *columns: str) -> list[tuple[str, ...]]:
    return list(table.frame[list(columns)].itertuples(index=False, name=None))


def test_class_folders(tmp_path: Path) -> None:
    root = touch(tmp_path / "私の データ", "dog/b.PNG", "cat/deep er/a.jpg", "cat/1.tif", "dog/é.png")
    table = scan(root)
    assert rows(table, "id", "label", "split", "group") == [
        ("cat/1.tif", "cat", "", ""),
        ("cat/deep er/a.jpg", "cat", "", ""),
        ("dog/b.PNG", "dog", "", ""),
        ("dog/é.png", "dog", "", ""),
    ]
    assert table.classes == ("cat", "dog")
    assert table.root == root
    assert not table.presplit
    assert not table.has_groups
    assert all(Path(path).is_file() for path in table.frame["path"])
    assert table.counts().loc["cat"].to_dict() == {"train": 0, "val": 0, "test": 0, "unsplit": 2}


def test_split_folders(tmp_path: Path) -> None:
    table = scan(touch(tmp_path, "train/cat/a.png", "train/dog/x/b.png", "test/dog/c.png"))
    assert rows(table, "id", "label", "split") == [
        ("test/dog/c.png", "dog", "test"),
        ("train/cat/a.png", "cat", "train"),
        ("train/dog/x/b.png", "dog", "train"),
    ]
    assert table.presplit
    assert table.part("train")["id"].tolist() == ["train/cat/a.png", "train/dog/x/b.png"]


@pytest.mark.parametrize(
    "folders",
    [
        ["train", "other"],
        ["Train", "Test"],
        ["train", "valid"],
        ["train", "validation", "test"],
        ["test", "control"],
    ],
)
def test_ambiguous_layouts_are_refused_and_name_the_way_out(tmp_path: Path, folders: list[str]) -> None:
    root = touch(tmp_path, *[f"{folder}/cat/a.png" for folder in folders])
    with pytest.raises(DataError, match="--layout splits") as caught:
        scan(root)
    assert "--layout classes" in str(caught.value)
    assert scan(root, layout="classes").classes == tuple(sorted(folders))


def test_layout_splits_takes_other_spellings_and_leaves_other_folders_aside(tmp_path: Path) -> None:
    table = scan(touch(tmp_path, "Train/cat/a.png", "validation/cat/b.png", "raw/cat/c.png"), layout="splits")
    assert rows(table, "id", "split") == [("Train/cat/a.png", "train"), ("validation/cat/b.png", "val")]
    assert table.ignored == ("raw/cat/c.png: not in a folder for a split",)
    with pytest.raises(DataError, match="two folders for one split"):
        scan(touch(tmp_path, "val/cat/d.png"), layout="splits")
    with pytest.raises(DataError, match="no folder is named"):
        scan(touch(tmp_path / "deeper", "cat/d.png"), layout="splits")


def test_junk_is_left_aside_and_named(tmp_path: Path) -> None:
    root = touch(
        tmp_path,
        *["cat/a.png", "cat/Thumbs.db", "cat/.DS_Store", "cat/._a.png", ".git/x.png", "__MACOSX/cat/a.png"],
        *["cat/notes.txt", "cat/LICENSE", "cat/scan.nii", "overview.png"],
    )
    table = scan(root)
    assert table.frame["id"].tolist() == ["cat/a.png"]
    assert table.classes == ("cat",)
    reasons = dict(line.split(": ", 1) for line in table.ignored)
    assert set(reasons) == {
        *["cat/Thumbs.db", "cat/.DS_Store", "cat/._a.png", ".git", "__MACOSX"],
        *["cat/notes.txt", "cat/LICENSE", "cat/scan.nii", "overview.png"],
    }
    assert reasons[".git"] == "hidden"
    assert "convert" in reasons["cat/scan.nii"]
    assert "outside any class folder" in reasons["overview.png"]


def test_nothing_found_is_an_error_that_lists_what_was_left_aside(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        scan(tmp_path / "none")
    with pytest.raises(DataError, match=r"a\.png: an image outside"):
        scan(touch(tmp_path, "a.png"))


def test_an_empty_class_folder_stays_a_class(tmp_path: Path) -> None:
    root = touch(tmp_path, "train/cat/a.png", "train/dog/b.png", "test/cat/c.png")
    (root / "test" / "bird").mkdir()
    assert scan(root).classes == ("bird", "cat", "dog")


def test_names_are_nfc_in_ids_and_as_on_disk_in_paths(tmp_path: Path) -> None:
    table = scan(touch(tmp_path, f"{FOLDED}/a.png", "cat/b.png"))
    assert table.classes == ("cat", "がん")
    assert table.frame["id"].tolist() == ["cat/b.png", "がん/a.png"]
    assert all(Path(path).is_file() for path in table.frame["path"])


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    outside = touch(tmp_path / "outside", "x.png", "sub/y.png")
    root = touch(tmp_path / "root", "cat/a.png")
    (root / "dog").symlink_to(outside)
    (outside / "again").symlink_to(root)
    (outside / "loop").symlink_to(outside)
    (root / "cat" / "up").symlink_to(root)
    (root / "cat" / "above").symlink_to(tmp_path)
    (root / "cat" / "self.png").symlink_to(root / "cat" / "self.png")
    (root / "cat" / "gone.png").symlink_to(root / "nowhere.png")
    os.mkfifo(root / "cat" / "pipe.png")
    table = scan(root)
    # broken links are kept, so that the inspection reports them
    ids = ["cat/a.png", "cat/gone.png", "cat/self.png", "dog/sub/y.png", "dog/x.png"]
    assert table.frame["id"].tolist() == ids
    assert [line.split(":")[0] for line in table.ignored] == [
        "cat/above",
        "cat/pipe.png",
        "cat/up",
        "dog/again",
        "dog/loop",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names of any bytes")
def test_names_that_are_not_utf8_are_all_listed(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png")
    for name in ("画像".encode("cp932") + b".png", b"\xff.png"):
        Path(os.fsdecode(os.fsencode(tmp_path / "cat") + b"/" + name)).write_bytes(b"")
    with pytest.raises(DataError, match="not UTF-8") as caught:
        scan(tmp_path)
    assert len(caught.value.problems) == 2
    str(caught.value).encode("utf-8")


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932"])
def test_table(tmp_path: Path, encoding: str) -> None:
    touch(tmp_path, "画像/b.png", "画像/a.png", "elsewhere/c.png", "data/x")
    (tmp_path / "data" / "x").unlink()
    text = "path,label,split,group,site,id\n"
    text += "..\\画像\\b.png,01,train,P1,東京,7\n../画像/a.png,NA,test,P2,,8\n"
    text += f"{tmp_path / 'elsewhere' / 'c.png'},01,val,P3,x,9\n"
    table = scan(write(tmp_path / "data" / "table.csv", text, encoding))
    outside = (tmp_path / "elsewhere" / "c.png").as_posix()
    assert rows(table, "id", "label", "split", "group", "site", "table_id") == sorted(
        [
            ("../画像/a.png", "NA", "test", "P2", "", "8"),
            ("../画像/b.png", "01", "train", "P1", "東京", "7"),
            (outside, "01", "val", "P3", "x", "9"),
        ]
    )
    assert table.classes == ("01", "NA")
    assert table.metadata_columns == ("site", "table_id")
    assert "column id: kept as table_id" in table.ignored[0]


def test_table_with_absolute_paths_inside_gives_relative_ids(tmp_path: Path) -> None:
    touch(tmp_path, f"cat/{FOLDED}.png")
    listed = tmp_path / "cat" / "がん.png"  # NFC in the table, NFD on disk
    table = scan(write(tmp_path / "t.csv", f"path,label\n{listed},cat\n"))
    assert table.frame["id"].tolist() == ["cat/がん.png"]
    assert Path(table.frame["path"][0]).is_file()


def test_parquet_table(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png")
    frame = pd.DataFrame({"path": ["b.png", "a.png"], "label": [1, 0], "age": [40.5, 60.0]})
    frame.to_parquet(tmp_path / "t.parquet")
    table = scan(tmp_path / "t.parquet")
    assert rows(table, "id", "label", "age") == [("a.png", "0", 60.0), ("b.png", "1", 40.5)]


def test_all_problems_of_a_table_at_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png")
    text = "path,label,split\na.png,,train\nb.png,x,valid\nnone.png,x,\ngone.png,y,test\n"
    with pytest.raises(DataError) as caught:
        scan(write(tmp_path / "t.csv", text))
    problems = "\n".join(caught.value.problems)
    for part in (
        "no label for a.png",
        "split 'valid'",
        "no split for none.png",
        "file: none.png",
        "file: gone.png",
    ):
        assert part in problems


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("path,label\n", "lists no images"),
        ("file,Label\na.png,x\n", "did you mean 'label'"),
        ("path;label\na.png;x\n", "'path;label'"),
        ("path,label\na.png,x,y\n", "row 2 has 3 cells"),
        ("path,label,label\na.png,x,y\n", "more than once"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a.png")
    with pytest.raises(DataError, match=message):
        scan(write(tmp_path / "t.csv", text))


def test_other_files_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.csv or \.parquet"):
        scan(write(tmp_path / "t.xlsx", "path,label\n"))
    (tmp_path / "t.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="cannot be read"):
        scan(tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_bytes(b"path,label\n\x81\x20\xff,x\n")
    with pytest.raises(DataError, match="neither UTF-8 nor cp932"):
        scan(tmp_path / "t.csv")


def test_groups_by_pattern(tmp_path: Path) -> None:
    root = touch(tmp_path, "cat/P1_a.png", "dog/P1_b.png", "dog/P2_c.png")
    table = scan(root, group=r"(?P<group>P\d+)_")
    assert table.frame["group"].tolist() == ["P1", "P1", "P2"]
    assert table.has_groups
    touch(tmp_path, "dog/x.png", "dog/y.png")
    with pytest.raises(DataError, match="2 of 5 images") as caught:
        scan(root, group=r"(?P<group>P\d+)_")
    assert caught.value.problems == ("dog/x.png", "dog/y.png")
    with pytest.raises(DataError, match="no regular expression"):
        scan(root, group="(?P<group>")
    with pytest.raises(DataError, match="neither a column"):
        scan(root, group="patient")


def test_groups_by_column(tmp_path: Path) -> None:
    touch(tmp_path, "a1.png", "b2.png")
    path = write(tmp_path / "t.csv", "path,label,group,patient\na1.png,x,g,01\nb2.png,y,g,02\n")
    assert scan(path).frame["group"].tolist() == ["g", "g"]
    table = scan(path, group="patient")
    assert table.frame["group"].tolist() == ["01", "02"]
    assert set(table.metadata_columns) == {"patient", "table_group"}
    assert scan(path, group=r"(?P<group>\d)").frame["group"].tolist() == ["1", "2"]
    with pytest.raises(DataError, match=r"no group for b2\.png"):
        scan(write(tmp_path / "t.csv", "path,label,group\na1.png,x,g\nb2.png,y,\n"))


def test_layout_is_refused_for_a_table(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    with pytest.raises(DataError, match="is for folders"):
        scan(write(tmp_path / "t.csv", "path,label\na.png,x\n"), layout="classes")


@given(st.integers(5, 20), st.integers(2, 6))
def test_guess_finds_a_leading_name(groups: int, images: int) -> None:
    ids = [f"cat/C{group}P{group}_cell_{image}.png" for group in range(groups) for image in range(images)]
    assert guess_pattern(ids, ["cat"]) == r"(?P<group>[^/_\-. ]+)[_\- ][^/]*$"


def test_guess_stays_silent_without_a_sign_of_groups() -> None:
    assert guess_pattern([f"cat/IMG_{number}.jpg" for number in range(99)], ["cat"]) is None
    assert guess_pattern([f"train/cat/train_{number}.png" for number in range(99)], ["cat"]) is None
    assert guess_pattern([f"cat/{number}.png" for number in range(99)], ["cat"]) is None
    folders = [f"cat/site{number // 4}/{number}.png" for number in range(99)]
    assert guess_pattern(folders, ["cat"]) == r"/(?P<group>[^/]+)/[^/]+$"
