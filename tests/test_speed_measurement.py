"""What a machine decides is timed once, recorded, and used again; what the settings say holds."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest
import torch
import yaml
from command_line import magg  # noqa: F401
from training_samples import Lab, continues_alike, same

import model_aggregation as ma
from model_aggregation import experiment, startup
from model_aggregation.config import make_settings
from model_aggregation.errors import SettingsError
from model_aggregation.forecast import Cost, seconds_of_change
from model_aggregation.models.arithmetic import Arithmetic, Inference, Mode
from model_aggregation.models.build import build_network
from model_aggregation.models.zoo import parse_model_name
from model_aggregation.startup import FreeCores, may_keep_freed_memory
from model_aggregation.training.measurement import Amount, amount_of, settle_arithmetic

CPU = torch.device("cpu")
MUCH = Amount(learnt=100_000, looked_at=100_000)
SLOW_TRANSFORMS = """
import time
import torch

def slow(seconds):
    def change(image):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
        return torch.zeros(3, 32, 32)
    return change

train, val = slow(0.02), slow(0.005)
"""


@pytest.fixture(autouse=True)
def _threads_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def settled(amount=MUCH, earlier=None, folder=None, model="timm:test_resnet", **given):
    settings = make_settings(data="x", model=model, pretrained=False, image_size=32, **given)
    torch.manual_seed(0)
    network = build_network(parse_model_name(model), 2, settings)
    before = {key: tensor.clone() for key, tensor in network.module.state_dict().items()}
    result = settle_arithmetic(network, settings, CPU, amount, earlier=earlier, folder=folder)
    assert same(before, network.module.state_dict())
    return result


def test_the_fastest_of_what_was_timed_is_chosen():
    arithmetic = settled()
    modes = ("bfloat16 channels-last", "float32 channels-last", "float32 contiguous")
    for kind, chosen in (("training", arithmetic.training), ("inference", arithmetic.inference.mode)):
        names = {f"{kind} {mode}, 4 at once": mode for mode in modes}
        timed = {mode: arithmetic.seconds[name] for name, mode in names.items() if name in arithmetic.seconds}
        assert min(timed, key=timed.__getitem__) == str(chosen)
        ahead = timed["float32 channels-last"] > 1.3 * timed["bfloat16 channels-last"]
        assert ("float32 contiguous" in timed) is not ahead  # in the other memory format it is as far behind
    usual, large = (arithmetic.seconds[f"inference {arithmetic.inference.mode}, {count} at once"] for count in (16, 32))
    assert arithmetic.inference.batch_size == (32 if large < usual else 16)
    assert arithmetic.origin == "training and inference timed on this machine"


def test_what_is_set_is_not_timed():
    arithmetic = settled(precision="bf16", memory_format="contiguous", predict_batch_size=5, threads=1)
    mode = Mode("bf16", "contiguous")
    assert arithmetic == Arithmetic(mode, Inference(mode, 5), 1, "cpu", "as set")
    assert torch.get_num_threads() == 1


def test_equal_settings_give_equal_choices_on_one_machine(tmp_path):
    first = settled(folder=tmp_path, threads=1)
    (path,) = tmp_path.iterdir()
    known = json.loads(path.read_text("utf-8"))
    assert {name: value for answers in known.values() for name, value in answers.items()} == first.seconds
    slow = f"training {first.training}, 4 at once"
    for answers in known.values():
        answers.update({slow: 100.0} if slow in answers else {})
    path.write_text(json.dumps(known), encoding="utf-8")
    assert settled(folder=tmp_path, threads=1).training != first.training  # remembered, not timed again
    path.unlink()
    settled(folder=tmp_path, threads=1, precision="32")
    assert not any("bfloat16" in name for name in json.loads(path.read_text("utf-8")))
    assert any("bfloat16" in name for name in settled(folder=tmp_path, threads=1).seconds)


def test_half_set_leaves_the_other_half_open():
    names = settled(precision="32").seconds
    assert names
    assert not any("bfloat16" in name for name in names)
    names = settled(memory_format="contiguous").seconds
    assert {f"training {precision} contiguous, 4 at once" for precision in ("float32", "bfloat16")} <= set(names)
    assert not any("channels-last" in name for name in names)


def test_a_short_run_is_computed_plainly():
    arithmetic = settled(Amount(learnt=70, looked_at=70))
    assert (arithmetic.training, arithmetic.seconds) == (Mode(), {})
    assert "too few images" in str(arithmetic)


def test_what_was_settled_before_holds():
    before = Arithmetic(Mode("bf16", "channels_last"), Inference(Mode(), 3, fold=False), 1, "cpu", "timed", {"a": 0.5})
    assert Arithmetic.from_dict(json.loads(json.dumps(before.to_dict()))) == before
    assert settled(earlier=before) == before
    assert settled(earlier=Arithmetic(device="cuda"), precision="32").device == "cpu"


@pytest.mark.parametrize(
    ("given", "pretrained", "amount"),
    [
        ({}, False, Amount(500, 10 * 6 + 7, 500)),
        ({}, True, Amount(200, 2 * 100 + 10 * 4 + 7, 400)),  # two views of three frozen epochs
        ({"cache_features": False}, True, Amount(200, 3 * 100 + 10 * 6 + 7, 500)),
        ({"train": False, "weights": "a.pth"}, True, Amount(0, 10 + 7, 0)),
    ],
)
def test_the_amount_of_a_run(given, pretrained, amount):
    settings = make_settings(data="x", model="a", epochs=5, thaw_at=3, **given)
    assert amount_of(settings, {"train": 100, "val": 10, "test": 7}, pretrained=pretrained) == amount


def test_changing_images_costs_time_unless_workers_do_it_beside_a_gpu():
    def seconds(change, *, beside):
        cost = Cost(1, 4, forward=0.25, step=1.0, arithmetic=Arithmetic(), change=change, changed_beside=beside)
        return cost.seconds_of(Amount(learnt=10, looked_at=8, changed=16))

    assert seconds(0.5, beside=False) == 10 + 2 + 8
    assert seconds(0.5, beside=True) == 10 + 2
    assert seconds(1.0, beside=True) == 16


@pytest.mark.parametrize("augmentation", ["trivial", "randaugment", "medical"])
def test_the_cost_of_augmentation_is_timed_and_draws_nothing_of_the_run(augmentation):
    settings = make_settings(data="x", model="timm:test_resnet", pretrained=False, image_size=64)
    network = build_network(parse_model_name("timm:test_resnet"), 2, settings)
    before = torch.get_rng_state()
    changed = seconds_of_change(network, settings.model_copy(update={"augmentation": augmentation}))
    assert changed > seconds_of_change(network, settings.model_copy(update={"augmentation": "none"})) >= 0
    assert torch.equal(torch.get_rng_state(), before)


def test_reading_what_is_not_augmented_costs_time_too():
    cost = Cost(1, 4, forward=0, step=0, arithmetic=Arithmetic(), change=0.5, changed_beside=False, reading=0.25)
    assert cost.seconds_of(Amount(learnt=10, looked_at=8, changed=16)) == 16 * 0.5 + 2 * 0.25


def test_the_forecast_counts_a_transforms_file(magg, tmp_path, two_classes):  # noqa: F811
    """Each training image takes 20 ms of computing, each other one 5 ms."""
    file, planned = tmp_path / "mine.py", tmp_path / "plan.json"
    file.write_text(SLOW_TRANSFORMS, encoding="utf-8")
    settings = {
        "data": str(two_classes), "model": "timm:test_resnet", "pretrained": False, "image_size": 32, "epochs": 2,
        "cache_folder": str(tmp_path / "cache"), "positive": "肺炎", "log_folder": str(tmp_path / "log"), "workers": 0,
        "transforms": str(file),
    }  # fmt: skip
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    text = magg("plan", tmp_path / "s.yaml", "--json", planned, "--trust-code")
    assert "reading and mine.py counted" in text
    plan = json.loads(planned.read_text("utf-8"))
    counts = plan["images"]["splits.csv"]
    train, val, test = (sum(each[name] for each in counts.values()) for name in ("train", "val", "test"))
    assert plan["forecast"][0]["seconds"] >= 2 * train * 0.02 + (3 * val + test) * 0.005 - 0.1
    file.write_text(SLOW_TRANSFORMS.replace("torch.zeros(3, 32, 32)", "image.size.no"), encoding="utf-8")
    text = magg("plan", tmp_path / "s.yaml", "--trust-code", expect=1)
    assert "'train' in" in text
    assert "AttributeError: 'tuple' object has no attribute 'no'" in text


def test_a_run_records_what_was_settled_and_its_seeds_share_it(tmp_path, two_classes):
    given = {
        "pretrained": False, "image_size": 32, "epochs": 1, "cache_folder": tmp_path / "cache", "quiet": True,
        "tensorboard": False, "jobs": 0, "positive": "肺炎", "log_folder": tmp_path / "log", "threads": 1,
    }  # fmt: skip
    group = ma.compare(
        two_classes, ["timm:test_resnet"], seeds=(1, 2), name="g", memory_format="channels_last", **given
    )
    first, second = (json.loads((run.path / "environment.json").read_text("utf-8")) for run in group.runs)
    assert first["arithmetic"] == second["arithmetic"]
    chosen = first["arithmetic"]["training"]
    assert chosen["memory_format"] == "channels_last"
    assert first["arithmetic"]["threads"] == first["threads"] == 1
    facts = json.loads((group.runs[0].path / "last_model_weight.json").read_text("utf-8"))
    assert facts["arithmetic"] == first["arithmetic"]
    status = next(group.runs[0].path.glob("*_status.txt")).read_text("utf-8")
    assert f"training {'float32' if chosen['precision'] == '32' else 'bfloat16'} channels-last" in status


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_a_training_that_continues_takes_the_same_steps_in_bfloat16(tmp_path, layout):
    given = {"epochs": 3, "precision": "bf16"}
    mode = Mode("bf16", layout)

    def lab(folder):
        made = Lab(folder, **given)
        object.__setattr__(made.training, "arithmetic", Arithmetic(mode, Inference(mode, 8)))
        return made

    continues_alike(lab, tmp_path, stop_at="epoch 2/3 train")
    assert all(tensor.is_contiguous() for tensor in torch.load(tmp_path / "cut" / "last.pth").values())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pretrained": False, "cache_features": False}, "frozen network"),
        ({"train": False, "weights": "x", "compile": True}, "train: true"),
    ],
)
def test_settings_without_effect(settings, words):
    with pytest.raises(SettingsError, match=words):
        make_settings(data="x", model="a", **settings)


def test_cores():
    assert 1 <= FreeCores().count() <= os.cpu_count()


@pytest.mark.skipif(not may_keep_freed_memory(), reason="another allocator than glibc's")
def test_freed_memory_stays_with_the_process():
    code = "import resource, numpy\nfrom model_aggregation.startup import keep_freed_memory\nkeep_freed_memory()"
    code += "\nfor _ in range(3): numpy.ones(10**7)"  # touched, freed
    code += "\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\nfor _ in range(5): numpy.ones(10**7)"
    code += "\nassert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 1000"  # else 19,500 each time
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_decoding_the_images_does_not_count_as_use_by_others(tmp_path, two_classes, monkeypatch):
    order = []
    load, cores = experiment.load_images, experiment.FreeCores
    monkeypatch.setattr(experiment, "load_images", lambda *given: order.append("images") or load(*given))
    monkeypatch.setattr(experiment, "FreeCores", lambda: order.append("cores") or cores())
    ma.train(
        two_classes, "timm:test_resnet", pretrained=False, image_size=32, epochs=1, cache_folder=tmp_path / "cache",
        quiet=True, tensorboard=False, jobs=0, positive="肺炎", log_folder=tmp_path / "log",
    )  # fmt: skip
    assert order == ["images", "cores"]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no affinity")
@pytest.mark.parametrize(("own_share", "count"), [(0.0, 1), (1.0, 2)])
def test_what_this_process_uses_counts_as_free(monkeypatch, own_share, count):
    monkeypatch.setattr(psutil, "cpu_percent", lambda percpu: [100.0, 0.0])
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda _: [0, 1])
    monkeypatch.setattr(startup, "_quota", lambda: None)
    now = iter([10.0, 10.4, 10.4])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    used = iter([1.0, 1.0 + own_share * 0.4])
    monkeypatch.setattr(time, "process_time", lambda: next(used))
    assert FreeCores().count() == count


def test_importing_changes_nothing_and_the_command_line_calms_threads():
    chosen = ("GOMP_SPINCOUNT", "ARROW_DEFAULT_MEMORY_POOL")
    clean = {key: value for key, value in os.environ.items() if key not in chosen}
    code = "import os, sys, model_aggregation\nassert 'GOMP_SPINCOUNT' not in os.environ"
    code += "\nimport model_aggregation.api\nassert 'GOMP_SPINCOUNT' not in os.environ"
    code += "\nfrom model_aggregation.cli.app import main\nsys.argv = ['magg', '--version']"
    code += "\ntry: main()\nexcept SystemExit: assert os.environ['GOMP_SPINCOUNT'] == '1000'"
    result = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_tables_of_the_command_line_take_memory_from_where_all_else_does():
    clean = {key: value for key, value in os.environ.items() if key != "ARROW_DEFAULT_MEMORY_POOL"}
    code = "import sys\nfrom model_aggregation.cli.app import main\nassert 'pyarrow' not in sys.modules"
    code += "\nsys.argv = ['magg', '--version']\ntry: main()\nexcept SystemExit: import pyarrow"
    code += "\nassert pyarrow.default_memory_pool().backend_name == 'system'"
    result = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
