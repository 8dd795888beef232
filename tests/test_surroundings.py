"""What a machine may lack: a home folder, a launcher's numbers, an open output, room below the system's limits."""

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from command_line import magg  # noqa: F401  (a fixture)
from engine_samples import write_project

from model_aggregation import launch
from model_aggregation.cache_folder import folder_in_home, user_folder, why_not_writable
from model_aggregation.config import make_settings
from model_aggregation.errors import SettingsError
from model_aggregation.fabric import make_fabric
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.standard_streams import LastingOutput
from model_aggregation.startup import FONT_FOLDER, give_matplotlib_a_folder

WORDS = [
    "train", "data", "--model", "networks:network", "--name", "r", "--epochs", "1", "--image-size", "32",
    "--no-pretrained", "--positive", "a", "--no-tensorboard",
]  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def no_home(tmp_path, monkeypatch):
    """A place for a user's folders that is a file, and an empty folder for temporary files."""
    place = tmp_path / "no folder"
    place.write_text("", encoding="utf-8")
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(place))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return place


of_linux = pytest.mark.skipif(sys.platform != "linux", reason="folders of the XDG specification")


@of_linux
def test_without_a_home_folder_images_are_kept_among_the_temporary_files(project, no_home, magg):  # noqa: F811
    told = magg(*WORDS, "--jobs", "0")
    kept = project / "temporary" / f"model_aggregation_{os.getuid()}"
    assert f"The cache folder {no_home / 'model_aggregation'} cannot be written (Not a directory)" in told
    assert f"kept in {kept}" in told
    assert len(list((kept / "images").glob("*.npy"))) == 1
    assert f"Decoded images in {kept / 'images'}" in magg("cache")


def test_a_cache_folder_that_cannot_be_written_is_refused_at_once(project, magg):  # noqa: F811
    (project / "file").write_text("", encoding="utf-8")
    told = magg(*WORDS, "--cache-folder", "file", expect=1)
    assert "--cache-folder file cannot be written (" in told
    assert not (project / "log").exists()


@of_linux
def test_what_others_may_write_is_no_cache(project, no_home, magg):  # noqa: F811
    place = project / "temporary" / f"model_aggregation_{os.getuid()}"
    place.mkdir()
    place.chmod(0o777)
    told = magg(*WORDS, expect=1)
    assert "give one with --cache-folder" in told
    assert f"{place} (others may write it)" in told
    place.rmdir()
    place.symlink_to(project / "data")
    with pytest.raises(SettingsError, match="others may write it"):
        user_folder()


def test_a_user_without_an_entry_has_no_folder():
    def unknown(name):
        raise RuntimeError("Could not determine home directory.")

    assert why_not_writable(folder_in_home(unknown)) is not None
    assert why_not_writable(folder_in_home(lambda name: Path("~") / name)) is not None
    assert not Path("~").exists()


@of_linux
def test_matplotlib_keeps_its_fonts_where_it_can(project, no_home, monkeypatch):
    monkeypatch.delenv(FONT_FOLDER, raising=False)
    give_matplotlib_a_folder()
    place = os.environ.pop(FONT_FOLDER)
    assert place == str(project / "temporary" / f"model_aggregation_{os.getuid()}" / "matplotlib")
    monkeypatch.setenv("XDG_CACHE_HOME", str(project))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(project / "not" / "there yet"))
    give_matplotlib_a_folder()
    assert FONT_FOLDER not in os.environ


@pytest.fixture
def in_a_job(monkeypatch):
    """As in an allocation of SLURM for two tasks, in which srun was not told how many are on each machine."""
    monkeypatch.setenv("SLURM_NTASKS", "2")
    launch.launch.cache_clear()
    yield monkeypatch
    launch.launch.cache_clear()


def test_a_process_in_a_job_of_slurm_is_alone_unless_srun_started_it(in_a_job):
    settings = make_settings(data="data", model="timm:test_resnet", device="cpu")
    assert launch.launch() is None
    assert make_fabric(settings).world_size == 1
    launch.launch.cache_clear()
    in_a_job.setenv("SLURM_STEP_NUM_TASKS", "1")  # the step that salloc opens for a shell
    assert launch.launch() is None
    assert make_fabric(settings).world_size == 1


@pytest.mark.parametrize(
    ("program", "command"),
    [("/usr/bin/magg", "magg"), ("x/__main__.py", "magg"), ("my script.py", "python 'my script.py'")],
)
def test_srun_without_tasks_per_machine_is_refused_with_the_line_to_type(in_a_job, program, command):
    in_a_job.setenv("SLURM_STEP_NUM_TASKS", "2")
    in_a_job.setattr(sys, "argv", [program, "train", "my data"])
    with pytest.raises(SettingsError) as refused:
        launch.launch()
    assert f"\n  srun --nodes=1 --ntasks-per-node=2 {command} train 'my data'\n" in str(refused.value)
    in_a_job.setenv("SLURM_NNODES", "2")
    with pytest.raises(SettingsError, match="--nodes=2 --ntasks-per-node=1 "):
        launch.launch()
    given = {"SLURM_NTASKS_PER_NODE": "1", "SLURM_PROCID": "1", "SLURM_LOCALID": "0", "MASTER_ADDR": "n1"}
    for name, value in {**given, "MASTER_PORT": "9"}.items():
        in_a_job.setenv(name, value)
    launched = launch.launch()
    assert (launched.rank, launched.ranks, launched.local_rank, launched.port) == (1, 2, 0, 9)


@pytest.mark.skipif(sys.platform == "win32", reason="the syntax of sh")
def test_runs_go_on_without_standard_input_and_output(project):
    words = [*WORDS, "--cache-folder", "cache"]
    command = [sys.executable, "-m", "model_aggregation", *words]
    ended = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], cwd=project, check=False)
    run = RunFolder(project / "log" / "r")
    assert (ended.returncode, run.finished) == (0, True), run.failure_reason()


def output_to(number: int) -> LastingOutput:
    return LastingOutput.of(io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "w")), "utf-8", line_buffering=True))


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_output_that_nobody_reads_any_more_ends_nothing(capsys):
    reading, writing = os.pipe()
    with output_to(writing) as output:
        print("first", file=output)
        assert os.read(reading, 100) == b"first\n"
        os.close(reading)
        for word in ("second", "third"):
            print(word, file=output, flush=True)
    assert capsys.readouterr().err == ""  # as with head, which has enough
    if Path("/dev/full").exists():
        with output_to(os.open("/dev/full", os.O_WRONLY)) as output:
            print("first", file=output)
            print("second", file=output)
        assert capsys.readouterr().err == "The output cannot be written any more: No space left on device.\n"
