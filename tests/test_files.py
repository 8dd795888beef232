"""Files that are whole or absent, and what killed processes leave of them."""

import multiprocessing
import os
import time

import psutil
import pytest

from model_aggregation.files import remove_abandoned, remove_unfinished, whole_or_absent, write_text


def write_for_ever(path):
    with whole_or_absent(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        time.sleep(600)


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing a file, and the file's temporary path."""
    process = multiprocessing.get_context("spawn").Process(target=write_for_ever, args=(tmp_path / "肺 [1].csv",))
    process.start()
    while not (found := list(tmp_path.glob(".*"))):
        assert process.is_alive()
        time.sleep(0.01)
    yield process, found[0]
    process.kill()
    process.join()


def test_what_a_living_process_writes_is_not_abandoned(tmp_path, writer):
    process, temporary = writer
    remove_abandoned(tmp_path)
    assert temporary.is_file()
    process.kill()
    process.join()
    remove_abandoned(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_a_process_of_another_user_writes_is_not_abandoned(tmp_path, writer, monkeypatch):
    """Some systems tell nothing of other users' processes but that they live."""
    _, temporary = writer

    def denied(pid):
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(psutil, "Process", denied)
    remove_abandoned(tmp_path)
    assert temporary.is_file()


def test_what_another_machine_writes_stays(tmp_path, writer, monkeypatch):
    process, temporary = writer
    process.kill()
    process.join()
    monkeypatch.setattr("platform.node", lambda: "another")
    remove_abandoned(tmp_path)
    assert temporary.is_file()
    remove_unfinished(tmp_path)  # who holds the whole folder need not ask
    assert not temporary.exists()


def test_other_files_are_not_taken_for_abandoned(tmp_path):
    for name in (".hidden", ".a.part.csv", f".a.{os.getpid()}.part.csv", "a.part"):
        (tmp_path / name).touch()
    write_text(tmp_path / "a.csv", "text")
    remove_abandoned(tmp_path)
    remove_abandoned(tmp_path / "missing")
    assert len(list(tmp_path.iterdir())) == 5


def test_an_error_in_the_middle_leaves_the_file_of_before(tmp_path):
    write_text(tmp_path / "a.txt", "before")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "half \ud800")
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["before"]
