"""How far a transfer is: a bar on a terminal, a plain line now and then elsewhere. Always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

PLAIN_LINE_S: Final = 5.0


@dataclass(slots=True)
class Tally:
    """What a transfer has done so far.

    Attributes:
        statements: how many were dealt with in this run, refused ones included.
        unit: what is counted.
        rejects: how many of them the endpoint refused, None where nothing can be refused.
        fraction: how much of the whole that is, between 0 and 1; None where the whole is not known.
    """

    statements: int = 0
    rejects: int | None = None
    fraction: float | None = None
    unit: str = "statements"

    def sentence(self, elapsed_s: float) -> str:
        """Say it in one line."""
        told = f"{self.statements:,} {self.unit}, {self.statements / max(elapsed_s, 1e-9):,.0f}/s"
        if self.rejects is not None:
            told += f", {self.rejects:,} rejected"
        if self.fraction is not None:
            told += f", {self.fraction:.0%}"
            if 0 < self.fraction < 1:
                told += f", {clock_time(elapsed_s * (1 - self.fraction) / self.fraction)} to go"
        return told


class TransferProgress:
    """Shows a tally while it grows; a context manager.

    Args:
        verb: what is being done: "import".
        tally: looked at whenever `update` is called.
        quiet: show nothing at all.
        stream: where to; standard error unless told.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        verb: str,
        tally: Tally,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verb = verb
        self._tally = tally
        self._quiet = quiet
        self._stream = stream or sys.stderr
        self._clock = clock
        self._started_s = self._told_s = clock()
        self._bar: Progress | None = None
        self._task = None if quiet or not self._stream.isatty() else self._open_bar()

    def _open_bar(self) -> TaskID:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=Console(file=self._stream),
            transient=True,
        )
        return self._bar.add_task(self._verb, total=None, told="")

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started_s

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if not self._quiet:
            print(f"{self._verb}: {self._tally.sentence(self.elapsed_s)}", file=self._stream)

    def update(self) -> None:
        """Show how the tally stands now."""
        if self._bar is not None and self._task is not None:
            fraction = self._tally.fraction
            rate = self._tally.statements / max(self.elapsed_s, 1e-9)
            told = f"{self._tally.statements:,} {self._tally.unit} · {rate:,.0f}/s"
            if self._tally.rejects is not None:
                told += f" · {self._tally.rejects:,} rejected"
            total = None if fraction is None else 1.0
            self._bar.update(self._task, total=total, completed=fraction or 0.0, told=told)
        elif not self._quiet and self._clock() - self._told_s >= PLAIN_LINE_S:
            self._told_s = self._clock()
            print(f"{self._verb}: {self._tally.sentence(self.elapsed_s)}", file=self._stream, flush=True)


def clock_time(seconds: float) -> str:
    """Write a length of time as a clock does: 1:05, 2:00:07."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
