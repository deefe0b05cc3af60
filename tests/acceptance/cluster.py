"""A cluster for tests: commands that run beside its servers, and waiting for its views."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.acceptance.truth import views_of
from tests.services import Griffel

SETTLE_BOUND_S = 120
STOP_BOUND_S = 30
POLL_S = 0.3
PARTITIONS = 4


@contextmanager
def command(server: Griffel, *arguments: str, ended: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """`griffel ARGUMENTS` for as long as the block lasts; it has to end well at SIGTERM (or as it is said to)."""
    with (server.folder / "commands.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lrs", *arguments],
            cwd=server.folder,
            env=server.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            status = process.wait(STOP_BOUND_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert status == ended, (server.folder / "commands.log").read_text()[-3000:]


def await_view(server: Griffel) -> None:
    """Return when the view has come to rest where the relay is."""
    ends = time.monotonic() + SETTLE_BOUND_S
    through: set[int] = set()
    while time.monotonic() < ends:
        places = [place for view in views_of(server) for place in view["partitions"].values()]
        with psycopg.connect(server.database_url) as connection:
            [(head,)] = connection.execute("SELECT position FROM log_head").fetchall()
        through = {place["through_position"] for place in places}
        if len(places) == PARTITIONS and min(through) >= head:
            return
        time.sleep(POLL_S)
    pytest.fail(
        f"the view does not catch up: {sorted(through)}\n" + (server.folder / "commands.log").read_text()[-3000:]
    )
