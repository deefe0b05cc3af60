"""The implementations that each contract is tested over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lrs.log_reader import LogReader
from lrs.vault_store import PostgresVault, SQLiteVault, VaultStore

from .log_places import LISTS, LogPlace, Recorder, Settling

KINDS = ("sqlite", "postgres")


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> LogPlace:
    """An empty log on each database."""
    if request.param == "sqlite":
        return LogPlace("sqlite", str(tmp_path / "log" / "log.db"))
    make: Callable[[], str] = request.getfixturevalue("postgres_url")
    return LogPlace("postgres", make())


@pytest.fixture
def recorder(request: pytest.FixtureRequest, place: LogPlace) -> Iterator[Recorder]:
    """A recorder of the log; `lists_now_or_later` says when it writes into the posting lists."""
    recorder = place.recorder()
    yield Settling(recorder) if getattr(request, "param", LISTS[0]) == LISTS[1] else recorder
    recorder.datastore.close()  # type: ignore[attr-defined]


@pytest.fixture
def reader(place: LogPlace, recorder: Recorder) -> Iterator[LogReader]:
    reader = place.reader()
    yield reader
    reader.close()


@pytest.fixture(params=KINDS)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], VaultStore]:
    """Opens the tables of one vault, as often as asked, on each database."""
    if request.param == "sqlite":
        return lambda: SQLiteVault(tmp_path / "vault" / "vault.db")
    make: Callable[[], str] = request.getfixturevalue("postgres_url")
    url = make()
    return lambda: PostgresVault(url)
