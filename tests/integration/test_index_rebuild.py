"""The statement index built anew from the log: equal to what it was, whatever had become of it, while posts go on."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest

from tests.conformance.builders import agent, iri, new_id, reference, statement, voiding
from tests.conformance.client import Api
from tests.services import Griffel

NAME = "statement_index"
LATE_BATCHES = 30


def api_of(server: Griffel) -> Api:
    return Api(server.url, server.key, server.secret, "2.0.0")


def command(server: Griffel, *arguments: str) -> str:
    return server.command(*arguments, "--data", str(server.data_dir)).stdout


def dump(server: Griffel) -> list[str]:
    return command(server, "views", "dump", NAME).splitlines()


def listed(server: Griffel) -> dict[str, Any]:
    found = json.loads(command(server, "views", "list", "--rows", "--json"))
    [index] = [one for one in found if one["view"] == NAME]
    return dict(index)


@contextmanager
def log_of(server: Griffel) -> Iterator[Any]:
    if server.mode == "cluster":
        with psycopg.connect(server.database_url) as connection:
            yield connection
        return
    path = server.data_dir / "log" / "log.db"
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
        yield connection


def linked(activity: dict[str, Any]) -> list[dict[str, Any]]:
    """References before and after their targets, over two steps and in a circle; voidings before and after theirs."""
    first, second, late, early, one, other = (new_id() for _ in range(6))
    return [
        statement(id=second, object=reference(first)),
        statement(id=first, object=activity, actor=agent(), context={"instructor": agent()}),
        statement(object=reference(second)),
        voiding(late),
        statement(id=late, object=activity),
        statement(id=early, object=activity),
        voiding(early),
        statement(id=one, object=reference(other)),
        statement(id=other, object=reference(one)),
    ]


@pytest.fixture
def server(fresh_lrs: Griffel) -> Griffel:
    """A server that has recorded a little of everything that is linked, and a small term."""
    fresh_lrs.command(
        *("demo", "--to", fresh_lrs.url, "--key", fresh_lrs.key, "--secret", fresh_lrs.secret),
        *("--learners", "8", "--weeks", "2", "--quiet"),
    )
    return fresh_lrs


def test_a_damaged_index_that_is_built_anew_is_equal_to_the_one_before_the_damage(server: Griffel) -> None:
    activity = {"id": iri()}
    api = api_of(server)
    with api.session:
        for one in linked(activity):
            api.store(one)
    before = dump(server)
    tables = [json.loads(line)["table"] for line in before]
    assert {name: tables.count(name) > 1 for name in set(tables)} == dict.fromkeys(
        ("statement", "term", "person", "voiding"), True
    )
    rows = [json.loads(line) for line in before]
    assert any(row["key"]["source"] != row["key"]["position"] for row in rows if row["table"] == "term")
    old = listed(server)
    with log_of(server) as log:
        log.execute("DELETE FROM term")
        log.execute("DELETE FROM voiding")
        log.execute("DELETE FROM event_people")
        log.execute("DELETE FROM statement WHERE position % 3 = 0")
        log.execute("UPDATE statement SET voided = 1 - voided, target = NULL WHERE position % 3 = 1")
    assert dump(server) != before
    command(server, "views", "rebuild", NAME, "--quiet")
    assert dump(server) == before
    new = listed(server)
    assert (new["generation"], new["state"], new["lag_events"]) == (old["generation"] + 1, "serving", 0)
    assert sum(new["rows"].values()) == len(before)
    with api.session:
        found = api.get(activity=activity["id"]).json()["statements"]
        # Two of the three statements about it were voided; the four that refer to any of the three are found as well.
        assert len(found) == 5
    command(server, "views", "rebuild", NAME, "--quiet")
    assert dump(server) == before
    server.stop()
    server.start()
    assert dump(server) == before


def test_what_is_posted_meanwhile_is_in_the_new_index(server: Griffel) -> None:
    api = api_of(server)
    early, targets = [new_id() for _ in range(LATE_BATCHES)], [new_id() for _ in range(LATE_BATCHES)]
    with api.session:
        # What these refer to is posted while the index is built; so are those that refer to, and void, what is there.
        api.store(*[statement(object=reference(target)) for target in targets])
        api.store(*[statement(id=one) for one in early])
    begun = threading.Event()

    def post() -> None:
        mine = api_of(server)
        with mine.session:
            for target, one in zip(targets, early, strict=True):
                begun.set()
                mine.store(statement(id=target), statement(object=reference(one)))
                mine.store(voiding(one))

    posting = threading.Thread(target=post)
    posting.start()
    assert begun.wait(10)
    command(server, "views", "rebuild", NAME, "--quiet")
    posting.join(60)
    assert not posting.is_alive()
    mixed = dump(server)
    # Nobody posts now, so all of this one comes from the log.
    command(server, "views", "rebuild", NAME, "--quiet")
    assert dump(server) == mixed
    assert sum(json.loads(line)["content"].get("voided", False) for line in mixed) >= LATE_BATCHES
