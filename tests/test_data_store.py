"""The image store: decoded once, restarted where it stopped, bounded, and the same pixels however it was made."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import write_image
from PIL import Image

from model_aggregation.data import image_store, store_building
from model_aggregation.data.image_cache import Cache, cached_stores
from model_aggregation.data.image_store import open_store, open_stores, remove_store
from model_aggregation.data.pixels import PixelRule, decode_to_rule, decode_to_rules
from model_aggregation.errors import DataError
from model_aggregation.files import file_hash

RULE = PixelRule(16, 3, "bilinear")
WIDE = PixelRule(24, 1, "bicubic")


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / "images" / f"画像 {number:03d}.png" for number in range(150)]
    for number, path in enumerate(paths):
        write_image(path, bright=bool(number % 2), seed=number, size=20)
    return pd.DataFrame({"path": list(map(str, paths)), "content_hash": [file_hash(path) for path in paths]})


@pytest.fixture
def decoded(monkeypatch):
    """Counts how often each file is decoded for a store."""
    counts: dict[str, int] = {}

    def counting(path, rules):
        counts[path] = counts.get(path, 0) + 1
        return decode_to_rules(path, rules)

    monkeypatch.setattr(store_building, "decode_to_rules", counting)
    return counts


def test_all_sizes_are_made_in_one_pass_and_found_again(images, tmp_path, decoded):
    cache = Cache(tmp_path / "cache")
    stores = open_stores(images, [RULE, WIDE], cache=cache)
    assert set(decoded.values()) == {1}
    assert len(decoded) == 150
    for rule in (RULE, WIDE):
        store = stores[rule]
        for path, row in zip(images["path"], store.rows_of(images["content_hash"]), strict=True):
            assert np.array_equal(store.pixels[row], decode_to_rule(path, rule))
    open_store(images, RULE, cache=cache)
    assert sum(decoded.values()) == 150
    assert {store.facts["images"] for store in cached_stores(cache.folder)} == {150}


def test_a_stopped_build_goes_on_where_it_was(images, tmp_path, decoded):
    cache = Cache(tmp_path / "cache")
    order = images.sort_values("content_hash")["path"].tolist()
    moved = Path(order[100]).rename(tmp_path / "away.png")
    with pytest.raises(DataError):
        open_store(images, RULE, cache=cache)
    assert [store.finished for store in cached_stores(cache.folder)] == [False]
    moved.rename(order[100])
    decoded.clear()
    store = open_store(images, RULE, cache=cache)
    assert set(decoded) == set(order[store_building.CHUNK :]), "the first chunk was kept"
    fresh = open_store(images, RULE, cache=Cache(tmp_path / "other"))
    assert np.array_equal(store.pixels, fresh.pixels)
    assert not list(cache.folder.glob("*.part.npy"))


def test_a_damaged_store_is_made_again(images, tmp_path):
    cache = Cache(tmp_path / "cache")
    right = np.array(open_store(images, RULE, cache=cache).pixels)
    path = cached_stores(cache.folder)[0].path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert np.array_equal(open_store(images, RULE, cache=cache).pixels, right)
    path.write_bytes(bytes(data[:1000]))
    assert np.array_equal(open_store(images, RULE, cache=cache).pixels, right)


def test_the_least_recently_used_store_leaves_first(images, tmp_path):
    size = 100 * RULE.bytes_per_image
    cache = Cache(tmp_path / "cache", limit_bytes=int(2.5 * size))
    first, second, third = (images.iloc[start : start + 100] for start in (0, 25, 50))
    open_store(first, RULE, cache=cache)
    open_store(second, RULE, cache=cache)
    for number, store in enumerate(reversed(cached_stores(cache.folder))):
        os.utime(store.path.with_suffix(".json"), (number, number))
    open_store(first, RULE, cache=cache)  # used again: now the second is older
    open_store(third, RULE, cache=cache)
    held = {store.path.stem for store in cached_stores(cache.folder)}
    keys = [
        image_store._key(np.unique(part["content_hash"].to_numpy().astype("S64")), RULE)
        for part in (first, second, third)
    ]
    assert held == {keys[0], keys[2]}
    assert open_store(images, RULE, cache=Cache(cache.folder, limit_bytes=size)) is None
    assert {store.path.stem for store in cached_stores(cache.folder)} == held, "nothing leaves for what cannot fit"


def test_removing(images, tmp_path):
    cache = Cache(tmp_path / "cache")
    open_store(images, RULE, cache=cache)
    remove_store(images, RULE, cache=cache)
    assert cached_stores(cache.folder) == []


def photograph(path, size):
    """Write a JPEG with soft and sharp structure, as cameras make them."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 255, (size[1] // 40, size[0] // 40, 3), dtype=np.uint8)
    soft = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    noise = generator.normal(0, 6, (size[1], size[0], 3))
    pixels = np.clip(np.asarray(soft) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=90)


def test_a_large_jpeg_is_decoded_reduced_within_the_documented_tolerance(tmp_path):
    path = tmp_path / "large.jpg"
    photograph(path, (1600, 1200))
    rule = PixelRule(96, 3, "bilinear")
    assert rule.reduction_of(path.read_bytes()) == 4
    assert PixelRule(96, 3, "nearest").reduction_of(path.read_bytes()) == 1
    full = np.asarray(Image.open(path).resize((96, 96), Image.Resampling.BILINEAR)).astype(float)
    assert np.abs(decode_to_rule(str(path), rule) - full).mean() < 0.5


def test_what_is_decoded_does_not_depend_on_the_company(tmp_path):
    path = tmp_path / "large.jpg"
    photograph(path, (1600, 1200))
    rules = [PixelRule(96, 3, "bilinear"), PixelRule(224, 3, "bilinear"), PixelRule(96, 1, "bicubic")]
    for together, rule in zip(decode_to_rules(str(path), rules), rules, strict=True):
        assert np.array_equal(together, decode_to_rule(str(path), rule))


def test_a_store_changed_in_place_is_noticed_and_removed_once(images, tmp_path):
    cache = Cache(tmp_path / "cache")
    first, second = (open_store(images, RULE, cache=cache) for _ in range(2))
    right = np.array(first.pixels)
    assert not first.changed_chunks
    path = cached_stores(cache.folder)[0].path
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 60 * RULE.bytes_per_image)  # in the second of three chunks
        file.write(bytes(10))
    assert first.changed_chunks == second.changed_chunks == [1]
    first.remove_damaged()
    assert cached_stores(cache.folder) == []
    rebuilt = open_store(images, RULE, cache=cache)
    assert np.array_equal(rebuilt.pixels, right)
    assert rebuilt.identifier != first.identifier
    assert rebuilt.damaged_stores() == {first.identifier}
    second.remove_damaged()  # another run that still had it open
    assert cached_stores(cache.folder)[0].path == path
