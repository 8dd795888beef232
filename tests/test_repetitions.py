"""Seeds and folds: who is tested where, what is pooled, what is not, and how it continues."""

import random
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from conftest import write_image
from sklearn.metrics import roc_auc_score
from test_data_splitting import plain, splits_by_id, table_of

import model_aggregation as ma
from model_aggregation.config import make_settings
from model_aggregation.data.splitting import FoldRule, fold_tables
from model_aggregation.errors import DataError, ResultsError, SettingsError
from model_aggregation.results.objects import Run
from model_aggregation.results.run_folder import RunFolder

MODEL = "timm:test_resnet"


def grouped_table():
    generator = random.Random(3)
    images = [
        (generator.choice(["cat", "dog", "dog"]), f"P{generator.randrange(40)}", str(number)) for number in range(300)
    ]
    return table_of(images)


def test_every_image_is_tested_once_and_groups_stay_whole():
    tables = fold_tables(grouped_table(), FoldRule(5))
    tested = Counter(name for table in tables for name in table.part("test")["id"])
    assert tested == Counter(tables[0].frame["id"])
    for table in tables:
        assert (table.frame.groupby("group")["split"].nunique() == 1).all()
        assert set(table.frame["split"]) == {"train", "val", "test"}


def test_folds_keep_the_share_of_each_class():
    tables = fold_tables(plain({"cat": 100, "dog": 300}), FoldRule(5))
    for table in tables:
        assert table.counts().to_dict("index") == {
            "cat": {"train": 64, "val": 16, "test": 20},
            "dog": {"train": 192, "val": 48, "test": 60},
        }
    shares = [table.part("test")["label"].eq("dog").mean() for table in fold_tables(grouped_table(), FoldRule(4))]
    overall = grouped_table().frame["label"].eq("dog").mean()
    assert np.abs(np.array(shares) - overall).max() < 0.03


def test_folds_do_not_depend_on_the_order_of_the_files_but_on_the_seed():
    table = grouped_table()
    shuffled = type(table)(table.root, table.frame.sample(frac=1, random_state=1), table.classes)
    for one, other in zip(fold_tables(table, FoldRule(3)), fold_tables(shuffled, FoldRule(3)), strict=True):
        assert splits_by_id(one) == splits_by_id(other)
    again = fold_tables(table, FoldRule(3, seed=1))[0]
    assert splits_by_id(again) != splits_by_id(fold_tables(table, FoldRule(3))[0])


def test_too_few_groups_and_given_splits_exclude_folds():
    with pytest.raises(DataError, match="5 folds need as many units"):
        fold_tables(table_of([("a", f"P{n % 3}", str(n)) for n in range(30)]), FoldRule(5))
    table = plain({"a": 10})
    table.frame.loc[0, "split"] = "test"
    with pytest.raises(DataError, match="comes with splits"):
        fold_tables(table, FoldRule(2))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"folds": 5, "test_share": 0.3}, "test_share has an effect with no folds"),
        ({"fold": 2}, "fold: 2 needs folds: 2 or more"),
        ({"folds": 3, "fold": 4}, "fold: 4 needs folds: 4 or more"),
        ({"folds": 3, "split": "splits.csv"}, "exclude a split table"),
        ({"seeds": (1, 1)}, "seeds: 1 is given more than once"),
        ({"folds": 3, "test": False}, "trains and tests"),
        ({"seeds": (0, 1), "comparison": "g"}, "named as a group"),
    ],
)
def test_repetitions_that_contradict_other_settings_are_refused(given, expected):
    with pytest.raises(SettingsError, match=expected):
        make_settings(data="x", model=MODEL, **given)


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for label in ("ill", "well"):
        for number in range(24):
            write_image(tmp_path / "data" / label / f"{number}.png", bright=label == "ill", seed=number + 100)
    return {
        "image_size": 32, "epochs": 1, "pretrained": False, "quiet": True, "tensorboard": False, "jobs": 0,
        "positive": "ill", "name": "g", "cache_folder": tmp_path / "cache",
    }  # fmt: skip


def test_out_of_fold_predictions_are_pooled_and_evaluated_once(tmp_path, given):
    group = ma.compare(tmp_path / "data", [MODEL], folds=3, seeds=(0, 1), **given)
    names = {run.name: run for run in group.runs}
    members = {f"g_test_resnet_s{seed}_f{fold}" for seed in (0, 1) for fold in (1, 2, 3)}
    assert names.keys() == members | {"g_test_resnet_s0", "g_test_resnet_s1"}
    for seed in (0, 1):
        pooled = names[f"g_test_resnet_s{seed}"]
        parts = pd.concat([names[f"{pooled.name}_f{fold}"].predictions() for fold in (1, 2, 3)])
        table = pooled.predictions()
        assert len(table) == table["path"].nunique() == 48
        merged = table.merge(parts, on=["path", "correct_label", "ill", "well"])
        assert len(merged) == 48
        auc = pooled.metrics()["test"]["auc"]["value"]
        assert auc == pytest.approx(roc_auc_score(table["correct_label"] == "ill", table["ill"]), abs=1e-12)
        assert pooled.folder.read_images()["fold"].value_counts().to_dict() == {"1": 16, "2": 16, "3": 16}
        facts = pooled.folder.read_environment()
        assert facts["members"] == [f"{pooled.name}_f{fold}" for fold in (1, 2, 3)]
        assert facts["part_of"] == "g_test_resnet"
    first, second = (names[f"g_test_resnet_s{seed}_f1"] for seed in (0, 1))
    assert first.predictions()["path"].tolist() == second.predictions()["path"].tolist(), "seeds share the split"
    assert first.predictions()["ill"].tolist() != second.predictions()["ill"].tolist()


def test_a_fold_repeats_from_its_own_yaml_and_one_fold_can_be_done_alone(tmp_path, given):
    alone = ma.train(tmp_path / "data", MODEL, folds=2, fold=2, comparison="g", **{**given, "name": None})
    assert isinstance(alone, Run)
    assert alone.name == "g_test_resnet_f2"
    group = ma.train(tmp_path / "data", MODEL, folds=2, **given)
    assert {run.name for run in group.runs} == {"g_test_resnet", "g_test_resnet_f1", "g_test_resnet_f2"}
    again = ma.run(ma.make_plan(alone.folder.settings_yaml, name="again"), quiet=True)
    assert again.predictions().equals(alone.predictions())


def test_a_pool_that_was_lost_is_made_again_with_the_same_bytes(tmp_path, given):
    group = ma.train(tmp_path / "data", MODEL, folds=2, **given)
    pooled = RunFolder(group.path / "g_test_resnet")
    before = pooled.metrics_json.read_bytes()
    pooled.metrics_json.unlink()
    ma.train(tmp_path / "data", MODEL, folds=2, **given)
    assert pooled.metrics_json.read_bytes() == before
    member = RunFolder(group.path / "g_test_resnet_f1")
    member.read_predictions().round(4).to_csv(member.predictions_csv("test"), index=False)  # as spreadsheets do
    pooled.metrics_json.unlink()
    ma.train(tmp_path / "data", MODEL, folds=2, **given)
    assert "Files of g_test_resnet_f1 are not what the run wrote" in str(pooled.failure_reason())
    ma.analyze(member.path)  # accepts them
    ma.train(tmp_path / "data", MODEL, folds=2, **given)
    assert pooled.finished
    assert "g_test_resnet_f1: accepted as they are now" in pooled.read_environment()["reason"]


@pytest.mark.parametrize("name", ["g_test_resnet", "g_test_resnet_f2"])
def test_a_stop_before_the_environment_is_written_is_continued(tmp_path, given, name):
    group = ma.train(tmp_path / "data", MODEL, folds=2, **given)
    folder = RunFolder(group.path / name)
    before = folder.metrics_json.read_bytes()
    folder.metrics_json.unlink()
    folder.environment_json.unlink()
    ma.train(tmp_path / "data", MODEL, folds=2, **given)
    assert folder.metrics_json.read_bytes() == before


def test_a_failed_fold_fails_the_pool_with_its_reason(tmp_path, given, monkeypatch):
    from model_aggregation import engine, experiment

    settings = {key: given[key] for key in given if key != "quiet"}
    plan = ma.make_plan(data=tmp_path / "data", model=MODEL, folds=2, **settings)
    execute = experiment.execute

    def fails_once(whole, item, reporter, **given):
        if item.settings.fold == 2:
            raise DataError("the disk is gone")
        return execute(whole, item, reporter, **given)

    monkeypatch.setattr(experiment, "execute", fails_once)
    outcome = engine.run(plan)
    assert outcome.failed.keys() == {"g_test_resnet_f2", "g_test_resnet"}
    assert "fold 2, g_test_resnet_f2: the disk is gone" in outcome.failed["g_test_resnet"]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    outcome = engine.run(plan)
    assert outcome.finished == ["g_test_resnet_f2", "g_test_resnet"]
    assert outcome.already_there == ["g_test_resnet_f1"]


def test_seeds_beside_a_run_of_the_common_name_are_refused(tmp_path, given):
    ma.compare(tmp_path / "data", [MODEL], **given)
    with pytest.raises(ResultsError, match="g_test_resnet is a run of its own"):
        ma.compare(tmp_path / "data", [MODEL], seeds=(0, 1), **given)
    with pytest.raises(ResultsError, match="other settings or data"):
        ma.compare(tmp_path / "data", [MODEL], folds=2, **given)


def test_a_pooled_run_does_not_predict_and_says_which_do(tmp_path, given):
    group = ma.train(tmp_path / "data", MODEL, folds=2, **given)
    with pytest.raises(ResultsError, match="give one of g_test_resnet_f1, g_test_resnet_f2"):
        ma.predict(group.path / "g_test_resnet", tmp_path / "data" / "ill")
