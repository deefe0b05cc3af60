"""Erasure against running servers: what is gone, what stays, what proves it (privacy.md, T-ERASE)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lrs.key_providers import FileKeys
from lrs.receipts import ERASURE_CERTIFICATE, verify
from schemas.envelope import NONCE_BYTES, Algorithm, SealedPart, split_parts
from schemas.errors import InvalidInput
from schemas.statement import check_statement
from tests import services
from tests.canary import files_under
from tests.conformance.builders import agent, attachment, group, iri, new_id, reference, statement
from tests.conformance.client import Api, multipart, must
from tests.databases import Databases
from tests.integration.privacy_desk import BOUND_S, certificate_of, erase, identity_of, is_placeholder, place, privacy
from tests.services import Griffel

PAPER = b"A certificate of Somebody"


@pytest.fixture
def api(fresh_lrs: Griffel) -> Iterator[Api]:
    api = Api(fresh_lrs.url, fresh_lrs.key, fresh_lrs.secret, "2.0.0")
    with api.session:
        yield api


class Learner:
    """Somebody of whom the store keeps something in every place there is."""

    def __init__(self, api: Api) -> None:
        self.agent = agent(name="Somebody")
        self.identity = {name: value for name, value in self.agent.items() if name != "name"}
        self.other = agent()
        self.course = iri()
        self.own, self.shared, self.named, self.answer, self.attached, self.referring = (new_id() for _ in range(6))
        survey = {"id": iri(), "definition": {"interactionType": "likert"}}
        kept = attachment(PAPER)
        api.store(
            statement(id=self.own, actor=self.agent, object={"id": self.course}),
            statement(id=self.shared, actor=group(self.agent, self.other), object={"id": self.course}),
            statement(id=self.named, actor=self.other, context={"instructor": self.agent}),
            statement(
                id=self.answer,
                actor=self.agent,
                object=survey,
                verb={"id": "http://adlnet.gov/expapi/verbs/answered"},
                result={"response": "likert_4"},
            ),
            statement(id=self.referring, actor=self.other, object=reference(self.own)),
        )
        self.state = {"activityId": self.course, "agent": self.identity, "stateId": "bookmark"}
        self.profile = {"agent": self.identity, "profileId": "preferences"}
        must(204, api.call("PUT", "activities/state", self.state, data=b"chapter 7"))
        must(204, api.call("PUT", "agents/profile", self.profile, data=b"large", headers={"If-None-Match": "*"}))
        sent = json.dumps(statement(id=self.attached, actor=self.agent, attachments=[kept])).encode()
        binary = {
            "Content-Type": "application/octet-stream",
            "Content-Transfer-Encoding": "binary",
            "X-Experience-API-Hash": kept["sha2"],
        }
        parts = multipart([({"Content-Type": "application/json"}, sent), (binary, PAPER)])
        mixed = {"Content-Type": "multipart/mixed; boundary=griffel-part"}
        must(200, api.call("POST", "statements", data=parts, headers=mixed))


def test_an_erased_learner_is_nowhere(api: Api, fresh_lrs: Griffel) -> None:
    gone = Learner(api)
    certificate = erase(fresh_lrs, gone.agent)
    for statement_id in (gone.own, gone.answer, gone.attached):
        assert api.get(statementId=statement_id).status_code == 404
    for statement_id in (gone.shared, gone.named):
        found = api.fetch(statement_id)
        check_statement(found, "2.0.0")
        assert gone.agent["mbox"] not in json.dumps(found)
        assert "Somebody" not in json.dumps(found)
    assert is_placeholder(api.fetch(gone.shared)["actor"]["member"][0])
    assert is_placeholder(api.fetch(gone.named)["context"]["instructor"])
    assert api.found(agent=gone.identity, related_agents=True) == []
    assert sorted(api.found(agent=gone.other)) == sorted([gone.shared, gone.named, gone.referring])
    assert api.found(activity=gone.course) == [gone.shared], "nothing is inherited from what is gone"
    assert api.call("GET", "activities/state", gone.state).status_code == 404
    assert api.call("GET", "agents/profile", gone.profile).status_code == 404
    person = must(200, api.call("GET", "agents", {"agent": gone.identity})).json()
    assert person == {"objectType": "Person", "mbox": [gone.agent["mbox"]]}
    assert certificate["statements"] == {"erased": 3, "of_which_shared": 0, "kept_for_others": 1, "with_placeholder": 1}
    assert (certificate["documents_deleted"], certificate["attachments_deleted"]) == (2, 1)
    assert certificate["keys_destroyed"] == {"learning": 1, "survey": 1}
    for statement_id in (gone.own, gone.shared, gone.named):
        must(409, api.post(statement(id=statement_id)))


def test_an_activity_ends_with_the_last_learner_who_touched_it(api: Api, fresh_lrs: Griffel) -> None:
    gone, other = agent(), agent()
    portfolio, kept, common = (
        {"id": iri(), "definition": {"name": {"en": name}}} for name in ("Ada's", "Kept", "Ours")
    )
    for one in (portfolio, kept, common):
        api.store(statement(actor=gone, object=one))
    api.store(statement(actor=other, object=common))
    profile = {"activityId": kept["id"], "profileId": "settings"}
    must(204, api.call("PUT", "activities/profile", profile, data=b"x", headers={"If-None-Match": "*"}))

    def definition(activity: dict[str, Any]) -> object:
        return must(200, api.call("GET", "activities", {"activityId": activity["id"]})).json().get("definition")

    assert definition(portfolio) == portfolio["definition"]
    assert erase(fresh_lrs, gone)["activities_forgotten"] == 1
    assert definition(portfolio) is None
    ended = Databases(fresh_lrs).vault("SELECT k.wrapped FROM key k WHERE k.purpose = 100 AND k.state = 2")
    assert [wrapped for (wrapped,) in ended] == [None] * len(ended) != []
    assert [definition(one) for one in (kept, common)] == [kept["definition"], common["definition"]]
    assert must(200, api.call("GET", "activities/profile", profile)).content == b"x"
    api.store(statement(actor=other, object={"id": portfolio["id"], "definition": {"name": {"en": "Another"}}}))
    assert definition(portfolio) == {"name": {"en": "Another"}}


def test_whoever_was_erased_is_refused_for_a_while_by_every_form(api: Api, fresh_lrs: Griffel) -> None:
    gone = Learner(api)
    erase(fresh_lrs, gone.agent)
    late = statement(id=new_id(), actor=gone.identity)
    told = must(403, api.post(late)).json()
    assert told["type"] == "urn:griffel:problem:learner-erased"
    assert api.get(statementId=late["id"]).status_code == 404
    digest = hashlib.sha1(gone.identity["mbox"].encode(), usedforsecurity=False).hexdigest()
    must(403, api.post(statement(actor={"mbox_sha1sum": digest})))
    must(403, api.call("PUT", "activities/state", gone.state, data=b"again"))
    [named] = must(200, api.post(statement(context={"instructor": gone.agent}))).json()
    assert is_placeholder(api.fetch(named)["context"]["instructor"])
    [shared] = must(200, api.post(statement(actor=group(gone.agent, agent())))).json()
    assert is_placeholder(api.fetch(shared)["actor"]["member"][0])
    must(404, privacy(fresh_lrs, "POST", "erasures", agent=gone.identity))
    # Once that time is over, whoever comes back begins anew (T-ERASE-10).
    databases = Databases(fresh_lrs)
    databases.vault("UPDATE suppressed SET until_us = 1")
    must(200, api.post(late))
    assert api.found(agent=gone.identity, related_agents=True) == [late["id"]]
    assert api.get(statementId=gone.own).status_code == 404
    assert api.call("GET", "activities/state", gone.state).status_code == 404
    before, now = (
        bytes(databases.log(f"SELECT record_key FROM events WHERE position = {which}")[0][0])
        for which in ("1", "(SELECT max(position) FROM events)")
    )
    assert before != now


def test_the_certificate_is_signed_and_says_nothing_about_anybody(api: Api, fresh_lrs: Griffel) -> None:
    gone = Learner(api)
    certificate = erase(fresh_lrs, gone.agent)
    paper = certificate.pop("jws")
    [key] = must(200, requests.get(f"{fresh_lrs.base}/privacy/keys", timeout=BOUND_S)).json()["keys"]
    assert verify(key, paper, ERASURE_CERTIFICATE) == certificate
    with pytest.raises(InvalidInput):
        verify(key, paper[:-6] + "AAAAAA", ERASURE_CERTIFICATE)
    text = json.dumps(certificate)
    assert gone.agent["mbox"] not in text
    assert "Somebody" not in text
    who = Databases(fresh_lrs).log("SELECT pseudonym FROM person_state")[0][0]
    assert bytes(who).hex() not in text
    shown = json.loads(fresh_lrs.command("erase", *place(fresh_lrs), "--show", certificate["erasure"], "--json").stdout)
    assert shown == certificate | {"jws": paper}


def test_a_preview_tells_what_will_be_and_changes_nothing(api: Api, fresh_lrs: Griffel) -> None:
    gone = Learner(api)
    told = must(200, privacy(fresh_lrs, "POST", "erasures", agent=gone.identity, preview=True)).json()
    assert told["statements"] == {"erased": 3, "of_which_shared": 0, "kept_for_others": 1, "with_placeholder": 1}
    assert (told["documents"], told["keys"]) == (2, {"learning": 1, "survey": 1})
    said = fresh_lrs.command("erase", *place(fresh_lrs), "--agent", json.dumps(gone.identity))
    assert "Nothing has been done" in said.stdout
    assert gone.agent["mbox"] not in said.stdout + said.stderr
    assert api.fetch(gone.own)["actor"]["mbox"] == gone.agent["mbox"]


def test_who_may_not_is_refused(api: Api, fresh_lrs: Griffel) -> None:
    gone = Learner(api)
    all_scopes = (fresh_lrs.key, fresh_lrs.secret)
    for scope in ("all/read", "statements/write,statements/read,state,profile,define"):
        fresh_lrs.credential(scope)
        told = must(403, privacy(fresh_lrs, "POST", "erasures", agent=gone.identity))
        assert gone.agent["mbox"] not in told.text
    fresh_lrs.credential("privacy")
    must(200, privacy(fresh_lrs, "POST", "erasures", agent=gone.identity, preview=True))
    fresh_lrs.key, fresh_lrs.secret = all_scopes
    for body in ({}, {"agent": {}}, {"agent": gone.identity, "yes": True}, {"agent": gone.identity, "preview": "x"}):
        told = must(400, privacy(fresh_lrs, "POST", "erasures", **body))
        assert told.headers["Content-Type"] == "application/problem+json"
        assert gone.agent["mbox"] not in told.text
    must(404, privacy(fresh_lrs, "GET", "erasures/" + "0" * 32))
    must(404, privacy(fresh_lrs, "GET", "erasures/nonsense"))
    must(405, privacy(fresh_lrs, "PUT", "erasures", agent=gone.identity))


# ------------------------------------------------------------------------------------------------------ the forensics


def sealed_parts(server: Griffel) -> list[tuple[bytes, SealedPart]]:
    """Everything that is sealed in the log's database: (what it is bound to, part)."""
    databases = Databases(server)
    rows = databases.log("SELECT originator_id, state FROM events")
    rows += databases.log("SELECT document_key, sealed FROM document")
    found = []
    for binding, record in rows:
        bound = raw(binding)
        found += [(bound, part) for part in split_parts(bytes(record)) if part.header.algorithm != Algorithm.CLEAR]
    return found


def roots_of(server: Griffel) -> Path:
    return server.data_dir / "keys" if server.mode == "embedded" else Path(server.environment["GRIFFEL_KEYS_DIR"])


def raw(value: Any) -> bytes:
    """Bytes as SQLite gives them; PostgreSQL has a type of its own for ids."""
    return value.bytes if isinstance(value, uuid.UUID) else bytes(value)


def living_keys(server: Griffel) -> list[AESGCM]:
    """Every key that vault and provider give together, whosever it is."""
    databases = Databases(server)
    folder = roots_of(server)
    epoch, wrapped = databases.vault("SELECT epoch, wrapped FROM epoch ORDER BY epoch DESC")[0]
    root = AESGCM(FileKeys(folder).unwrap(epoch, bytes(wrapped)))
    keys = []
    for owner, purpose, year, version, wrapped in databases.vault(
        "SELECT owner, purpose, year, version, wrapped FROM key WHERE wrapped IS NOT NULL"
    ):
        binding = b"key %s %d %d %d" % (bytes(owner), purpose, year, version)
        sealed = bytes(wrapped)
        keys.append(AESGCM(root.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], binding)))
    return keys


def opens(keys: list[AESGCM], bound: bytes, part: SealedPart) -> bool:
    for key in keys:
        try:
            key.decrypt(part.nonce, part.box, part.header_bytes + bound)
        except InvalidTag:
            continue
        return True
    return False


@pytest.fixture
def alone(make_lrs: Callable[..., Griffel]) -> Iterator[Griffel]:
    """An embedded server: its files can be looked into."""
    with services.running(make_lrs("embedded")) as server:
        yield server


def api_of(server: Griffel) -> Api:
    return Api(server.url, server.key, server.secret, "2.0.0")


def test_the_wrapped_keys_are_in_no_file(alone: Griffel) -> None:
    gone = Learner(api_of(alone))
    databases = Databases(alone)
    who = bytes(databases.log("SELECT record_key FROM events WHERE position = 1")[0][0])
    wrapped = [bytes(row[0]) for row in databases.vault("SELECT wrapped FROM key WHERE owner = ?", who)]
    blinds = [bytes(row[0]) for row in databases.vault("SELECT blind FROM identifier WHERE owner = ?", who)]
    secrets = [*wrapped, *blinds]
    assert len(wrapped) == 2
    assert len(blinds) == 2
    folder = alone.data_dir / "vault"
    assert all(found_in(folder, one) for one in secrets), "this instrument finds what is there"
    erase(alone, gone.agent)
    assert not [one for one in secrets if found_in(folder, one)]


def found_in(folder: Path, secret: bytes) -> bool:
    return any(secret in path.read_bytes() for path in files_under(folder))


def test_attachments_are_deleted(alone: Griffel) -> None:
    gone = Learner(api_of(alone))
    assert len(list(files_under(alone.data_dir / "attachments"))) == 1
    erase(alone, gone.agent)
    assert not list(files_under(alone.data_dir / "attachments"))


def test_a_backup_of_the_vault_dies_with_its_epochs(api: Api, fresh_lrs: Griffel, tmp_path: Path) -> None:
    gone = Learner(api)
    before = living_keys(fresh_lrs)
    who = bytes(Databases(fresh_lrs).log("SELECT record_key FROM events WHERE position = 1")[0][0])
    mine = [(bound, part) for bound, part in sealed_parts(fresh_lrs) if part.header.owner == who]
    rows = Databases(fresh_lrs).vault("SELECT epoch, wrapped FROM epoch")
    erase(fresh_lrs, gone.agent)
    folder = roots_of(fresh_lrs)
    assert FileKeys(folder).unwrap(rows[0][0], bytes(rows[0][1])), "within its horizon a backup can be opened"
    for turn in range(2):
        told = json.loads(fresh_lrs.command("keys", "rotate", *place(fresh_lrs), "--keep", "1", "--json").stdout)
        assert told["epoch"] == turn + 2
    assert not (folder / "epoch-1.key").exists()
    assert before
    assert not [part for bound, part in mine if opens(living_keys(fresh_lrs), bound, part)]
    assert api.fetch(gone.named)["actor"]["mbox"] == gone.other["mbox"], "whoever lives is read as before"
    fresh_lrs.stop()
    fresh_lrs.start()
    assert api.fetch(gone.named)["actor"]["mbox"] == gone.other["mbox"]


# ------------------------------------------------------------------------------------------------------------- stopping

KILLED_AT = """
import asyncio, json, os, signal, sys
from schemas.people import identifier_of
from lrs.config import Mode, Settings
from lrs.wiring import open_services
from pathlib import Path

async def main():
    step, identifier = sys.argv[1], identifier_of(json.loads(sys.argv[2]))
    told = {name: os.environ.get("GRIFFEL_" + name.upper()) for name in ("database_url", "keys_url")}
    given = {name: value for name, value in told.items() if value}
    if "GRIFFEL_KEYS_DIR" in os.environ:
        given["keys_dir"] = Path(os.environ["GRIFFEL_KEYS_DIR"])
    settings = Settings(mode=Mode(os.environ.get("GRIFFEL_MODE", "embedded")), data=Path(sys.argv[3]), **given)
    async with open_services(settings) as services:
        if services.guard is not None:
            await services.guard.opened.wait()
        eraser = services.desk.eraser
        def tell(reached):
            if reached == step:
                os.kill(os.getpid(), signal.SIGKILL)
        # Whoever is being erased is found by nothing but that: their identifiers are gone.
        pending = await eraser.pending()
        await eraser.erase(pending[0] if pending else await eraser.find(identifier), tell)

asyncio.run(main())
"""


STEPS = ("fenced", "keys destroyed", "views", "statements", "lists", "verified")


def killed_at(server: Griffel, step: str, identity: dict[str, Any]) -> None:
    """Erase somebody in a process that is killed once a step is done."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AT, step, json.dumps(identity), str(server.data_dir)],
        env=server.environment,
        check=False,
        timeout=BOUND_S,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, step + killed.stderr.decode()[-2000:]


@pytest.mark.parametrize("steps", [STEPS[1:2], STEPS], ids=["keys destroyed", "each in turn"])
def test_an_erasure_that_is_killed_at_any_step_goes_on(api: Api, fresh_lrs: Griffel, steps: tuple[str, ...]) -> None:
    gone = Learner(api)
    fresh_lrs.stop()
    for step in steps:
        killed_at(fresh_lrs, step, gone.identity)
    fresh_lrs.start()
    (stream,) = Databases(fresh_lrs).log("SELECT originator_id FROM events WHERE topic = ?", "erasure_requested")[0]
    certificate = certificate_of(fresh_lrs, raw(stream).hex())
    assert certificate["statements"] == {"erased": 3, "of_which_shared": 0, "kept_for_others": 1, "with_placeholder": 1}
    assert certificate["documents_deleted"] == 2
    assert api.found(agent=gone.other) != []
    assert api.found(activity=gone.course) == [gone.shared]
    assert api.call("GET", "activities/state", gone.state).status_code == 404
    must(403, api.post(statement(actor=gone.identity)))


def test_beside_no_server_the_command_does_it(api: Api, fresh_lrs: Griffel) -> None:
    gone = Learner(api)
    fresh_lrs.stop()
    said = fresh_lrs.command("erase", *place(fresh_lrs), "--agent", json.dumps(gone.identity), "--yes", "--json")
    certificate = json.loads(said.stdout)
    assert certificate["statements"]["erased"] == 3
    assert gone.agent["mbox"] not in said.stdout + said.stderr
    fresh_lrs.start()
    assert api.get(statementId=gone.own).status_code == 404
    again = fresh_lrs.command("erase", *place(fresh_lrs), "--agent", json.dumps(gone.identity), "--yes", check=False)
    assert again.returncode == 1
    assert "nobody is known" in again.stderr


# --------------------------------------------------------------------------------------------------------- built anew


def dumped(server: Griffel, name: str) -> str:
    return server.command("views", "dump", *place(server), name).stdout


def test_an_index_built_anew_equals_the_one_that_forgot(api: Api, fresh_lrs: Griffel) -> None:
    gone = Learner(api)
    erase(fresh_lrs, gone.agent)
    api.store(statement(actor=gone.other, object=reference(gone.referring)))
    lived = dumped(fresh_lrs, "statement_index")
    fresh_lrs.command("views", "rebuild", *place(fresh_lrs), "statement_index")
    assert dumped(fresh_lrs, "statement_index") == lived
    assert api.found(activity=gone.course) == [gone.shared]


def test_nothing_slips_past_the_fence(api: Api, fresh_lrs: Griffel) -> None:
    """While content posts about them without a pause, and keys are rotated, someone is erased (T-RACE-1)."""
    gone, other = agent(), agent()
    api.store(statement(actor=gone))
    who = bytes(Databases(fresh_lrs).log("SELECT record_key FROM events WHERE position = 1")[0][0])
    answers: list[tuple[str, int]] = []
    stopping = threading.Event()

    def post(kind: int) -> None:
        mine = Api(fresh_lrs.url, fresh_lrs.key, fresh_lrs.secret, "2.0.0")
        while not stopping.is_set():
            one = statement(id=new_id(), actor=gone) if kind else statement(id=new_id(), actor=group(gone, other))
            answers.append((one["id"], mine.post(one).status_code))

    rotations: list[int] = []

    def rotate() -> None:
        while not stopping.is_set():
            said = fresh_lrs.command("keys", "rotate", *place(fresh_lrs), "--json")
            rotations.append(json.loads(said.stdout)["epoch"])

    threads = [threading.Thread(target=post, args=(kind,)) for kind in (0, 1, 1)] + [threading.Thread(target=rotate)]
    for thread in threads:
        thread.start()
    try:
        deadline = time.monotonic() + BOUND_S
        while len(answers) < 60:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        erase(fresh_lrs, gone)
    finally:
        stopping.set()
        for thread in threads:
            thread.join(BOUND_S)
    assert {status for _, status in answers} == {200, 403}
    assert len(rotations) >= 2
    assert rotations == sorted(set(rotations))
    databases = Databases(fresh_lrs)
    [(fence,)] = databases.log("SELECT position FROM events WHERE topic = ?", "erasure_requested")
    for position, state in databases.log("SELECT position, state FROM events WHERE position > ?", fence):
        owners = [part.header.owner for part in split_parts(bytes(state)) if part.header.algorithm != Algorithm.CLEAR]
        assert who not in owners, f"a record at {position}, after the fence at {fence}, is sealed for them"
    assert databases.vault("SELECT 1 FROM key WHERE owner = ? AND state = 1", who) == []
    assert databases.log("SELECT 1 FROM event_people WHERE pseudonym = ?", who) == []
    assert api.found(agent=identity_of(gone), related_agents=True) == []
    for statement_id, status in answers[::7]:
        found = api.get(statementId=statement_id)
        assert found.status_code == 404 or is_placeholder(found.json()["actor"]["member"][0]), status


# -------------------------------------------------------------------------------------------------------------- backups


def test_a_restored_backup_serves_only_without_those_erased_since(alone: Griffel, tmp_path: Path) -> None:
    api = api_of(alone)
    gone, restricted = Learner(api), agent()
    api.store(statement(actor=restricted))
    made = json.loads(alone.command("backup", *place(alone), "--to", str(tmp_path / "backup"), "--json").stdout)
    assert made["log_position"] > 0
    who = bytes(Databases(alone).log("SELECT record_key FROM events WHERE position = 1")[0][0])
    mine = [(bound, part) for bound, part in sealed_parts(alone) if part.header.owner == who]
    for what in (["restrict"], ["unrestrict"], ["restrict"], ["consent", "withdraw", "--purpose", "learning"]):
        alone.command(*what, *place(alone), "--agent", json.dumps(gone.identity))
    erase(alone, gone.agent)
    alone.command("restrict", *place(alone), "--agent", json.dumps(restricted))
    alone.stop()
    said = alone.command("restore", *place(alone), "--from", str(tmp_path / "backup"))
    assert "position" in said.stdout
    assert any(opens(living_keys(alone), bound, part) for bound, part in mine), "the backup brings the keys back"
    alone.start()
    assert not [part for bound, part in mine if opens(living_keys(alone), bound, part)]
    assert api.get(statementId=gone.own).status_code == 404
    assert api.found(agent=restricted) == []
    (stream,) = Databases(alone).log("SELECT originator_id FROM events WHERE topic = ?", "erasure_requested")[0]
    certificate_of(alone, bytes(stream).hex())
    assert api.call("GET", "activities/state", gone.state).status_code == 404
    assert is_placeholder(api.fetch(gone.named)["context"]["instructor"])
    must(403, api.post(statement(actor=gone.identity)))
    api.store(statement(actor=gone.other))


def test_a_vault_alone_from_a_backup_is_brought_up_by_the_log(fresh_lrs: Griffel, api: Api) -> None:
    gone = Learner(api)
    databases = Databases(fresh_lrs)
    who = bytes(databases.log("SELECT record_key FROM events WHERE position = 1")[0][0])
    keys = databases.vault("SELECT purpose, year, version, epoch, wrapped FROM key WHERE owner = ?", who)
    mine = [(bound, part) for bound, part in sealed_parts(fresh_lrs) if part.header.owner == who]
    erase(fresh_lrs, gone.agent)
    fresh_lrs.stop()
    databases.vault("DELETE FROM erased")
    for purpose, year, version, epoch, wrapped in keys:
        revived = "UPDATE key SET state = 1, epoch = ?, wrapped = ? "
        which = "WHERE owner = ? AND purpose = ? AND year = ? AND version = ?"
        databases.vault(revived + which, epoch, bytes(wrapped), who, purpose, year, version)
    assert any(opens(living_keys(fresh_lrs), bound, part) for bound, part in mine)
    fresh_lrs.start()
    assert not [part for bound, part in mine if opens(living_keys(fresh_lrs), bound, part)]
    assert api.get(statementId=gone.own).status_code == 404


def test_without_the_newest_journal_nothing_is_served(alone: Griffel, tmp_path: Path) -> None:
    api = api_of(alone)
    first, second = Learner(api), Learner(api)
    journal = alone.data_dir / "journal" / "journal.ndjson"
    erase(alone, first.agent)
    older = journal.read_bytes()
    erase(alone, second.agent)
    newest = journal.read_bytes()
    alone.stop()
    for wrong in (older, b"", None, newest.replace(b'"state":2', b'"state":0', 1)):
        journal.unlink(missing_ok=True)
        if wrong is not None:
            journal.write_bytes(wrong)
        refused = alone.command("serve", *place(alone), "--port", "0", check=False)
        assert refused.returncode == 1
        assert "journal" in refused.stderr
        assert "Traceback" not in refused.stderr
    journal.write_bytes(newest + b'{"at":1,"who":"torn')
    alone.start()
    assert journal.read_bytes() == newest, "a line that was torn off was never begun"
    alone.stop()
    journal.unlink()
    alone.command("restore", *place(alone), "--without-journal")
    alone.start()
    assert api.get(statementId=first.own).status_code == 404, "this vault had carried them out"


def test_a_backup_is_whole_or_not_there(alone: Griffel, tmp_path: Path) -> None:
    Learner(api_of(alone))
    target = tmp_path / "backup"
    alone.command("backup", *place(alone), "--to", str(target))
    assert {path.name for path in target.iterdir()} == {"attachments", "log", "vault", "manifest.json"}
    assert not list(tmp_path.glob(".*")), "nothing half done is left"
    again = alone.command("backup", *place(alone), "--to", str(target), check=False)
    assert again.returncode == 1
    assert "not empty" in again.stderr
    (target / "log" / "log.db").write_bytes(b"something else")
    alone.stop()
    refused = alone.command("restore", *place(alone), "--from", str(target), check=False)
    assert refused.returncode == 1
    assert "log.db" in refused.stderr
    alone.start()


# ------------------------------------------------------------------------------------------------------------ in memory


def memory_of(pid: int) -> Iterator[bytes]:
    """What a process has in memory, piece by piece. Needs the right to look, which root has."""
    there = Path(f"/proc/{pid}")
    with (there / "maps").open() as maps, (there / "mem").open("rb", buffering=0) as memory:
        for line in maps:
            place, rights, *_ = line.split()
            begins, ends = (int(one, 16) for one in place.split("-"))
            if "r" not in rights or "w" not in rights:
                continue
            with contextlib.suppress(OSError, OverflowError):
                memory.seek(begins)
                yield memory.read(ends - begins)


def keys_of(server: Griffel, who: bytes) -> list[bytes]:
    """The keys of a person in plain form, as vault and provider together give them."""
    databases = Databases(server)
    epoch, wrapped = databases.vault("SELECT epoch, wrapped FROM epoch ORDER BY epoch DESC")[0]
    root = AESGCM(FileKeys(roots_of(server)).unwrap(epoch, bytes(wrapped)))
    found = []
    for purpose, year, version, sealed in databases.vault(
        "SELECT purpose, year, version, wrapped FROM key WHERE owner = ? AND state = 1", who
    ):
        binding = b"key %s %d %d %d" % (who, purpose, year, version)
        found.append(root.decrypt(bytes(sealed)[:NONCE_BYTES], bytes(sealed)[NONCE_BYTES:], binding))
    return found


@pytest.mark.skipif(os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="looks into a process as root")
def test_no_process_has_a_destroyed_key_in_memory(alone: Griffel) -> None:
    gone = Learner(api_of(alone))
    who = bytes(Databases(alone).log("SELECT record_key FROM events WHERE position = 1")[0][0])
    keys = keys_of(alone, who)
    assert len(keys) == 2
    assert alone.process is not None
    family = [alone.process.pid, *children(alone.process.pid)]
    assert len(family) >= 3, "server, writer and views"

    def held() -> set[int]:
        return {pid for pid in family for piece in memory_of(pid) if any(key in piece for key in keys)}

    assert alone.process.pid in held(), "this instrument finds what is there"
    erase(alone, gone.agent)
    assert held() == set()


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_server_writes_no_core_dump(alone: Griffel) -> None:
    assert alone.process is not None
    limits = Path(f"/proc/{alone.process.pid}/limits").read_text()
    [line] = [one for one in limits.splitlines() if one.startswith("Max core file size")]
    assert line.split()[4:6] == ["0", "0"]
