"""The processes of a run: the one that leads it, and those that take part in it on other devices."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from model_aggregation.engine.deaths import meaning_of
from model_aggregation.engine.places import Place
from model_aggregation.engine.task import Task
from model_aggregation.engine.worker import Order, Trouble, main
from model_aggregation.processes import process_context, starting_processes
from model_aggregation.ranks import Seat
from model_aggregation.run_plan import PoolPlan
from model_aggregation.startup import return_freed_memory


class Member:
    """A process at the other end of a pipe.

    Raises
    ------
    OSError, EOFError
        If it cannot be started: no memory, too many processes; it or the server was killed meanwhile.
    """

    def __init__(self, order: Order) -> None:
        context = process_context()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=main, args=(theirs, order), name=order.task.item.run_name)
        with starting_processes(), theirs:
            self.process.start()
        return_freed_memory()  # of what was sent, several times its size

    def heard(self) -> Iterator[tuple[str, Any]]:
        """Yield what it has sent."""
        with suppress(EOFError, OSError):
            while self.connection.poll():
                yield self.connection.recv()

    def tell_to_stop(self) -> None:
        """Let it note that its run is interrupted, and end."""
        with suppress(OSError):
            self.connection.send("stop")

    def close(self) -> int | None:
        """End what is left of it; return its exit code, or None if it had to be ended."""
        exit_code: int | None = self.process.exitcode
        if exit_code is None:
            self.process.kill()
            self.process.join()
        self.connection.close()
        return exit_code


class Companions(Protocol):
    """The other ranks of a run, wherever they are."""

    def troubles(self) -> list[Trouble]:
        """Return what made ranks fail and was not told yet."""

    def close(self) -> None:
        """End what is left of them."""


class Neighbours:
    """Other ranks of a run on this machine."""

    def __init__(self, orders: list[Order]) -> None:
        self._members: list[Member] = []
        self._seats = [order.seat for order in orders]
        self._told: set[Member] = set()
        try:
            for order in orders:
                self._members.append(Member(order))
        except (OSError, EOFError):
            self.close()
            raise

    def troubles(self) -> list[Trouble]:
        """Return what made ranks fail and was not told yet."""
        found = []
        for member, seat in zip(self._members, self._seats, strict=True):
            exit_code = member.process.exitcode  # asked first: what it sent before is still there
            trouble = next((content for kind, content in member.heard() if kind == "trouble"), None)
            if trouble is None and exit_code and seat is not None:
                trouble = Trouble(f"the process of device {seat.rank + 1} of {seat.ranks}: {meaning_of(exit_code)}", 0)
            if trouble is not None and member not in self._told:
                self._told.add(member)
                found.append(trouble)
        return found

    def close(self) -> None:
        """End what is left of them."""
        for member in self._members:
            member.close()


class Team:
    """All processes of one attempt at a run: ``leader`` and, on several devices, its companions."""

    def __init__(self, leader: Member, companions: Companions | None = None, meeting: Path | None = None) -> None:
        self.leader = leader
        self.companions = companions
        self._meeting = meeting

    @classmethod
    def here(cls, task: Task, place: Place, output: Path) -> "Team":
        """Start the processes of a run on this machine, one for each device of the place.

        Raises
        ------
        OSError, EOFError
            If one of them cannot be started.
        """
        order = Order(task, place, output, dict(os.environ))
        if not place.others or isinstance(task.item, PoolPlan):  # to pool is no work for several
            return cls(Member(order))
        meeting = Path(tempfile.mkdtemp(prefix="magg_ranks_")) / "meeting"
        ranks = 1 + len(place.others)
        companions = Neighbours(
            [
                replace(order, place=replace(place, gpu=gpu), seat=Seat(rank, ranks, meeting))
                for rank, gpu in enumerate(place.others, 1)
            ]
        )
        try:
            return cls(Member(replace(order, seat=Seat(0, ranks, meeting))), companions, meeting)
        except (OSError, EOFError):
            companions.close()
            raise

    def close(self) -> int | None:
        """End what is left of all; return the exit code of the leader, or None if it had to be ended."""
        exit_code = self.leader.close()
        if self.companions is not None:
            self.companions.close()
        if self._meeting is not None:
            with suppress(OSError):
                self._meeting.unlink(missing_ok=True)
                self._meeting.parent.rmdir()
        return exit_code
