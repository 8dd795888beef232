"""The viewer and the short commands start without what only computing, drawing and writing sheets need."""

import subprocess
import sys

import pytest
from viewer_samples import make_log

from model_aggregation.viewer.reading import LogReader
from model_aggregation.viewer.warming import warm

HEAVY = ("matplotlib", "openpyxl", "scipy.sparse", "scipy.stats", "sklearn", "statsmodels", "torch")


@pytest.mark.parametrize(
    "module",
    ["model_aggregation.viewer.server", "model_aggregation.results.leaderboard", "model_aggregation.evaluation"],
)
def test_heavy_libraries_are_imported_where_they_are_used(module):
    check = f"import sys, {module}\nprint([name for name in {HEAVY} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_help_reads_no_tables():
    check = (
        "import sys\nfrom model_aggregation.cli import app\napp(['--help'], result_action='return_value')\n"
        "print([name for name in ('pandas', 'numpy', 'dash') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-X", "utf8", "-c", check], capture_output=True, text=True, check=True)
    assert ended.stdout.endswith("[]\n")


def test_what_the_first_visitor_would_wait_for_is_read_beforehand(tmp_path):
    log, empty = make_log(tmp_path), tmp_path / "empty"
    empty.mkdir()
    warm(LogReader(log, cache_folder=tmp_path / "cache"))
    assert list((tmp_path / "cache" / "tables").rglob("*.arrow"))
    warm(LogReader(empty, cache_folder=tmp_path / "cache"))  # there is nothing to read
