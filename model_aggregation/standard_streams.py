"""Standard input and output that are closed, or whose reader ends before the command does: the runs go on."""

import io
import os
import sys
from contextlib import suppress

_STREAMS = (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w"))


def open_standard_streams() -> None:
    """Open what of the three streams is closed on nothing.

    Otherwise the next files and pipes get their numbers, and what is printed lands in those.
    """
    for name, number, mode in _STREAMS:
        try:
            os.fstat(number)
        except OSError:
            _open_on_nothing(number)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115  (until the end)


def outlast_readers() -> None:
    """Let this process go on when nobody takes any more what it prints, as with ``| head`` or on a full disk."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper and stream is getattr(sys, f"__{name}__"):  # nobody has put another there
            setattr(sys, name, LastingOutput.of(stream))


class LastingOutput(io.TextIOWrapper):
    """Text output that goes nowhere once it cannot be written."""

    _replaced: io.TextIOWrapper | None = None

    @classmethod
    def of(cls, stream: io.TextIOWrapper) -> "LastingOutput":
        """Return a stream in the place of another."""
        made = cls(
            stream.buffer,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        made._replaced = stream  # it would close the buffer at its end
        return made

    def write(self, text: str) -> int:
        """Write text, if somebody takes it."""
        try:
            return super().write(text)
        except OSError as error:
            self._end(error)
            return len(text)

    def flush(self) -> None:
        """Hand on what is held back, if somebody takes it."""
        try:
            super().flush()
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> None:
        _open_on_nothing(self.fileno())
        if not isinstance(error, BrokenPipeError) and self is not sys.stderr:
            with suppress(OSError):
                print(f"The output cannot be written any more: {error.strerror}.", file=sys.stderr)  # noqa: T201


def _open_on_nothing(number: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    os.set_inheritable(number, True)
