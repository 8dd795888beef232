"""What the command line says about plans and results."""

import os
import shlex
from pathlib import Path

import pytest
from training_samples import settings_for

from model_aggregation.cli.texts import _quoted, plan_parts
from model_aggregation.disk_space import planned_files
from model_aggregation.forecast import Forecast
from model_aggregation.plan import make_plan


@pytest.mark.parametrize("name", ["a b", "a(1)", "a&b", "it's", "a;b", "$HOME", "a*"])
def test_paths_are_quoted_as_a_shell_needs_them(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shown = _quoted(Path("log") / name)
    assert shown[0] in "\"'"
    if os.name != "nt":
        assert shlex.split(shown) == [f"log/{name}"]


def test_plain_paths_are_not_quoted():
    assert _quoted(Path("log") / "胸部_v1.2-b") == str(Path("log") / "胸部_v1.2-b")


def plan_for(data, folder, **given):
    return make_plan(settings_for(data=data, positive="肺炎", log_folder=folder / "log", **given))


def names_of(plan):
    folder = plan.runs[0].folder
    return {path.relative_to(folder).as_posix() for path in planned_files(plan, plan.runs[0])}


def test_the_planned_files_follow_the_settings(two_classes, tmp_path):
    base = names_of(plan_for(two_classes, tmp_path, name="a", epochs=5))
    with_weights = names_of(plan_for(two_classes, tmp_path, name="a", epochs=5, save_every=2, whole_model=True))
    assert with_weights - base == {
        "models/0.pth", "models/2.pth", "models/4.pth", "last_model_all.pth", "best_model_all.pth",
    }  # fmt: skip
    without_test = names_of(plan_for(two_classes, tmp_path, name="a", epochs=5, test=False))
    assert base - without_test == {
        "a_test.csv", "a_test_p.csv", "a_test_cm.xlsx", "a_test_roc.csv", "a_test_roc.png",
    }  # fmt: skip
    without_validation = names_of(plan_for(two_classes, tmp_path, name="a", epochs=5, validation=False))
    assert base - without_validation == {"a_val.csv", "best_model_weight.pth", "best_model_weight.json"}


def test_a_plan_names_files_states_and_what_is_left_to_do(two_classes, tmp_path):
    models = ("timm:test_resnet", "timm:test_vit")
    plan = plan_for(two_classes, tmp_path, name="g", model=None, models=models, save_every=1, epochs=3)
    files = tuple(planned_files(plan, plan.runs[0]))
    costs = [
        Forecast(run.run_name, state, 10**6, 30.0, 2**20, files, "float32")
        for run, state in zip(plan.runs, ("finished", "continues"), strict=True)
    ]
    text = "\n".join(part for part in plan_parts(plan, costs) if isinstance(part, str))
    assert "About 30 s on this machine for what is not finished, decoding not counted." in text
    for given in ({"jobs": 2}, {"devices": 2}):
        object.__setattr__(plan, "settings", plan.settings.model_copy(update={"device": "cpu", "jobs": None, **given}))
        said = "\n".join(part for part in plan_parts(plan, costs) if isinstance(part, str))
        assert "About 30 s on this machine for what is not finished, decoding not counted, as if one run" in said
    for words in ("g_test_resnet_test_roc.png", "models/0.pth … 2.pth (3)", "plan.json", "analyze_record.db"):
        assert words in text, words
    assert "Names are taken" not in text


def test_a_plan_says_what_a_network_will_see(two_classes, tmp_path):
    plan = plan_for(two_classes, tmp_path, augmentation="medical", mixup=0.2, resize="pad")
    cost = Forecast(plan.runs[0].run_name, "new", 10**6, 30.0, 2**20, (), "float32")
    text = "\n".join(part for part in plan_parts(plan, [cost]) if isinstance(part, str))
    for words in ("32×32×3 pad bilinear", "medical: turned by up to 10°", "mixed with each other: mixup 0.2."):
        assert words in text, words
