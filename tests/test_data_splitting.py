"""The automatic split: shares, whole groups, every class, the same on every day; and the split fed back."""

import hashlib
import random
from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_aggregation.data.allocation import allocate
from model_aggregation.data.image_table import SPLITS, ImageTable
from model_aggregation.data.splitting import SplitRule, apply_split, split_images, write_split
from model_aggregation.errors import DataError, SettingsError


def table_of(images: list[tuple[str, str, str]]) -> ImageTable:
    """Make an inspected table from (label, group, picture) per image, without files."""
    frame = pd.DataFrame(images, columns=["label", "group", "pixel_hash"])
    frame.insert(0, "id", [f"{label}/画像 {number:05d}.png" for number, label in enumerate(frame["label"])])
    frame = frame.assign(path=frame["id"], split="", readable=True, content_hash=frame["id"])
    frame = frame.sort_values("id", ignore_index=True)
    return ImageTable(Path("root"), frame, tuple(sorted(set(frame["label"]))))


def splits_by_id(table: ImageTable) -> dict[str, str]:
    return dict(zip(table.frame["id"], table.frame["split"], strict=True))


def plain(sizes: dict[str, int]) -> ImageTable:
    return table_of([(label, "", f"{label}{n}") for label, size in sizes.items() for n in range(size)])


def test_default_shares_are_exact_where_the_numbers_allow() -> None:
    counts = split_images(plain({"cat": 100, "dog": 300}), SplitRule()).counts()
    assert counts.to_dict("index") == {
        "cat": {"train": 64, "val": 16, "test": 20},
        "dog": {"train": 192, "val": 48, "test": 60},
    }


def test_the_split_of_a_given_seed_never_changes() -> None:
    split = splits_by_id(split_images(plain({"a": 10}), SplitRule(seed=7)))
    drawn = sorted(split, key=lambda name: hashlib.sha256(f"7\0{name}".encode()).hexdigest())
    assert [split[name] for name in drawn] == ["train"] * 6 + ["test"] * 2 + ["val"] * 2


def test_another_seed_gives_another_split() -> None:
    table = plain({"cat": 50, "dog": 50})
    assert splits_by_id(split_images(table, SplitRule(seed=1))) != splits_by_id(split_images(table, SplitRule()))


IMAGES = st.lists(
    st.tuples(
        st.sampled_from(["cat", "dog", "elk"]),
        st.sampled_from(["", *(f"P{number}" for number in range(12))]),
        st.integers(0, 40).map(str),
    ),
    min_size=1,
    max_size=80,
)


@settings(max_examples=60, deadline=None)
@given(IMAGES, st.integers(0, 5), st.randoms(use_true_random=False))
def test_units_stay_whole_and_the_order_of_files_does_not_matter(
    images: list[tuple[str, str, str]], seed: int, shuffler: random.Random
) -> None:
    table = table_of(images)
    result = split_images(table, SplitRule(seed=seed)).frame
    assert set(result["split"]) <= set(SPLITS)
    for column in ("group", "pixel_hash"):
        known = result[result[column] != ""]
        assert (known.groupby(column)["split"].nunique() == 1).all()
    # the rows in another order, and other hashes for the same equalities: each id keeps its split
    order = list(range(len(table.frame)))
    shuffler.shuffle(order)
    other = table.frame.iloc[order].assign(pixel_hash=lambda rows: [f"{999 - int(h)}" for h in rows["pixel_hash"]])
    again = split_images(ImageTable(table.root, other, table.classes), SplitRule(seed=seed))
    assert splits_by_id(again) == dict(zip(result["id"], result["split"], strict=True))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 60), min_size=1), st.integers(0, 9))
def test_without_groups_each_class_is_within_one_image_of_its_share(sizes: dict[str, int], seed: int) -> None:
    counts = split_images(plain(sizes), SplitRule(seed=seed)).counts()
    for label, size in sizes.items():
        present = counts.loc[label][counts.loc[label] > 0].index.tolist()
        assert present == {1: ["train"], 2: ["train", "test"]}.get(size, list(SPLITS))
        if size >= 8:  # below, one image for each split takes precedence
            for split, share in {"train": 0.64, "val": 0.16, "test": 0.2}.items():
                assert abs(counts.loc[label, split] - share * size) < 1 + 1e-9


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(60, 150), st.floats(0.1, 0.9))
def test_with_many_groups_class_shares_stay_within_two_points(seed: int, groups: int, prevalence: float) -> None:
    chance = random.Random(seed)
    images = []
    for group in range(groups):
        rate = min(1.0, max(0.0, chance.gauss(prevalence, 0.3)))
        images += [("ill" if chance.random() < rate else "well", f"P{group}") for _ in range(chance.randint(1, 8))]
    table = table_of([(label, group, str(number)) for number, (label, group) in enumerate(images)])
    counts = split_images(table, SplitRule(seed=seed)).counts()
    whole = counts.sum(axis=1) / counts.to_numpy().sum()
    shares = counts / counts.sum()
    assert (shares.sub(whole, axis=0).abs() < 0.02).to_numpy().all()
    assert abs(counts["test"].sum() / len(images) - 0.2) < 0.02


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("abcde"), st.lists(st.integers(1, 30), min_size=3, max_size=9), min_size=1))
def test_a_class_of_three_pure_groups_or_more_is_in_every_split(sizes: dict[str, list[int]]) -> None:
    images = [
        (label, f"{label}{group}", f"{label}{group}.{number}")
        for label, groups in sizes.items()
        for group, size in enumerate(groups)
        for number in range(size)
    ]
    counts = split_images(table_of(images), SplitRule()).counts()
    assert (counts > 0).to_numpy().all()


def test_groups_and_pictures_join_through_each_other() -> None:
    chain = [("cat", "P1", "x"), ("cat", "P2", "x"), ("dog", "P2", "y"), ("dog", "", "y"), ("dog", "", "z")]
    frame = split_images(table_of(chain * 1 + [("cat", "", f"c{n}") for n in range(20)]), SplitRule()).frame
    joined = frame[frame["pixel_hash"].isin(["x", "y"])]
    assert len(joined) == 4
    assert joined["split"].nunique() == 1


def test_many_small_classes_do_not_all_round_the_same_way() -> None:
    counts = split_images(plain({f"class {n:03d}": 12 for n in range(200)}), SplitRule()).counts()
    totals = counts.sum() / counts.to_numpy().sum()
    assert totals.round(3).to_dict() == {"train": 0.64, "val": 0.16, "test": 0.2}


def test_no_test_or_no_validation_when_the_rule_says_so() -> None:
    table = plain({"cat": 20, "dog": 3})
    assert split_images(table, SplitRule(test_share=0)).counts().sum().to_dict()["test"] == 0
    counts = split_images(table, SplitRule(train_share=1)).counts()
    assert counts["val"].sum() == 0
    assert (counts[["train", "test"]] > 0).to_numpy().all()


def test_shares_outside_their_range_are_all_named() -> None:
    with pytest.raises(SettingsError) as caught:
        SplitRule(test_share=1.0, train_share=0.0)
    assert len(caught.value.problems) == 2
    with pytest.raises(SettingsError):
        SplitRule(test_share=float("nan"))


def test_unreadable_images_get_no_split_and_do_not_count() -> None:
    table = plain({"cat": 10, "dog": 10})
    table.frame.loc[[0, 12], "readable"] = False
    result = split_images(table, SplitRule())
    assert result.frame.loc[[0, 12], "split"].tolist() == ["", ""]
    assert (result.frame["split"] != "").sum() == 18
    assert not table.presplit  # the table given is left as it was


def test_a_table_with_splits_or_nothing_readable_is_refused() -> None:
    table = plain({"cat": 4})
    with pytest.raises(DataError, match="already"):
        split_images(split_images(table, SplitRule()), SplitRule())
    table.frame["readable"] = False
    with pytest.raises(DataError, match="no readable image"):
        split_images(table, SplitRule())


def test_allocation_repairs_what_a_greedy_choice_would_miss() -> None:
    units = [(("a", 9),), (("a", 9),), (("a", 9),), (("b", 5),), (("b", 5),), (("b", 5),)]
    held = defaultdict(set)
    for unit, split in zip(units, allocate(units, SplitRule().millionths()), strict=True):
        held[unit[0][0]].add(split)
    assert held == {"a": set(SPLITS), "b": set(SPLITS)}


def test_few_coarse_groups_are_moved_and_exchanged_until_they_fit() -> None:
    misses = []
    for seed in range(20):
        chance = random.Random(seed)
        sizes = [(chance.randint(1, 40), chance.randint(1, 40)) for _ in range(30)]
        units = [(("ill", ill), ("well", well)) for ill, well in sizes]
        held = Counter()
        for unit, split in zip(units, allocate(units, SplitRule().millionths()), strict=True):
            held.update({(split, label): number for label, number in unit})
        for label in ("ill", "well"):
            whole = sum(held[split, label] for split in SPLITS)
            misses.append(max(abs(held["test", label] / whole - 0.2), abs(held["val", label] / whole - 0.16)))
    # placing each once misses by 0.018 on average, moving single units alone by 0.012
    assert sum(misses) / len(misses) < 0.005


def test_written_split_comes_back_and_may_be_edited(tmp_path: Path) -> None:
    table = plain({"cat": 10, "猫": 10})
    table.frame.loc[3, "readable"] = False
    split = split_images(table, SplitRule())
    path = tmp_path / "分割.csv"
    write_split(split, path)
    assert path.read_text(encoding="utf-8").splitlines()[0] == "id,label,group,split,content_hash,readable"
    assert splits_by_id(apply_split(table, path)) == splits_by_id(split)
    edited = pd.read_csv(path, dtype=str, keep_default_na=False).iloc[::-1]
    edited["split"] = edited["split"].replace({"val": "train"})
    edited["group"] = edited["id"]
    edited.to_csv(path, index=False, encoding="cp932")
    result = apply_split(table, path)
    assert set(result.frame["split"]) == {"train", "test", ""}
    assert result.frame["group"].tolist() == result.frame["id"].tolist()
    minimal = edited[["id", "split"]].rename(columns={"id": "path"})
    minimal["path"] = "./" + minimal["path"].str.replace("/", "\\")
    minimal.to_csv(path, index=False)
    assert splits_by_id(apply_split(table, path)) == splits_by_id(result)


def test_every_difference_of_a_fed_back_split_is_listed(tmp_path: Path) -> None:
    table = plain({"cat": 6})
    table.frame["group"] = "P1"
    path = tmp_path / "splits.csv"
    write_split(split_images(table, SplitRule()), path)
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    rows = pd.concat([rows, rows.iloc[[5]], rows.iloc[[5]].assign(id="cat/new.png")]).reset_index(drop=True)
    rows.loc[1, "split"] = "training"
    rows.loc[2, "split"] = ""
    rows.loc[3, "label"] = "dog"
    rows.loc[4, ["group", "content_hash"]] = ["P2", "0" * 64]
    rows.drop(index=0).to_csv(path, index=False)
    with pytest.raises(DataError) as caught:
        apply_split(table, path)
    found = Counter(problem.split(":")[0] for problem in caught.value.problems)
    assert found == {
        "more than once in the file": 1,
        "not in the file": 1,
        "not among the images": 1,
        "split 'training' is none of train, val, test": 1,
        "no split": 1,
        "label is 'cat', the file says 'dog'": 1,
        "group is 'P1', the file says 'P2'": 1,
        "another content than when the file was made": 1,
    }


def test_a_split_file_without_its_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_text("Path,Split\na.png,train\n", encoding="utf-8")
    with pytest.raises(DataError, match="did you mean 'path'") as caught:
        apply_split(plain({"cat": 1}), path)
    assert len(caught.value.problems) == 2
