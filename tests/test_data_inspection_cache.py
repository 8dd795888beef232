"""Records of unchanged files come from the disk, those of changed ones never; the cache stays small and may break."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from model_aggregation.data.decoding import ReadingRule
from model_aggregation.data.inspection import inspect
from model_aggregation.data.inspection_cache import DATABASE, InspectionCache
from model_aggregation.data.kept_tables import KeptTables
from model_aggregation.data.look_alikes import find_look_alikes
from model_aggregation.data.scan import scan
from model_aggregation.data.windows import Window

LONG_AGO = 1_500_000_000 * 10**9


def picture(path: Path, seed: int, modified_ns: int = LONG_AGO) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)).save(path)
    os.utime(path, ns=(modified_ns, modified_ns))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(6):
        picture(tmp_path / "データ" / ("cat" if number % 2 else "dog") / f"{number}.png", number)
    (tmp_path / "データ" / "dog" / "broken.png").write_bytes(b"broken")
    os.utime(tmp_path / "データ" / "dog" / "broken.png", ns=(LONG_AGO, LONG_AGO))
    return tmp_path / "データ"


def records(folder: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(folder / DATABASE)
    try:
        return connection.execute("select path, record from inspection order by path").fetchall()
    finally:
        connection.close()


def overwrite_records(folder: Path, old: str, new: str) -> None:
    connection = sqlite3.connect(folder / DATABASE)
    with connection:
        connection.execute("update inspection set record = replace(record, ?, ?)", (old, new))
    connection.close()


def test_a_second_inspection_gives_the_same_and_reads_no_unchanged_file(root: Path, tmp_path: Path) -> None:
    cache = InspectionCache(tmp_path / "cache")
    first = inspect(scan(root), cache=cache, appearance=True)
    assert first.frame.equals(inspect(scan(root), appearance=True).frame)
    assert first.frame.equals(inspect(scan(root), cache=cache, appearance=True).frame)
    overwrite_records(tmp_path / "cache", '"PNG"', '"SEEN"')  # what comes from the cache shows itself
    again = inspect(scan(root), cache=cache).frame
    assert again["format"].tolist() == ["SEEN"] * 6 + [""]
    picture(root / "cat" / "1.png", 77, LONG_AGO + 1)
    assert inspect(scan(root), cache=cache).frame["format"].tolist() == ["PNG", *["SEEN"] * 5, ""]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no time of status change")
def test_another_file_with_the_old_time_and_size_is_read(root: Path, tmp_path: Path) -> None:
    cache = InspectionCache(tmp_path / "cache")
    before = inspect(scan(root), cache=cache).fingerprint()
    path = root / "dog" / "2.png"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    assert path.stat().st_size == size
    after = inspect(scan(root), cache=cache)
    assert after.fingerprint() != before
    assert not after.frame.set_index("id").loc["dog/2.png", "readable"]


def test_files_changed_a_moment_ago_are_not_trusted(root: Path, tmp_path: Path) -> None:
    (root / "dog" / "new.png").write_bytes((root / "dog" / "0.png").read_bytes())
    inspect(scan(root), cache=InspectionCache(tmp_path / "cache"))
    assert len(records(tmp_path / "cache")) == 7


def test_each_rule_of_reading_has_its_own_records(root: Path, tmp_path: Path) -> None:
    cache = InspectionCache(tmp_path / "cache")
    deep = root / "dog" / "deep.png"
    Image.fromarray(np.array([[100, 200]], dtype=np.uint16)).save(deep)
    os.utime(deep, ns=(LONG_AGO, LONG_AGO))
    ranges = [
        inspect(scan(root), cache=cache, rule=ReadingRule(window=window)).frame.set_index("id")["value_range"]
        for window in (None, Window(150, 100), None)
    ]
    assert [values["dog/deep.png"] for values in ranges] == [1, 255, 1]


def test_what_was_read_before_a_stop_is_kept(root: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inspect(scan(root), cache=InspectionCache(tmp_path / "cache"), progress=stop)
    assert len(records(tmp_path / "cache")) == 3


def test_the_oldest_records_go_first(root: Path, tmp_path: Path) -> None:
    inspect(scan(root), cache=InspectionCache(tmp_path / "cache"))
    connection = sqlite3.connect(tmp_path / "cache" / DATABASE)
    with connection:
        connection.execute("update inspection set used_day = 10")
    connection.close()
    picture(root / "cat" / "new.png", 99)
    (root / "dog" / "0.png").unlink()
    inspect(scan(root), cache=InspectionCache(tmp_path / "cache", most_rows=7))
    kept = {Path(path).name for path, _ in records(tmp_path / "cache")}
    assert kept == {"1.png", "2.png", "3.png", "4.png", "5.png", "new.png", "broken.png"}


@pytest.mark.parametrize("damage", [b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_cache_is_begun_anew(root: Path, tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / DATABASE).write_bytes(damage)
    cache = InspectionCache(tmp_path / "cache")
    assert inspect(scan(root), cache=cache).frame.equals(inspect(scan(root)).frame)
    assert len(records(tmp_path / "cache")) == 7


def test_a_folder_that_cannot_be_made_costs_only_speed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = InspectionCache(tmp_path / "file" / "cache")
    assert inspect(scan(root), cache=cache).frame.equals(inspect(scan(root)).frame)


def test_two_processes_may_fill_it_at_once(root: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from model_aggregation.data.inspection import inspect\n"
        "from model_aggregation.data.inspection_cache import InspectionCache\n"
        "from model_aggregation.data.scan import scan\n"
        "for _ in range(20): inspect(scan(Path(sys.argv[1])), cache=InspectionCache(Path(sys.argv[2])))\n"
    )
    words = [sys.executable, "-X", "utf8", "-c", code, str(root), str(tmp_path / "cache")]
    together = [subprocess.Popen(words, stderr=subprocess.PIPE) for _ in range(2)]
    for process in together:
        assert process.communicate()[1] == b""
    assert len(records(tmp_path / "cache")) == 7


def test_what_took_long_is_kept_until_what_it_depends_on_changes(tmp_path: Path) -> None:
    made = []

    def make() -> pd.DataFrame:
        made.append(len(made))
        return pd.DataFrame({"i": made, "change": ["", "mirrored", "ü", ""][: len(made)]})

    kept = KeptTables(tmp_path / "kept")
    first = kept.get([b"ab", b"c"], make)
    pd.testing.assert_frame_equal(KeptTables(tmp_path / "kept").get([b"ab", b"c"], make), first)
    assert len(made) == 1
    assert len(kept.get([b"a", b"bc"], make)) == 2
    for path in (tmp_path / "kept").iterdir():
        path.write_bytes(b"damaged")
    assert len(kept.get([b"ab", b"c"], make)) == 3
    KeptTables(tmp_path / "kept", most_tables=1).get([b"new"], make)
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_the_pairs_of_unchanged_pictures_are_kept(root: Path, tmp_path: Path) -> None:
    with Image.open(root / "cat" / "1.png") as image:
        image.resize((40, 50)).save(root / "dog" / "copy.png")
    table, kept = inspect(scan(root), appearance=True), KeptTables(tmp_path / "kept")
    first = find_look_alikes(table, threshold=0.9, kept=kept)
    assert len(first.pairs) == 1
    pd.testing.assert_frame_equal(find_look_alikes(table, threshold=0.9, kept=kept).pairs, first.pairs)
    assert len(list((tmp_path / "kept").iterdir())) == 1
    (root / "dog" / "copy.png").unlink()
    assert find_look_alikes(inspect(scan(root), appearance=True), threshold=0.9, kept=kept).pairs.empty
