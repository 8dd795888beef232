"""What a person sees while the program works, on a terminal and elsewhere; time is told by hand."""

import io
from contextlib import suppress

import pytest
from rich.console import Console

from model_aggregation.progress import ConsoleReporter, Reporter


class Screen:
    """A reporter, what it wrote, and a clock that moves when it is told to."""

    def __init__(self, *, terminal, width=80):
        self.now = 0.0
        self.file = io.StringIO()
        console = Console(
            file=self.file, force_terminal=terminal, force_interactive=terminal, width=width, legacy_windows=False,
            color_system=None, soft_wrap=True, highlight=False, _environ={"TERM": "xterm"},
        )  # fmt: skip
        self.reporter = ConsoleReporter(console, clock=lambda: self.now)

    @property
    def lines(self):
        return self.file.getvalue().splitlines()

    def bars(self):
        console = Console(file=io.StringIO(), width=self.reporter.console.width)
        console.print(self.reporter.bars())
        return console.file.getvalue().splitlines()


def test_bars_stand_below_one_another_and_tell_the_time_left():
    screen = Screen(terminal=True)
    with screen.reporter.working() as reporter:
        reporter.count("models", 0, 3, "now 1: timm:test_resnet", steady=False)
        reporter.count("epochs", 2, 10, "first_test_resnet")
        reporter.count("batches", 0, 100)
        screen.now = 60
        reporter.count("models", 1, 3, "now 2: timm:test_resnet", steady=False)
        reporter.count("epochs", 2.5, 10, "first_test_resnet")
        reporter.count("batches", 50, 100, "loss 0.6931  accuracy 0.500  1234 images/s")
        models, epochs, batches = screen.bars()
        assert "1/3" in models
        assert "now 2: timm:test_resnet" in models
        assert "left" not in models
        assert " 2/10 0:15:00 left first_test_resnet" in epochs
        assert " 50/100 0:01:00 left loss 0.6931  accuracy 0.500" in batches
        screen.now = 90
        assert "0:00:30 left" in screen.bars()[2]
        assert max(map(len, screen.bars())) < 80
        reporter.count("batches", 100, 100)
        assert len(screen.bars()) == 2
        reporter.count("predicting", 1, 2)
        reporter.count("epochs", 10, 10)
        assert len(screen.bars()) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_ends_with_an_error_leaves_no_bars(error):
    screen = Screen(terminal=True)
    with screen.reporter.working() as reporter:
        reporter.count("models", 0, 3, steady=False)
        with suppress(error), reporter.working():
            reporter.count("epochs", 1, 3)
            reporter.count("batches", 1, 3)
            raise error
        assert len(screen.bars()) == 1
        reporter.message("next")
    written = screen.file.getvalue()
    assert "next" in written
    assert written.rstrip().endswith("\x1b[1A\x1b[2K")  # the last frame is wiped
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")  # the cursor is back
    assert not screen.bars()


def test_elsewhere_a_line_is_written_after_silence_and_some_progress():
    screen = Screen(terminal=False)
    with screen.reporter.working() as reporter:
        for done in range(1001):
            screen.now += 0.125
            reporter.count("reading images", done, 1000)
        assert screen.lines == [f"  reading images {done}/1000" for done in range(100, 1001, 100)]
        for done in range(1, 1001):
            screen.now += 0.005
            reporter.count("reading more images", done, 1000)
    assert len(screen.lines) == 10
    assert "\x1b" not in screen.file.getvalue()


def test_elsewhere_only_the_innermost_speaks_and_says_where_it_is():
    screen = Screen(terminal=False)
    reporter = screen.reporter
    reporter.count("models", 1, 3, "now 2: b", steady=False)
    reporter.count("epochs", 2, 4)
    reporter.count("batches", 0, 10)
    screen.now = 20
    reporter.count("epochs", 2.5, 4)
    assert not screen.lines
    reporter.count("batches", 5, 10, "loss 0.1")
    assert screen.lines == ["  models 1/3; epochs 2/4; batches 5/10; loss 0.1"]
    screen.now = 29
    reporter.count("batches", 9, 10)
    assert len(screen.lines) == 1
    screen.now = 40
    reporter.message("epoch 3/4")
    reporter.count("epochs", 3, 4)
    assert screen.lines[1:] == ["epoch 3/4"]


def test_the_silent_reporter_is_silent(capsys):
    with Reporter().working() as reporter:
        reporter.message("a")
        reporter.count("b", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_of_several_things_at_once_each_has_a_line():
    screen = Screen(terminal=True, width=120)
    with screen.reporter.working() as reporter:
        reporter.count("models", 0, 2, "now 1: a, 2: b", steady=False)
        parts = [reporter.part(name) for name in ("first_a", "first_b")]
        with parts[0].working(), parts[1].working():
            for part, speed in zip(parts, (10, 20), strict=True):
                part.count("epochs", 1, 4, "name")
                part.count("batches", 3, 8, f"loss 0.5  {speed} images/s")
            parts[1].count("predicting", 0, 5)
            models, first, second = screen.bars()
            assert "now 1: a, 2: b" in models
            assert first.split()[0] == "first_a"
            assert "1/4" in first
            assert "loss 0.5  10 images/s" in first
            assert "predicting 0/5" in second
            parts[0].message("  epoch 1/4 train loss 0.5")
        assert len(screen.bars()) == 1
    assert any("first_a: epoch 1/4 train loss 0.5" in line for line in screen.lines)


def test_without_a_terminal_a_long_silence_names_the_part():
    screen = Screen(terminal=False)
    part = screen.reporter.part("first_a")
    with part.working():
        part.count("epochs", 0, 4)
        screen.now = 60
        part.count("epochs", 2, 4)
    assert screen.lines == ["  first_a: epochs 2/4"]
