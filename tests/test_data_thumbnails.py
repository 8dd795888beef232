"""Thumbnails lie in a mapped file, so that the memory of a check does not grow by them."""

import gc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from model_aggregation.data.appearance import describe_appearance
from model_aggregation.data.inspection import inspect
from model_aggregation.data.look_alikes import find_look_alikes
from model_aggregation.data.scan import scan
from model_aggregation.data.thumbnails import ThumbnailFile, picked, slices


def test_thumbnails_come_back_in_any_order_after_the_file_is_closed() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32), dtype=np.uint8)
    with ThumbnailFile() as file:
        assert [file.add(part.tobytes()) for part in (pixels[:2], pixels[2:3], pixels[3:])] == [0, 2, 3]
        mapped = file.mapped()
    gc.collect()
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(mapped, pixels)
    order = np.array([4, 0, 0, 2])
    assert isinstance(picked(mapped, order), np.memmap)
    assert np.array_equal(picked(mapped, order), pixels[order])
    assert not mapped.flags.writeable
    with ThumbnailFile() as file:
        assert file.mapped().shape == (0, 32, 32)


def test_slices_cover_everything_once() -> None:
    for count in (0, 1, 6, 7):
        assert [number for part in slices(count, 3) for number in range(count)[part]] == list(range(count))


def test_a_table_names_the_place_of_each_thumbnail(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    for name in ("c.png", "a.png", "b.png"):
        path = tmp_path / name
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    (tmp_path / "broken.png").write_bytes(b"broken")
    listed = pd.DataFrame({"path": ["c.png", "a.png", "broken.png", "b.png"], "label": ["x", "y", "x", "y"]})
    listed.to_csv(tmp_path / "images.csv", index=False)
    table = inspect(scan(tmp_path / "images.csv"), appearance=True)
    assert table.thumbnails is not None
    assert len(table.thumbnails) == 3
    for row in table.frame.itertuples():
        if row.readable:
            with Image.open(str(row.path)) as image:
                wanted = describe_appearance(image.convert("RGB"))["look_thumbnail"]
            assert table.thumbnails[int(row.look_thumbnail)].tobytes() == wanted
        else:
            assert pd.isna(row.look_thumbnail)
    plain = table.without_appearance()
    assert plain.thumbnails is None
    assert "look_thumbnail" not in plain.frame
    with pytest.raises(ValueError, match="appearance=True"):
        find_look_alikes(plain)
