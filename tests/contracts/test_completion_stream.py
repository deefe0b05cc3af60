"""The completion stream: each change of who has completed what is in it once, in order, whatever dies or begins anew.

Everything is made of the real parts, on each database; consumers read the log itself.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema_rs
import psycopg
import pytest

from consumers.completion_stream import NAME, CompletionStream
from consumers.consumer import LogFeed
from lrs.config import Mode, Settings
from lrs.http.app import Services
from lrs.keys import KeyState
from lrs.views import PROJECTIONS
from lrs.wiring import open_services
from schemas.envelope import Purpose
from schemas.errors import InvalidInput
from schemas.events import COMPLETION_CHANGED, COMPLETION_SEQUENCED
from schemas.person_states import PersonState
from schemas.statement import check_statement
from tests.conformance.builders import new_id

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
VALID = jsonschema_rs.validator_for(json.loads((ROOT / "schemas/completion-stream.schema.json").read_text()))
BOUND_S = 30.0
COURSE = "https://school.example/courses/botany"
COURSE_TYPE = "http://adlnet.gov/expapi/activities/course"
CMI5_COURSE_TYPE = "https://w3id.org/xapi/cmi5/activitytype/course"
VERBS = {
    "completed": "http://adlnet.gov/expapi/verbs/completed",
    "satisfied": "https://w3id.org/xapi/adl/verbs/satisfied",
    "experienced": "http://adlnet.gov/expapi/verbs/experienced",
}
AT = "2026-11-02T10:15:30.250Z"
LATER = "2026-11-03T10:15:30.250Z"
AUTHORITY = {"objectType": "Agent", "account": {"homePage": "https://school.example", "name": "platform"}}

Open = Callable[[], AbstractAsyncContextManager[Services]]


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """An installation that is still empty."""
    if request.param == "sqlite":
        return Settings(data=tmp_path / "data")
    make: Callable[[], str] = request.getfixturevalue("postgres_url")
    return Settings(mode=Mode.CLUSTER, data=tmp_path, database_url=make(), keys_url=make(), keys_dir=tmp_path / "keys")


@asynccontextmanager
async def opened(settings: Settings, *, following: bool = True) -> AsyncIterator[Services]:
    async with open_services(settings) as services:
        if services.guard is not None:
            await asyncio.wait_for(services.guard.opened.wait(), BOUND_S)
        if following:
            services.views.follow_log()
        yield services


def about(name: str, verb: str = "completed", *, registration: str | None = None, **more: Any) -> Json:
    made: Json = {
        "id": new_id(),
        "actor": {"account": {"homePage": "https://school.example", "name": name}},
        "verb": {"id": VERBS[verb]},
        "object": {"id": COURSE, "definition": {"type": COURSE_TYPE}},
        "timestamp": AT,
    }
    if registration is not None:
        made["context"] = {"registration": registration}
    return made | more


def voiding(target: Json) -> Json:
    return {
        "actor": AUTHORITY,
        "verb": {"id": "http://adlnet.gov/expapi/verbs/voided"},
        "object": {"objectType": "StatementRef", "id": target["id"]},
    }


async def record(services: Services, *statements: Json) -> None:
    checked = json.loads(json.dumps(statements))
    for one in checked:
        check_statement(one, "2.0.0", "")
    await services.recorder.record_statements(checked, AUTHORITY, "2.0.0")


async def caught_up(services: Services) -> None:
    """Wait until view and sequencer have met everything in the log, what the sequencer itself appended too."""

    async def is_so() -> bool:
        positions = [
            place.position
            for one in services.views.store.generations()
            for place in services.views.store.places(one).values()
        ]
        head = (await services.log.head()).position
        return len(positions) == len(PROJECTIONS) + 1 and min(positions) == head

    await until(is_so)


async def until(fact: Callable[[], Awaitable[bool]]) -> None:
    ends = time.monotonic() + BOUND_S
    while not await fact():
        assert time.monotonic() < ends, "it did not come to that"
        await asyncio.sleep(0.02)


async def entries(services: Services) -> list[Json]:
    """Everything in the stream, as its schema asks, with every number once."""
    found: list[Json] = []
    while page := await services.views.completions.read(len(found), 3):
        found += page
    for one in found:
        VALID.validate(one)
    assert [int(one["sequence"]) for one in found] == list(range(1, len(found) + 1))
    assert len({one["id"] for one in found}) == len(found)
    return found


def kinds(found: list[Json]) -> list[str]:
    return [one["type"].removeprefix("griffel.") for one in found]


async def test_a_completion_is_in_the_stream_once(settings: Settings) -> None:
    registration = new_id()
    async with opened(settings) as services:
        await record(services, about("ada", "experienced"), about("ada", registration=registration))
        await record(services, about("ada", registration=registration, timestamp=LATER))
        await caught_up(services)
        [entry] = await entries(services)
        [course] = await services.views.courses.courses()
        assert entry["type"] == "griffel.course.completed"
        assert entry["subject"] == course.id
        assert entry["data"] == {
            "actor": {
                "objectType": "Agent",
                "account": {"homePage": "https://school.example", "name": "ada"},
            },
            "course": COURSE,
            "registration": registration,
            "completed_at": AT,
        }


async def test_each_registration_has_a_completion_of_its_own(settings: Settings) -> None:
    async with opened(settings) as services:
        both = [new_id(), new_id()]
        await record(services, *[about("ada", registration=one) for one in both], about("ada"), about("ben"))
        await caught_up(services)
        found = [
            (one["data"]["actor"]["account"]["name"], one["data"]["registration"]) for one in await entries(services)
        ]
        assert sorted(found, key=str) == sorted(
            [("ada", both[0]), ("ada", both[1]), ("ada", None), ("ben", None)], key=str
        )


async def test_a_voided_completion_is_taken_back_and_may_come_again(settings: Settings) -> None:
    async with opened(settings) as services:
        first = about("ada")
        await record(services, first)
        await caught_up(services)
        await record(services, voiding(first))
        await caught_up(services)
        await record(services, about("ada", timestamp=LATER))
        await caught_up(services)
        found = await entries(services)
        assert kinds(found) == ["course.completed", "course.completed.revoked", "course.completed"]
        assert [one["data"]["completed_at"] for one in found] == [AT, None, LATER]


async def test_voiding_one_of_two_completions_changes_nothing(settings: Settings) -> None:
    async with opened(settings) as services:
        first = about("ada")
        await record(services, first, about("ada", timestamp=LATER))
        await caught_up(services)
        await record(services, voiding(first))
        await caught_up(services)
        assert kinds(await entries(services)) == ["course.completed"]


async def test_satisfied_is_passed_on_as_the_platform_sent_it(settings: Settings) -> None:
    cmi5 = {"id": COURSE, "definition": {"type": CMI5_COURSE_TYPE}}
    async with opened(settings) as services:
        await record(services, about("ada", "satisfied", object=cmi5, registration=new_id()))
        await caught_up(services)
        assert kinds(await entries(services)) == ["course.satisfied"]


async def test_two_sequencers_at_once_never_double(settings: Settings) -> None:
    async with opened(settings) as services:
        for _ in range(2):
            services.views.sequencer().start(0, LogFeed(services.log))
        people = [f"learner {number}" for number in range(60)]
        for start in range(0, len(people), 10):
            await record(services, *[about(one) for one in people[start : start + 10]])
        await caught_up(services)
        found = [one["data"]["actor"]["account"]["name"] for one in await entries(services)]
        assert sorted(found) == sorted(people)


async def test_whoever_begins_anew_adds_nothing(settings: Settings) -> None:
    voided = [about("ada"), about("ben")]
    async with opened(settings) as services:
        await record(services, *voided)
        await caught_up(services)
        await record(services, *[voiding(one) for one in voided])
        await caught_up(services)
        before = await entries(services)
        assert kinds(before) == ["course.completed"] * 2 + ["course.completed.revoked"] * 2
    forget_views(settings)
    async with opened(settings) as services:
        await caught_up(services)
        assert await entries(services) == before


async def test_a_sequencer_that_dies_after_appending_appends_nothing_twice(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, following=False) as services:
        await record(services, about("ada"))
        views = services.views
        sequencer = views.sequencer()
        died = asyncio.Event()

        def dies(*_: object) -> None:
            loop.call_soon_threadsafe(died.set)
            raise RuntimeError("as if it were killed here")

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(sequencer, "_advance", dies)
        for projection in PROJECTIONS:
            views.consumer(projection).start(0, LogFeed(services.log))
        sequencer.start(0, LogFeed(services.log))
        await asyncio.wait_for(died.wait(), BOUND_S)
        await sequencer.close()
        assert await views.completions.newest() == 1
        assert views.store.places(views.store.target(CompletionStream())) == {}
        views.sequencer().start(0, LogFeed(services.log))
        await caught_up(services)
        assert kinds(await entries(services)) == ["course.completed"]


async def test_a_sequencer_waits_for_the_view(settings: Settings) -> None:
    async with opened(settings, following=False) as services:
        await record(services, about("ada"))
        views = services.views
        views.sequencer().start(0, LogFeed(services.log))
        assert await views.completions.newest() == 0
        for projection in PROJECTIONS:
            views.consumer(projection).start(0, LogFeed(services.log))
        await caught_up(services)
        assert kinds(await entries(services)) == ["course.completed"]


async def test_a_cursor_is_good_after_a_restart(settings: Settings) -> None:
    async with opened(settings) as services:
        await record(services, about("ada"))
        await caught_up(services)
        [first] = await entries(services)
    async with opened(settings) as services:
        await record(services, about("ben"))
        await caught_up(services)
        assert (await entries(services))[0] == first
        [second] = await services.views.completions.read(1, 10)
        assert second["data"]["actor"]["account"]["name"] == "ben"


async def test_a_number_beyond_the_end_is_refused(settings: Settings) -> None:
    async with opened(settings) as services:
        assert await services.views.completions.read(0, 10) == []
        with pytest.raises(InvalidInput):
            await services.views.completions.read(1, 10)


async def test_a_wait_ends_with_the_next_entry(settings: Settings) -> None:
    async with opened(settings) as services:
        assert not await services.views.completions.wait(0, 0.01)
        waiting = asyncio.ensure_future(services.views.completions.wait(0, BOUND_S))
        await record(services, about("ada"))
        assert await waiting


@pytest.mark.parametrize(
    ("state", "purpose"),
    [
        (PersonState.FENCED, 0),
        (PersonState.ERASED, 0),
        (PersonState.RESTRICTED, 0),
        (PersonState.WITHDRAWN, int(Purpose.LEARNING)),
    ],
)
async def test_what_may_not_be_told_is_a_numbered_empty_entry(
    settings: Settings, state: PersonState, purpose: int
) -> None:
    async with opened(settings) as services:
        await record(services, about("ada"), about("ben"))
        await caught_up(services)
        await write_state(settings, services, "ada", state, purpose)
        found = await entries(services)
        assert sorted(kinds(found)) == ["course.completed", "entry.empty"]
        [empty] = [one for one in found if one["type"] == "griffel.entry.empty"]
        assert "ada" not in json.dumps(empty)


async def test_an_erased_learners_entry_is_empty_for_good(settings: Settings) -> None:
    async with opened(settings) as services:
        await record(services, about("ada"))
        await caught_up(services)
        owner = await pseudonym(services, "ada")
        text = "UPDATE key SET state = ?, wrapped = NULL WHERE owner = ?"
        await services.vault.with_store(
            lambda store: run(settings, "keys_url", "vault/vault.db", text, [KeyState.DESTROYED, owner])
        )
        services.vault.drop()
        assert kinds(await entries(services)) == ["entry.empty"]


async def test_what_may_not_be_kept_is_left_out(settings: Settings) -> None:
    async with opened(settings, following=False) as services:
        await record(services, about("ada"), about("ben"))
        await write_state(settings, services, "ada", PersonState.WITHDRAWN, int(Purpose.LEARNING))
        services.views.follow_log()
        await caught_up(services)
        [entry] = await entries(services)
        assert entry["data"]["actor"]["account"]["name"] == "ben"
        assert services.views.completions.left_out == 1


async def test_a_restricted_learners_completion_is_kept_for_later(settings: Settings) -> None:
    async with opened(settings, following=False) as services:
        await record(services, about("ada"))
        await write_state(settings, services, "ada", PersonState.RESTRICTED, 0)
        services.views.follow_log()
        await caught_up(services)
        assert kinds(await entries(services)) == ["entry.empty"]


async def test_nothing_personal_stands_in_the_log_in_plain_form(settings: Settings) -> None:
    async with opened(settings) as services:
        await record(services, about("a-name-nobody-else-has"))
        await caught_up(services)
        events = await services.log.read(0, 100)
        ours = [one for one in events if one.topic in (COMPLETION_CHANGED, COMPLETION_SEQUENCED)]
        assert len(ours) == 2
        for one in ours:
            assert b"a-name-nobody-else-has" not in one.state
            assert b"botany" not in one.state


async def test_what_is_applied_late_is_told_late(settings: Settings) -> None:
    """A statement that could be opened by nobody, until it was mended, and was then redriven."""
    async with opened(settings, following=False) as services:
        await record(services, about("ada"), about("ben"))
        await damage(settings, "ada", services)
        services.views.follow_log()
        await caught_up(services)
        letters = await asyncio.to_thread(services.views.store.dead_letters)
        assert sorted(one.name for one in letters) == sorted([NAME, *(one.name for one in PROJECTIONS)])
        assert len({one.position for one in letters}) == 1
        assert [one["data"]["actor"]["account"]["name"] for one in await entries(services)] == ["ben"]
        by_name = {one.name: one for one in letters}
        [told] = await services.views.redrive([by_name[NAME].number])
        assert told["error"] == "ViewFirst", "what follows from a view comes after the view"
        await asyncio.to_thread(mend, settings, services.views.store, letters)
        assert {one["error"] for one in await services.views.redrive([])} == {""}
        await caught_up(services)
        assert await asyncio.to_thread(services.views.store.dead_letters) == []
        assert [one["data"]["actor"]["account"]["name"] for one in await entries(services)] == ["ben", "ada"]


async def test_a_letter_of_the_view_alone_wakes_the_stream_too(settings: Settings) -> None:
    async with opened(settings, following=False) as services:
        await record(services, about("ada"))
        await damage(settings, "ada", services)
        services.views.follow_log()
        await caught_up(services)
        letters = await asyncio.to_thread(services.views.store.dead_letters)
        await asyncio.to_thread(mend, settings, services.views.store, letters)
        [number] = [one.number for one in letters if one.name == "progress"]
        assert await services.views.redrive([number]) == [{"number": number, "error": ""}]
        assert kinds(await entries(services)) == ["course.completed"]
        left = {one.name for one in await asyncio.to_thread(services.views.store.dead_letters)}
        assert left == set()


# ── looking inside ────────────────────────────────────────────────────────────────────────────────────────────────────


async def pseudonym(services: Services, name: str) -> bytes:
    owner = await services.vault.find_pseudonym(f"account\0https://school.example\0{name}")
    assert owner is not None
    return owner


async def write_state(settings: Settings, services: Services, name: str, state: PersonState, purpose: int) -> None:
    owner = await pseudonym(services, name)
    text = "INSERT INTO person_state (pseudonym, purpose, state) VALUES (?, ?, ?)"
    await asyncio.to_thread(run, settings, "database_url", "log/log.db", text, [owner, purpose, int(state)])


def run(settings: Settings, url: str, file: str, text: str, parameters: list[Any]) -> None:
    if settings.mode is Mode.EMBEDDED:
        with sqlite3.connect(settings.data / file, timeout=BOUND_S) as connection:
            connection.execute(text, parameters)
        return
    with psycopg.connect(getattr(settings, url)) as other:
        other.execute(text.replace("?", "%s"), parameters)


async def damage(settings: Settings, name: str, services: Services) -> None:
    """Turn the last bit of the body of the one statement of a learner, in the log."""
    await asyncio.to_thread(turn, settings, "database_url", "log/log.db", "events", await pseudonym(services, name))


def mend(settings: Settings, store: Any, letters: list[Any]) -> None:
    """Turn it again, in the log and in what was kept of it."""
    table = "views.dead_letter" if settings.mode is Mode.CLUSTER else "dead_letter"
    learner = letters[0].record_key
    turn(settings, "database_url", "log/log.db", "events", learner)
    turn(settings, "database_url", "views/views.db", table, learner)
    assert {one.record_key for one in store.dead_letters()} == {learner}


def turn(settings: Settings, url: str, file: str, table: str, learner: bytes) -> None:
    find = f"SELECT DISTINCT state FROM {table} WHERE record_key = ? AND topic = 'statement_recorded'"
    change = f"UPDATE {table} SET state = ? WHERE state = ?"
    if settings.mode is Mode.EMBEDDED:
        with sqlite3.connect(settings.data / file, timeout=BOUND_S) as connection:
            [(state,)] = connection.execute(find, [learner]).fetchall()
            connection.execute(change, [turned(state), state])
        return
    with psycopg.connect(getattr(settings, url)) as other:
        [(state,)] = other.execute(find.replace("?", "%s"), [learner]).fetchall()
        other.execute(change.replace("?", "%s"), [turned(state), state])


def turned(state: bytes) -> bytes:
    """The record with the last bit of its first part turned: the body."""
    [end] = struct.unpack_from(">I", state)
    at = 4 + end - 1
    return bytes(state[:at]) + bytes([state[at] ^ 1]) + bytes(state[at + 1 :])


def forget_views(settings: Settings) -> None:
    """Take every view away, as if it were lost."""
    if settings.mode is Mode.EMBEDDED:
        for file in (settings.data / "views").iterdir():
            file.unlink()
        return
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("DROP SCHEMA views CASCADE")


def test_the_place_of_the_sequencer_has_a_name_of_its_own() -> None:
    assert CompletionStream().name == NAME
    assert NAME not in {one.name for one in PROJECTIONS}
