"""The very beginning of the command line: the server of runs starts before all else, where it is surely needed."""

import gc
import sys

import pytest

from model_aggregation import cli, command
from model_aggregation.cli import making
from model_aggregation.config import make_settings


@pytest.mark.parametrize(
    ("words", "started"),
    [
        (["train", "data", "--model", "resnet18"], [()]),
        (["compare", "data", "--models", "resnet18", "timm:resnet18"], [("timm",)]),
        (["train", "data", "--model", "resnet18", "--jobs", "0"], []),
        (["train", "data", "--model=resnet18", "--jobs=0"], []),
        (["compare", "data", "--models", "resnet18", "--engine", "ray"], []),
        (["train", "--help"], []),
        (["run", "settings.yaml"], []),
        (["leaderboard", "train"], []),
        ([], []),
    ],
)
def test_the_server_starts_at_once(monkeypatch, words, started):
    calls = []
    monkeypatch.setattr(sys, "argv", ["magg", *words])
    monkeypatch.setattr(command, "start_server", lambda *libraries: calls.append(libraries))
    monkeypatch.setattr(cli, "main", lambda: calls.append(gc.isenabled()))
    command.main()
    gc.unfreeze()
    assert calls == [*started, True]


def test_no_server_for_what_a_launcher_started(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["magg", "train", "data", "--model", "resnet18"])
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(command, "start_server", lambda *_: pytest.fail("started"))
    monkeypatch.setattr(cli, "main", lambda: None)
    command.main()
    gc.unfreeze()


def test_the_garbage_of_planning_is_collected(monkeypatch):
    """Reading images leaves half a kilobyte of it for each; only imports leave hardly any."""

    class PlannedError(Exception):
        pass

    def plan_for(settings):
        raise PlannedError(gc.isenabled())

    monkeypatch.setattr(making, "plan_for", plan_for)
    monkeypatch.setattr(making, "start_server", lambda *_: None)
    with pytest.raises(PlannedError, match="True"):
        making._plan_and_run(make_settings(data="data", model="timm:test_resnet"))
    gc.unfreeze()
