"""The services that other tests stand on do what those tests take for granted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import pytest

from tests import services
from tests.services import ExternalPostgres, Postgres


@contextlib.contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    connection = psycopg.connect(url, autocommit=True, connect_timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def test_a_killed_postgresql_starts_again_with_what_was_committed(own_postgres: Postgres) -> None:
    url = own_postgres.create_database("griffel_kept")
    with connected(url) as before:
        before.execute("CREATE TABLE kept (number integer)")
        before.execute("INSERT INTO kept VALUES (1)")
        own_postgres.kill()
        with pytest.raises(psycopg.OperationalError):
            before.execute("SELECT 1")
    own_postgres.start()
    with connected(url) as after:
        assert after.execute("SELECT number FROM kept").fetchall() == [(1,)]


def test_a_database_is_open_to_its_owner_alone(own_postgres: Postgres) -> None:
    events = own_postgres.create_database("griffel_events")
    own_postgres.create_database("griffel_keys")
    with connected(events) as connection:
        who = connection.execute("SELECT usename, usesuper FROM pg_user WHERE usename = current_user")
        assert who.fetchall() == [("griffel_events", False)]
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(events, dbname="griffel_keys")


def test_a_server_of_somebody_else_is_left_as_it_was_found(own_postgres: Postgres) -> None:
    with connected(own_postgres.admin_url) as admin:
        admin.execute("CREATE ROLE maker LOGIN CREATEDB CREATEROLE PASSWORD 'made up'")
        external = ExternalPostgres(f"postgresql://maker:made%20up@127.0.0.1:{own_postgres.port}")
        with connected(external.create_database("griffel_borrowed")) as borrowed:
            borrowed.execute("CREATE TABLE left_behind (number integer)")
        external.stop()
        left = "SELECT datname FROM pg_database WHERE datname LIKE 'griffel%' UNION SELECT rolname FROM pg_roles"
        assert "griffel_borrowed" not in {row[0] for row in admin.execute(left)}


def test_the_packaged_postgresql_serves_where_none_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = services.find_postgres_programs(installed=False)
    assert programs is not None
    monkeypatch.setattr(services, "find_postgres_programs", lambda: programs)
    server = Postgres(fsync=False)
    server.start()
    try:
        with connected(server.create_database("griffel_packaged")) as connection:
            assert connection.execute("SHOW fsync").fetchall() == [("off",)]
        assert server.version.startswith(str(programs.major))
    finally:
        server.stop()
    assert not server.folder.exists()
