"""The life of a run's process: it does one run, tells how far it is, and ends when it is told to or left alone."""

import _thread
import faulthandler
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Thread
from typing import Any

import torch

from model_aggregation.engine.live_reporter import SendingReporter
from model_aggregation.engine.places import Place
from model_aggregation.engine.task import Ending, Task, note_interruption, perform
from model_aggregation.results.run_folder import RunFolder

GRACE_SECONDS = 20.0
"""How long a run that is told to stop may take to do so."""


@dataclass(frozen=True, eq=False)
class Order:
    """What the process is to do, and where: its share of the machine, the file of its output, the environment."""

    task: Task
    place: Place
    output: Path
    environment: dict[str, str]


def main(connection: Connection, order: Order) -> None:
    """Do the run of an order; what is sent are messages, counts, and at the end an :class:`Ending`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; who leads decides
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    done = Event()

    def send(message: tuple[str, Any]) -> None:
        with suppress(OSError):  # nobody listens any more: the run is about to be stopped
            connection.send(message)

    try:
        Thread(target=_end_when_told, args=(connection, done), daemon=True).start()
        _write_to(order.output)
        _move_to(order)
        ending = perform(order.task, SendingReporter(send), lambda: send(("begun", None)))
    except KeyboardInterrupt:  # told to stop before or after the run itself
        note_interruption(order.task.item)
        finished = RunFolder(order.task.item.folder).finished
        ending = Ending("finished" if finished else "interrupted")
    done.set()
    send(("ended", ending))


def _end_when_told(connection: Connection, done: Event) -> None:
    """Interrupt the run when the process that leads says so or is gone; it writes down what it has and ends."""
    with suppress(EOFError, OSError):
        connection.recv()
    if not done.is_set():
        _thread.interrupt_main(signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


def _write_to(path: Path) -> None:
    """Let the output of Python and of libraries go to a file, with the place in the code if they crash."""
    with path.open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    streams: list[Any] = [sys.stdout, sys.stderr]
    for stream in streams:
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    faulthandler.enable()


def _move_to(order: Order) -> None:
    """Take the environment of the process that leads (a server may be older), and the share of the machine."""
    os.environ.clear()
    os.environ.update(order.environment)
    place = order.place
    if place.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = place.gpu
    if place.jobs > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // place.jobs))
