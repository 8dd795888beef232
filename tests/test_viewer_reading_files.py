"""What of the disk the viewer may hand out: listed images as pictures, plain files of runs, nothing else."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from results_samples import make_run

from model_aggregation.errors import ResultsError
from model_aggregation.results.index import Index
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.viewer.reading import LogReader
from model_aggregation.viewer.reading.disk_cache import DiskCache
from model_aggregation.viewer.reading.memory import Memory

RUN = ("lungs", "lungs_a")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log folder with one run in a group, whose images lie beside it."""
    log = tmp_path / "log"
    folder = make_run(log / "lungs" / "lungs_a")
    for path in folder.read_predictions()["path"]:
        Path(path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (90, 50), (200, 10, 10)).save(path)
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    Index(log).rebuild()
    return log


@pytest.fixture
def reader(log: Path, tmp_path: Path) -> LogReader:
    """A reader with a cache of its own."""
    return LogReader(log, cache_folder=tmp_path / "cache")


def shown(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_a_thumbnail_is_made_once_and_again_when_the_image_changes(reader: LogReader, tmp_path: Path) -> None:
    first = reader.thumbnail(*RUN, "test", 0, size=60)
    assert shown(first.data).size == (64, 36)
    made = list((tmp_path / "cache" / "pictures").rglob("*.webp"))
    assert reader.thumbnail(*RUN, "test", 0, size=60) == first
    assert list((tmp_path / "cache" / "pictures").rglob("*.webp")) == made
    path = reader.image_path(*RUN, "test", 0)
    Image.new("RGB", (50, 90), (0, 200, 0)).save(path)
    os.utime(path, ns=(1, 1))
    changed = reader.thumbnail(*RUN, "test", 0, size=60)
    assert changed.tag != first.tag
    assert shown(changed.data).size == (36, 64)


def test_pictures_are_shown_in_the_window_of_their_run(reader: LogReader) -> None:
    path = reader.image_path(*RUN, "test", 0)
    Image.fromarray(np.full((40, 40), 1100, np.uint16)).save(path)
    dark = reader.full_image(*RUN, "test", 0)
    assert shown(dark.data).getpixel((5, 5)) == (4, 4, 4)
    settings = RunFolder(reader.log_folder.joinpath(*RUN)).settings_yaml
    with settings.open("a", encoding="utf-8") as file:
        file.write("\nwindow: '1100,200'\n")
    bright = reader.full_image(*RUN, "test", 0)
    assert shown(bright.data).getpixel((5, 5)) == (128, 128, 128)
    assert bright.tag != dark.tag
    assert shown(reader.thumbnail(*RUN, "test", 0).data).convert("L").getpixel((5, 5)) == pytest.approx(128, abs=2)


def test_pictures_are_oriented_and_of_8_bits(reader: LogReader) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    path = reader.image_path(*RUN, "test", 0)
    Image.new("RGB", (90, 50)).save(path, exif=turned)
    assert shown(reader.full_image(*RUN, "test", 0).data).size == (50, 90)
    Image.fromarray(np.full((8, 8), 32896, dtype=np.uint16)).save(path)
    picture = shown(reader.full_image(*RUN, "test", 0).data)
    assert (picture.mode, picture.getpixel((0, 0))) == ("RGB", (128, 128, 128))
    assert shown(reader.full_image(*RUN, "test", 1, longest=40).data).size == (40, 22)


def test_an_image_that_is_gone_or_damaged_is_a_note(reader: LogReader, tmp_path: Path) -> None:
    reader.image_path(*RUN, "test", 0).unlink()
    reader.image_path(*RUN, "test", 1).write_bytes(b"no image")
    for make in (reader.thumbnail, reader.full_image):
        assert "not there any more" in (make(*RUN, "test", 0).note or "")
        assert "cannot be read" in (make(*RUN, "test", 1).note or "")
        assert make(*RUN, "test", 1).data == b""
    with pytest.raises(ResultsError, match="40 images"):
        reader.thumbnail(*RUN, "test", 40)
    with pytest.raises(ResultsError, match="40 images"):
        reader.thumbnail(*RUN, "test", -1)


def test_a_text_file_listed_as_an_image_is_not_handed_out(reader: LogReader, log: Path, tmp_path: Path) -> None:
    for name in ("test", "test_p"):
        path = log / "lungs" / "lungs_a" / f"lungs_a_{name}.csv"
        first = path.read_text(encoding="utf-8").splitlines()[1].split(",")[0]
        path.write_text(path.read_text(encoding="utf-8").replace(first, str(tmp_path / "secret.txt")), encoding="utf-8")
    picture = reader.full_image(*RUN, "test", 0)
    assert picture.data == b""
    assert "secret.txt: cannot be read" in (picture.note or "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_pipe_listed_as_an_image_does_not_hang(reader: LogReader) -> None:
    path = reader.image_path(*RUN, "test", 0)
    path.unlink()
    os.mkfifo(path)
    assert "not there" in (reader.full_image(*RUN, "test", 0).note or "")


NOT_FILES = [
    "../../../secret.txt", "..", "", ".", "nothing.txt", "../lungs_a/metrics.json", "/etc/passwd", "a\0b",
    "..\\secret.txt", "%2e%2e/secret.txt", "./metrics.json", "link.txt", "linked/secret.txt", ".hidden", "report",
]  # fmt: skip


@pytest.mark.parametrize("name", NOT_FILES)
def test_only_files_of_the_run_are_allowed(reader: LogReader, log: Path, tmp_path: Path, name: str) -> None:
    folder = log / "lungs" / "lungs_a"
    (folder / ".hidden").write_text("h", encoding="utf-8")
    (folder / "report").mkdir()
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "linked").symlink_to(tmp_path)
    assert reader.allowed_file(*RUN, name) is None
    assert reader.allowed_file("lungs", None, name) is None


def test_files_of_runs_and_reports_are_allowed(reader: LogReader, log: Path) -> None:
    folder = log / "lungs" / "lungs_a"
    (folder / "report" / "figures").mkdir(parents=True)
    (folder / "report" / "figures" / "roc.svg").write_text("<svg/>", encoding="utf-8")
    (log / "lungs" / "findings.csv").write_text("severity\n", encoding="utf-8")
    assert reader.allowed_file(*RUN, "metrics.json") == folder / "metrics.json"
    assert reader.allowed_file(*RUN, "report/figures/roc.svg") == folder / "report" / "figures" / "roc.svg"
    assert reader.allowed_file("lungs", None, "findings.csv") == log / "lungs" / "findings.csv"
    assert reader.allowed_file("lungs", None, "lungs_a/metrics.json") is None


def test_a_run_folder_linked_from_elsewhere_is_not_read(log: Path, tmp_path: Path) -> None:
    outside = make_run(tmp_path / "elsewhere" / "lungs_b")
    (log / "lungs" / "lungs_b").symlink_to(outside.path)
    names = {entry for row in LogReader(log, cache_folder=tmp_path / "c").groups().rows for entry in row.states}
    assert names == {"finished"}
    with pytest.raises(ResultsError, match="no run"):
        LogReader(log, cache_folder=tmp_path / "c").run("lungs", "lungs_b")


def test_a_folder_named_in_the_database_stays_inside_the_log_folder(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(log)
    make_run(tmp_path / "elsewhere" / "lungs_b")
    names = "run_name, group_name, log_folder"
    with Index(log)._writing() as connection:
        rows = [("lungs_b", "single", "elsewhere"), ("../elsewhere/lungs_b", "single", "log"), ("..", "..", "..")]
        for number, row in enumerate(rows):
            connection.execute(f"INSERT INTO earlier_result (id, {names}) VALUES (?, ?, ?, ?)", (50 + number, *row))
    reader = LogReader(log, cache_folder=tmp_path / "c")
    for run, group, _ in rows:
        view = reader.run(group, run)
        assert "gone" in view.notes[0]
        assert view.files == ()
        assert view.metrics == {}
        assert len(reader.predictions(group, run)) == 0


def test_the_cache_stays_within_its_limit(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "c", 1000)
    for number in range(30):
        cache.keep(f"key {number}", ".bin", lambda path: path.write_bytes(b"x" * 100))
        os.utime(cache.path_of(f"key {number}", ".bin"), ns=(number, number))
    left = [number for number in range(30) if cache.path_of(f"key {number}", ".bin").is_file()]
    assert len(left) <= 10
    assert left[-1] == 29


def test_memory_keeps_what_was_used_last() -> None:
    memory, made = Memory(2), []
    for key, stamp in (("a", (1,)), ("b", (1,)), ("a", (1,)), ("c", (1,)), ("a", (1,)), ("b", (1,)), ("a", (2,))):
        memory.get(key, stamp, lambda key=key: made.append(key))
    assert made == ["a", "b", "c", "b", "a"]
