"""The texts of a table lie in a mapped file, here and in every process that is sent the table."""

import gc
import pickle
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import model_aggregation as ma
from model_aggregation.data.image_table import ImageTable
from model_aggregation.data.mapped_texts import packed, unpacked, with_mapped_texts

MANY = 20_000


def mixed() -> pd.DataFrame:
    """Return a table with texts and other columns between each other, some missing, and an index of its own."""
    frame = pd.DataFrame(
        {
            "id": ["a/1.png", "日本/2.png", "c 3.png"],
            "width": pd.array([1, None, 3], dtype="Int64"),
            "site": ["", None, "Ōsaka"],
            "mixed": [1, "one", None],
            "readable": [True, False, True],
        },
        index=[3, 7, 5],
    )
    return frame.astype({"id": "str", "site": "str", "mixed": "object"})


@pytest.mark.parametrize("columns", [["id", "width", "site", "mixed", "readable"], ["width", "mixed"], ["id"]])
@pytest.mark.parametrize("rows", [3, 0])
def test_a_table_stays_the_same(columns: list[str], rows: int) -> None:
    frame = mixed()[columns].iloc[:rows]
    pd.testing.assert_frame_equal(with_mapped_texts(frame), frame)
    pd.testing.assert_frame_equal(unpacked(*packed(frame)), frame)


def test_texts_take_no_memory() -> None:
    frame = pd.DataFrame({"id": [f"{number:064d}" for number in range(MANY)]}, dtype="str")
    held = pa.total_allocated_bytes()
    frame = with_mapped_texts(frame)
    gc.collect()
    assert pa.total_allocated_bytes() < held - 64 * MANY
    assert frame["id"].iloc[-1] == f"{MANY - 1:064d}"
    sent = pickle.dumps(ImageTable(Path("root"), frame.assign(label="x"), ("x",)))
    assert len(sent) < 64 * MANY / 2
    held = pa.total_allocated_bytes()
    received = pickle.loads(sent)
    gc.collect()
    assert pa.total_allocated_bytes() < held + MANY
    pd.testing.assert_series_equal(received.frame["id"], frame["id"])


def test_without_room_for_the_file_texts_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    sent = packed(mixed())
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    pd.testing.assert_frame_equal(with_mapped_texts(mixed()), mixed())
    pd.testing.assert_frame_equal(unpacked(*sent), mixed())


def test_a_plan_holds_what_runs_write_down_and_no_more(two_classes: Path, tmp_path: Path) -> None:
    given = {"data": two_classes, "model": "timm:test_resnet", "positive": "肺炎", "pretrained": False}
    plan = ma.make_plan(**given, folds=2, log_folder=tmp_path / "log", cache_folder=tmp_path / "cache")
    for table in plan.tables:
        assert list(table.frame.columns) == list(table.facts().columns)
        assert table.thumbnails is None
    first, second = (table.frame["path"].array._pa_array.chunk(0).buffers()[2].address for table in plan.tables)
    assert first == second  # folds share the file
