"""The life of a run's process: it does one run, tells how far it is, and ends when it is told to or left alone."""

import _thread
import faulthandler
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Thread
from typing import Any

import torch
import torch.distributed

from model_aggregation.engine.live_reporter import SendingReporter
from model_aggregation.engine.places import Place
from model_aggregation.engine.task import Ending, Task, note_interruption, perform
from model_aggregation.environment import device_choice
from model_aggregation.models.memory import Lack, NotEnoughMemoryError
from model_aggregation.ranks import Seat, sit_down
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.run_plan import RunPlan
from model_aggregation.standard_streams import open_standard_streams

_FAILED = "failed"  # counted where the ranks meet

GRACE_SECONDS = 20.0
"""How long a run that is told to stop may take to do so."""


@dataclass(frozen=True, eq=False)
class Order:
    """What the process is to do, and where: its share of the machine, the file of its output, the environment.

    ``seat`` is its place among the processes of a run on several devices.
    """

    task: Task
    place: Place
    output: Path
    environment: dict[str, str]
    seat: Seat | None = None


@dataclass(frozen=True)
class Trouble:
    """Why a rank failed. ``number`` counts those of a run that failed: the first of them makes the others fail."""

    reason: str
    number: int
    lack: Lack | None = None
    output: tuple[str, ...] = ()


def main(connection: Connection, order: Order) -> None:
    """Do the run of an order; what is sent are messages, counts, and at the end an :class:`Ending`.

    The other ranks of a run on several devices send nothing, or a :class:`Trouble`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; who leads decides
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    done = Event()

    def send(message: tuple[str, Any]) -> None:
        with suppress(OSError):  # nobody listens any more: the run is about to be stopped
            connection.send(message)

    if order.seat is not None and order.seat.rank > 0:
        _assist(connection, order, send)
        return
    try:
        Thread(target=_end_when_told, args=(connection, done), daemon=True).start()
        _write_to(order.output)
        _move_to(order)
        meeting = _sit_down(order)
        ending = perform(order.task, SendingReporter(send), lambda: send(("begun", None)))
    except KeyboardInterrupt:  # told to stop before or after the run itself
        note_interruption(order.task.item)
        finished = RunFolder(order.task.item.folder).finished
        ending = Ending("finished" if finished else "interrupted")
    else:
        if meeting is not None and ending.state in ("failed", "begin again"):
            send(("number", meeting.add(_FAILED, 1)))
    done.set()
    send(("ended", ending))
    if ending.state == "finished":
        _stand_up()


def _assist(connection: Connection, order: Order, send: Any) -> None:
    """Take part in a run that another process leads."""
    Thread(target=_end_in_the_end, args=(connection,), daemon=True).start()
    _write_to(order.output)
    _move_to(order)
    meeting = _sit_down(order)
    try:
        if isinstance(order.task.item, RunPlan):
            from model_aggregation.assistance import assist  # as in ``perform``

            assist(order.task.plan, order.task.item, seconds_left=order.task.seconds_left)
        _stand_up()
    except Exception as error:  # noqa: BLE001  (whatever it is: the run's own process is told)
        lack = Lack(error.action, str(error)) if isinstance(error, NotEnoughMemoryError) else None
        number = meeting.add(_FAILED, 1) if meeting is not None else 0
        send(("trouble", Trouble(f"{error}", number, lack, tuple(traceback.format_exc().splitlines()))))


def _sit_down(order: Order) -> torch.distributed.Store | None:
    if order.seat is None:
        return None
    return sit_down(order.seat, device_choice(order.task.plan.settings.device)[0])


def _stand_up() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _end_in_the_end(connection: Connection) -> None:
    """End after the leading process is gone and the rank that leads the run had time to note it."""
    with suppress(EOFError, OSError):
        connection.recv()
    time.sleep(GRACE_SECONDS)
    os._exit(1)


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
    open_standard_streams()  # Python's own, where the command had none (pythonw)
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
    processes = place.jobs * (1 + len(place.others))
    if processes > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
