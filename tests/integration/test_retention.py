"""What is past its term is forgotten, and nothing else: T-RET-1, with the clock moved on."""

from __future__ import annotations

import datetime
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.person_states import PersonState, changes_in, everybody_of
from tests.conformance.builders import agent, attachment, iri, new_id, statement
from tests.conformance.client import Api, multipart, must
from tests.databases import Databases
from tests.integration.privacy_desk import BOUND_S, identity_of, place
from tests.services import Griffel

PAPER = b"What somebody wrote long ago"
LATER, MUCH_LATER = 2033, 2039
IN_THE_FUTURE = """
import asyncio, datetime, json, os, signal, sys
from lrs.config import Mode, Settings
from lrs.recording import StatementRecorder
from lrs.wiring import open_services
from pathlib import Path

async def main():
    what, year, told = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    now = lambda: datetime.datetime(year, 6, 1, tzinfo=datetime.UTC)
    given = {name: os.environ["GRIFFEL_" + name.upper()] for name in ("database_url", "keys_url")
             if os.environ.get("GRIFFEL_" + name.upper())}
    if "GRIFFEL_KEYS_DIR" in os.environ:
        given["keys_dir"] = Path(os.environ["GRIFFEL_KEYS_DIR"])
    settings = Settings(mode=Mode(os.environ.get("GRIFFEL_MODE", "embedded")), data=Path(sys.argv[4]), **given)
    async with open_services(settings) as services:
        if services.guard is not None:
            await services.guard.opened.wait()
        services.retention.now = now
        if what == "record":
            recorder = StatementRecorder(services.log, services.vault, services.catalogue, now=now)
            authority = {"account": {"homePage": "https://school.example", "name": "lms"}, "objectType": "Agent"}
            print(json.dumps(await recorder.record_statements(told, authority, "2.0.0")))
        elif what == "due":
            print(json.dumps(await services.retention.told_due({})))
        else:
            def tell(step):
                if step == told:
                    os.kill(os.getpid(), signal.SIGKILL)
            print(json.dumps(await services.retention.expire(tell)))

asyncio.run(main())
"""


@pytest.fixture
def api(fresh_lrs: Griffel) -> Iterator[Api]:
    api = Api(fresh_lrs.url, fresh_lrs.key, fresh_lrs.secret, "2.0.0")
    with api.session:
        yield api


def in_the_future(server: Griffel, what: str, year: int, told: Any = None) -> subprocess.CompletedProcess[bytes]:
    """Do something in a year to come, beside no server."""
    return subprocess.run(
        [sys.executable, "-c", IN_THE_FUTURE, what, str(year), json.dumps(told), str(server.data_dir)],
        env=server.environment,
        check=False,
        timeout=BOUND_S,
        capture_output=True,
    )


def answered(done: subprocess.CompletedProcess[bytes]) -> Any:
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


class Past:
    """Two learners of this year, one of whom goes on for many."""

    def __init__(self, api: Api) -> None:
        self.gone, self.staying = agent(name="Somebody"), agent(name="Somebody else")
        self.course, self.portfolio = iri(), {"id": iri(), "definition": {"name": {"en": "Somebody's own"}}}
        self.old, self.attached, self.early, self.new = (new_id() for _ in range(4))
        kept = attachment(PAPER)
        api.store(
            statement(id=self.old, actor=self.gone, object=self.portfolio),
            statement(id=self.early, actor=self.staying, object={"id": self.course}),
        )
        sent = json.dumps(statement(id=self.attached, actor=self.gone, attachments=[kept])).encode()
        binary = {
            "Content-Type": "application/octet-stream",
            "Content-Transfer-Encoding": "binary",
            "X-Experience-API-Hash": kept["sha2"],
        }
        mixed = {"Content-Type": "multipart/mixed; boundary=griffel-part"}
        parts = multipart([({"Content-Type": "application/json"}, sent), (binary, PAPER)])
        must(200, api.call("POST", "statements", data=parts, headers=mixed))
        self.state = {"activityId": self.course, "agent": identity_of(self.gone), "stateId": "bookmark"}
        must(204, api.call("PUT", "activities/state", self.state, data=b"chapter 7"))

    def later(self) -> list[dict[str, Any]]:
        """What the one who stays does years later."""
        return [statement(id=self.new, actor=self.staying, object={"id": self.course, "objectType": "Activity"})]


@pytest.mark.parametrize("killed_after", [None, "statements"])
def test_what_is_past_its_term_is_forgotten_and_nothing_else(
    api: Api, fresh_lrs: Griffel, killed_after: str | None
) -> None:
    past = Past(api)
    year = datetime.datetime.now(datetime.UTC).year
    assert json.loads(fresh_lrs.command("retention", *place(fresh_lrs), "--json").stdout) == []
    fresh_lrs.stop()
    assert answered(in_the_future(fresh_lrs, "record", LATER, past.later())) == [past.new]
    assert answered(in_the_future(fresh_lrs, "due", LATER - 1)) == []
    due = answered(in_the_future(fresh_lrs, "due", MUCH_LATER))
    assert [(one["purpose"], one["year"]) for one in due] == [("learning", year)]
    assert due[0]["keys"] == due[0]["learners"] >= 2
    if killed_after is not None:
        assert in_the_future(fresh_lrs, "expire", MUCH_LATER, killed_after).returncode == -signal.SIGKILL
    (expired,) = answered(in_the_future(fresh_lrs, "expire", MUCH_LATER))
    assert (expired["purpose"], expired["year"]) == ("learning", year)
    if killed_after is None:
        assert (expired["statements"], expired["documents"]) == (3, 1)
    assert answered(in_the_future(fresh_lrs, "due", MUCH_LATER)) == []
    assert answered(in_the_future(fresh_lrs, "expire", MUCH_LATER)) == []
    tables = Databases(fresh_lrs)
    assert tables.vault("SELECT count(*) FROM key WHERE year = ? AND purpose = 1 AND state = 1", year) == [(0,)]
    assert tables.vault("SELECT count(*) FROM key WHERE state = 2 AND wrapped IS NOT NULL") == [(0,)]
    assert tables.log("SELECT count(*) FROM blob") == [(0,)]
    told = tables.log("SELECT state FROM events WHERE topic = 'retention_expired' ORDER BY position")
    assert [change for (state,) in told for change in changes_in(bytes(state))] == [
        (everybody_of(year), 1, PersonState.EXPIRING),
        (everybody_of(year), 1, PersonState.EXPIRED),
    ]
    fresh_lrs.start()
    for statement_id in (past.old, past.attached, past.early):
        assert api.get(statementId=statement_id).status_code == 404
        must(409, api.post(statement(id=statement_id)))
    assert api.fetch(past.new)["actor"]["mbox"] == past.staying["mbox"]
    assert api.found(agent=identity_of(past.staying)) == [past.new]
    assert api.found(activity=past.course) == [past.new]
    assert api.found(agent=identity_of(past.gone), related_agents=True) == []
    assert api.call("GET", "activities/state", past.state).status_code == 404
    told = must(200, api.call("GET", "activities", {"activityId": past.portfolio["id"]})).json()
    assert "definition" not in told
    # Who is gone may come back, as somebody new.
    again = new_id()
    api.store(statement(id=again, actor=past.gone))
    assert api.found(agent=identity_of(past.gone)) == [again]
    dumped = fresh_lrs.command("views", "dump", "progress", *place(fresh_lrs)).stdout
    fresh_lrs.command("views", "rebuild", "progress", *place(fresh_lrs))
    assert fresh_lrs.command("views", "dump", "progress", *place(fresh_lrs)).stdout == dumped


def test_a_backup_from_before_a_term_ended_is_brought_up_to_it(api: Api, fresh_lrs: Griffel) -> None:
    past = Past(api)
    tables = Databases(fresh_lrs)
    before = tables.vault(
        "SELECT owner, purpose, year, version, epoch, wrapped FROM key WHERE purpose = 1 AND state = 1"
    )
    fresh_lrs.stop()
    answered(in_the_future(fresh_lrs, "expire", MUCH_LATER))
    for owner, purpose, year, version, epoch, wrapped in before:
        tables.vault(
            "UPDATE key SET state = 1, epoch = ?, wrapped = ? "
            "WHERE owner = ? AND purpose = ? AND year = ? AND version = ?",
            epoch,
            wrapped,
            owner,
            purpose,
            year,
            version,
        )
    fresh_lrs.start()
    assert api.get(statementId=past.old).status_code == 404
    assert tables.vault("SELECT count(*) FROM key WHERE purpose = 1 AND state = 1") == [(0,)]
