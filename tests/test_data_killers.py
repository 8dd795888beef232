"""A decoder that takes its process along costs one file, not the examination."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from model_aggregation.data.image_cache import Cache
from model_aggregation.data.image_store import open_store
from model_aggregation.data.inspection import inspect
from model_aggregation.data.inspection_cache import InspectionCache
from model_aggregation.data.parallel import map_files
from model_aggregation.data.pixels import PixelRule
from model_aggregation.data.scan import scan
from model_aggregation.errors import DataError
from model_aggregation.files import file_hash

CRASHING_CODEC = """
import os
import PIL.PngImagePlugin as plugin

class Crashing(plugin.PngImageFile):
    def load(self):
        if self.size == (13, 17):
            os.abort()
        return super().load()

plugin.Image.register_open("PNG", Crashing, plugin._accept)
"""
KILLERS = (3, 150)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """210 pictures, two of which abort every process that loads them, but not this one."""
    for number in range(210):
        path = tmp_path / "images" / ("cat" if number % 2 else "dog") / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (17, 13) if number in KILLERS else (12, 12)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)).save(path)
        os.utime(path, (1_500_000_000, 1_500_000_000))
    (tmp_path / "codec").mkdir()
    (tmp_path / "codec" / "sitecustomize.py").write_text(CRASHING_CODEC, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "codec"), os.environ.get("PYTHONPATH", "")]))
    return tmp_path / "images"


def test_it_is_a_finding_of_its_file_and_the_rest_goes_on(images: Path, tmp_path: Path) -> None:
    cache = InspectionCache(tmp_path / "cache")
    for _ in range(2):  # the second time only they are read again, and again not in this process
        frame = inspect(scan(images), workers=2, cache=cache).frame.set_index("id")
        broken = frame[~frame["readable"]]
        assert sorted(broken.index) == ["cat/003.png", "dog/150.png"]
        assert broken["error"].str.startswith("kills the decoder").all()


def test_in_a_small_set_too(images: Path) -> None:
    for path in sorted(images.rglob("*.png"))[4:]:
        if path.stem != "150":
            path.unlink()
    frame = inspect(scan(images)).frame.set_index("id")
    assert frame.index[~frame["readable"]].tolist() == ["cat/003.png", "dog/150.png"]
    assert len(frame) == 5


def test_the_image_store_names_it(images: Path, tmp_path: Path) -> None:
    paths = sorted(map(str, images.rglob("*.png")))
    table = pd.DataFrame({"path": paths, "content_hash": [file_hash(Path(path)) for path in paths]})
    with pytest.raises(DataError) as error:
        open_store(table, PixelRule(8, 1, "bilinear"), cache=Cache(tmp_path / "cache"), workers=2)
    assert error.value.problems
    assert set(error.value.problems) <= {path for path in paths if Path(path).stem in ("003", "150")}


def dies_at_some(number: int) -> int:
    if number % 100 == 50:
        os._exit(9)
    return number**2


def test_every_task_has_its_result_in_order() -> None:
    expected = [-1 if number % 100 == 50 else number**2 for number in range(250)]
    results = map_files(dies_at_some, range(250), files=250, workers=2, killed=lambda _: -1, chunksize=7)
    assert list(results) == expected
