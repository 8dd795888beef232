"""Processes are started whole, even when a signal to end comes meanwhile."""

import multiprocessing
import os
import signal
import sys

import pytest

from model_aggregation.data.parallel import map_files
from model_aggregation.processes import starting_processes, stopped_by_signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def die(task):
    raise AssertionError(task)


def interrupted(task):
    os.kill(os.getpid(), signal.SIGINT)
    return task


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_waits_until_they_are_started(number):
    started = []

    def start():
        with starting_processes():
            os.kill(os.getpid(), number)
            started.append(number)
        pytest.fail("the signal is lost")

    with stopped_by_signals(), pytest.raises(KeyboardInterrupt):
        start()
    assert started == [number]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_ctrl_c_does_not_reach_a_process_that_starts():
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=print)
    with starting_processes():
        process.start()
    os.kill(process.pid, signal.SIGINT)  # as a terminal does, while it imports
    process.join(60)
    assert process.exitcode == 0


def test_ctrl_c_does_not_end_a_task_of_a_worker():
    tasks = ["one", "two"]
    assert list(map_files(interrupted, tasks, files=2, workers=1, killed=die, careful=True)) == tasks
