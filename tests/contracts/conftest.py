"""The implementations that each contract is tested over."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from lrs.log_reader import LogReader
from lrs.postgres_vault import PostgresVault
from lrs.vault_store import SQLiteVault, VaultStore
from tests.services import PostgresDatabases

from .log_places import LISTS, LogPlace, Recorder, Settling

KINDS = ("sqlite", "postgres")


@pytest.fixture(scope="package")
def database(postgres: PostgresDatabases) -> Iterator[str]:
    """One database for all contracts: making one for each test would take most of their time."""
    name = f"griffel_test_{secrets.token_hex(6)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture
def empty_database(database: str) -> str:
    """That database as if it were new: no tables, and nobody of an earlier test connected to it."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
        )
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return database


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> LogPlace:
    """An empty log on each database."""
    if request.param == "sqlite":
        return LogPlace("sqlite", str(tmp_path / "log" / "log.db"))
    return LogPlace("postgres", request.getfixturevalue("empty_database"))


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
    url: str = request.getfixturevalue("empty_database")
    return lambda: PostgresVault(url)
