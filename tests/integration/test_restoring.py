"""The log restored from a copy of its events: the same positions, times, bytes and index as it had."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lrs.config import Mode, Settings
from lrs.errors import Damaged
from lrs.event_log import EventLog
from lrs.places import event_log, open_vault
from lrs.restoring import RESTORED_AT_ONCE, LogRestorer
from tests.conformance.builders import agent, group, iri, new_id, reference, statement, voiding
from tests.conformance.client import Api, Json
from tests.contracts.log_places import LogPlace
from tests.services import Griffel

READ_EVENTS = 700
TERM_BYTES = 8
PSEUDONYM_BYTES = 16


@dataclass
class Copy:
    """A stopped server's log, and a new, empty one beside it."""

    settings: Settings
    empty: Settings


@pytest.fixture
def copy(fresh_lrs: Griffel, tmp_path: Path, request: pytest.FixtureRequest) -> Copy:
    """What a server has recorded: a few of everything that is linked, then a small school term."""
    api = Api(fresh_lrs.url, fresh_lrs.key, fresh_lrs.secret, "2.0.0")
    with api.session:
        for one in linked_statements():
            api.store(one)
    fresh_lrs.command(
        *("demo", "--to", fresh_lrs.url, "--key", fresh_lrs.key, "--secret", fresh_lrs.secret),
        *("--learners", "12", "--weeks", "3", "--json"),
    )
    fresh_lrs.stop()
    settings = Settings(
        mode=Mode(fresh_lrs.mode),
        data=fresh_lrs.data_dir,
        database_url=fresh_lrs.database_url,
        keys_url=fresh_lrs.keys_url,
        keys_dir=Path(fresh_lrs.environment["GRIFFEL_KEYS_DIR"]) if fresh_lrs.mode == "cluster" else None,
    )
    if fresh_lrs.mode == "embedded":
        return Copy(settings, Settings(data=tmp_path / "restored"))
    make_database: Callable[[], str] = request.getfixturevalue("postgres_url")
    return Copy(settings, Settings(mode=Mode.CLUSTER, database_url=make_database()))


def linked_statements() -> list[Json]:
    """References before and after their targets and over two steps, voidings before and after theirs, groups."""
    first, second, third, late, early = (new_id() for _ in range(5))
    activity = {"id": iri()}
    return [
        statement(id=second, object=reference(first)),
        statement(id=first, object=activity, actor=agent(), context={"instructor": agent()}),
        statement(id=third, object=reference(second), actor=group(agent(), agent())),
        voiding(late),
        statement(id=late, object=activity),
        statement(id=early, object=activity),
        voiding(early),
        statement(object=reference(early)),
    ]


@asynccontextmanager
async def running(log: EventLog) -> AsyncIterator[EventLog]:
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


def place(settings: Settings) -> LogPlace:
    if settings.mode is Mode.EMBEDDED:
        return LogPlace("sqlite", str(settings.data / "log" / "log.db"))
    return LogPlace("postgres", settings.database_url)


def tables(settings: Settings) -> dict[str, Any]:
    """Everything in a log's tables but documents, which are not events; lists whose order means nothing as sets."""
    sql = place(settings).sql
    return {
        "events": sql(
            "SELECT position, originator_id, originator_version, topic, record_key, stored_us, state FROM events "
            "ORDER BY position"
        ),
        "statements": [
            (at, pieces(terms, TERM_BYTES), pieces(people, PSEUDONYM_BYTES), target, voids, voided)
            for at, terms, people, target, voids, voided in sql(
                "SELECT position, terms, people, target, voids, voided FROM statement ORDER BY position"
            )
        ],
        "inherited terms": set(sql("SELECT term, position, source FROM term WHERE source <> position")),
        "voidings": set(sql("SELECT target, position FROM voiding")),
        "blobs": set(sql("SELECT blob_id, position FROM blob")),
        "head": sql("SELECT position FROM log_head"),
    }


def pieces(packed: bytes, size: int) -> frozenset[bytes]:
    return frozenset(packed[at : at + size] for at in range(0, len(packed), size))


async def test_a_restored_log_equals_the_one_that_was_copied(copy: Copy) -> None:
    (copy.empty.data / "log").mkdir(parents=True, exist_ok=True)
    async with (
        open_vault(copy.settings) as vault,
        running(event_log(copy.settings)) as source,
        running(event_log(copy.empty)) as restored,
    ):
        restorer = LogRestorer(restored, vault)
        after = 0
        while events := await source.read(after, READ_EVENTS):
            await restorer.restore(events)
            after = events[-1].position
        assert after > 2 * RESTORED_AT_ONCE, "too few events to tell anything"
        assert await restored.read(after, 1) == []
    was, came_out = tables(copy.settings), tables(copy.empty)
    assert was["inherited terms"]
    assert was["voidings"]
    assert any(row[5] for row in was["statements"])
    for name, rows in was.items():
        assert came_out[name] == rows, name


async def test_a_copy_that_does_not_follow_the_log_is_refused_and_nothing_is_written(copy: Copy) -> None:
    async with (
        open_vault(copy.settings) as vault,
        running(event_log(copy.settings)) as source,
        running(event_log(copy.empty)) as restored,
    ):
        restorer = LogRestorer(restored, vault)
        events = await source.read(0, 10)
        for wrong in (events[1:], [*events[:3], *events[4:]]):
            with pytest.raises(Damaged):
                await restorer.restore(wrong)
        assert await restored.read(0, 1) == []
        await restorer.restore(events[:4])
        with pytest.raises(Damaged):
            await restorer.restore(events[:4])
        await restorer.restore(events[4:])
        assert [one.position for one in await restored.read(0, 20)] == list(range(1, 11))
