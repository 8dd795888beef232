"""Processes are started whole, even when a signal to end comes meanwhile."""

import multiprocessing
import os
import signal
import subprocess
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


def test_the_peak_of_memory_is_the_own_one():
    """Not that of the process that started this one."""
    large = bytearray(os.urandom(1)) * 300_000_000
    code = """
from model_aggregation.processes import peak_memory_bytes
before = peak_memory_bytes()
held = bytearray(b"x") * 100_000_000
del held
print(before, peak_memory_bytes())
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, result.stdout.split())
    assert 2**20 < before < len(large)
    assert after > before + 50_000_000
