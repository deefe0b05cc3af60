"""What is about several people ends with one of them, where that is chosen, and for all of them (decision 35)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.envelope import Part
from tests import services
from tests.conformance.builders import agent, group, iri, new_id, statement
from tests.conformance.client import Api, Json, must
from tests.databases import Databases
from tests.integration.privacy_desk import BOUND_S, certificate_of, erase, identity_of, is_placeholder, place, privacy
from tests.integration.test_erasure import KILLED_AT, dumped, raw
from tests.sealed_copies import Box, Copies, keys_left, open_all, roots_of, rows_of
from tests.services import Griffel

TOGETHER = 102
"""The purpose of keys that several people have together."""
CHOSEN = "await eraser.request(await eraser.find(identifier), with_shared=True); "


@pytest.fixture
def api(fresh_lrs: Griffel) -> Iterator[Api]:
    api = Api(fresh_lrs.url, fresh_lrs.key, fresh_lrs.secret, "2.0.0")
    with api.session:
        yield api


class Pair:
    """Two learners: something about each, about both (twice, in two ways), and about the second with a third."""

    def __init__(self, api: Api) -> None:
        self.gone, self.other, self.third = agent(), agent(), agent()
        self.course = {"id": iri()}
        self.own, self.both, self.told, self.others, self.alone = (new_id() for _ in range(5))
        api.store(
            statement(id=self.own, actor=self.gone),
            statement(id=self.both, actor=group(self.gone, self.other), object=self.course),
            statement(id=self.told, actor=self.other, object={"objectType": "Agent", **self.gone}),
            statement(id=self.others, actor=group(self.other, self.third), object=self.course),
            statement(id=self.alone, actor=self.other, object=self.course),
        )

    def is_ended(self, api: Api) -> None:
        """See that what is about both is gone, and nothing else of the other's."""
        for statement_id in (self.own, self.both, self.told):
            assert api.get(statementId=statement_id).status_code == 404
        assert sorted(api.found(agent=identity_of(self.other))) == sorted([self.others, self.alone])
        assert sorted(api.found(activity=self.course["id"])) == sorted([self.others, self.alone])


def begin(server: Griffel, someone: Json, **how: Any) -> Any:
    return privacy(server, "POST", "erasures", agent=identity_of(someone), **how)


def together(server: Griffel) -> int:
    """How many keys are there that several people have together."""
    found = Databases(server).vault("SELECT count(*) FROM key WHERE purpose = ? AND wrapped IS NOT NULL", TOGETHER)
    return int(found[0][0])


def joint_bodies(server: Griffel) -> tuple[Copies, dict[Box, frozenset[bytes]]]:
    """Copy the log; give the bodies that are about several people, each with whom."""
    copies = Copies()
    copies.add_log("before", rows_of(server)[0])
    bodies = {box: who for box, who in copies.holders.items() if box.kind == Part.BODY and len(who) > 1}
    return copies, bodies


def open_now(server: Griffel, copies: Copies) -> set[Box]:
    return set(open_all(copies.places, keys_left(roots_of(server), rows_of(server)[1])))


def test_what_is_about_others_too_ends_where_that_is_chosen(api: Api, fresh_lrs: Griffel) -> None:
    pair = Pair(api)
    kept = {"erased": 1, "of_which_shared": 0, "kept_for_others": 2, "with_placeholder": 0}
    ended = {"erased": 3, "of_which_shared": 2, "kept_for_others": 0, "with_placeholder": 0}
    assert must(200, begin(fresh_lrs, pair.gone, preview=True)).json()["statements"] == kept
    assert must(200, begin(fresh_lrs, pair.gone, preview=True, with_shared=True)).json()["statements"] == ended
    assert must(200, api.get(statementId=pair.both)), "a preview changes nothing"
    copies, bodies = joint_bodies(fresh_lrs)
    who = bytes(Databases(fresh_lrs).log("SELECT record_key FROM events WHERE position = 1")[0][0])
    theirs = {box for box, people in bodies.items() if who in people}
    assert (len(bodies), len(theirs), together(fresh_lrs)) == (3, 2, 2)
    assert bodies.keys() <= open_now(fresh_lrs, copies), "this instrument opens what can be opened"
    erasure = must(202, begin(fresh_lrs, pair.gone, with_shared=True)).json()["erasure"]
    certificate = certificate_of(fresh_lrs, erasure)
    assert certificate["statements"] == ended
    pair.is_ended(api)
    assert bodies.keys() & open_now(fresh_lrs, copies) == bodies.keys() - theirs
    assert together(fresh_lrs) == 1
    must(409, api.post(statement(id=pair.both)))
    lived = dumped(fresh_lrs, "statement_index")
    fresh_lrs.command("views", "rebuild", *place(fresh_lrs), "statement_index")
    assert dumped(fresh_lrs, "statement_index") == lived
    # The other goes later: what had ended is not counted as kept for anybody.
    last = erase(fresh_lrs, pair.other)["statements"]
    assert (last["kept_for_others"], last["with_placeholder"]) == (1, 0)
    assert is_placeholder(api.fetch(pair.others)["actor"]["member"][0])


def test_an_erasure_that_was_begun_without_it_keeps_what_is_about_others(api: Api, fresh_lrs: Griffel) -> None:
    pair = Pair(api)
    held = {"agent": identity_of(pair.gone), "purpose": "learning"}
    must(200, privacy(fresh_lrs, "POST", "holds", **held, held=True, ground="archives"))
    erasure = must(202, begin(fresh_lrs, pair.gone)).json()["erasure"]
    refused = must(409, begin(fresh_lrs, pair.gone, with_shared=True))
    assert "begun before" in refused.json()["detail"]
    must(202, begin(fresh_lrs, pair.gone))
    must(200, privacy(fresh_lrs, "POST", "holds", **held, held=False))
    assert certificate_of(fresh_lrs, erasure)["statements"]["kept_for_others"] == 2
    assert is_placeholder(api.fetch(pair.both)["actor"]["member"][0])


def test_what_is_held_of_another_stays(api: Api, fresh_lrs: Griffel) -> None:
    pair = Pair(api)
    held = {"agent": identity_of(pair.other), "purpose": "learning"}
    must(200, privacy(fresh_lrs, "POST", "holds", **held, held=True, ground="legal_claims"))
    preview = must(200, begin(fresh_lrs, pair.gone, preview=True, with_shared=True)).json()["statements"]
    erasure = must(202, begin(fresh_lrs, pair.gone, with_shared=True)).json()["erasure"]
    assert certificate_of(fresh_lrs, erasure)["statements"] == preview
    assert (preview["of_which_shared"], preview["kept_for_others"]) == (0, 2)
    for statement_id in (pair.both, pair.told):
        must(200, api.get(statementId=statement_id))


@pytest.mark.parametrize("step", ["fenced", "statements"])
def test_the_choice_is_kept_when_the_erasure_is_killed(api: Api, fresh_lrs: Griffel, step: str) -> None:
    pair = Pair(api)
    fresh_lrs.stop()
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            KILLED_AT.replace("await eraser.erase(", CHOSEN + "await eraser.erase("),
            step,
            json.dumps(identity_of(pair.gone)),
            str(fresh_lrs.data_dir),
        ],
        env=fresh_lrs.environment,
        check=False,
        timeout=BOUND_S,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    fresh_lrs.start()
    (stream,) = Databases(fresh_lrs).log("SELECT originator_id FROM events WHERE topic = ?", "erasure_requested")[0]
    assert certificate_of(fresh_lrs, raw(stream).hex())["statements"]["of_which_shared"] == 2
    pair.is_ended(api)


def test_the_command_does_it_beside_no_server(api: Api, fresh_lrs: Griffel) -> None:
    pair = Pair(api)
    fresh_lrs.stop()
    whom = ["--agent", json.dumps(identity_of(pair.gone)), "--with-shared"]
    said = fresh_lrs.command("erase", *place(fresh_lrs), *whom).stdout
    assert "about others too" in said
    certificate = json.loads(fresh_lrs.command("erase", *place(fresh_lrs), *whom, "--yes", "--json").stdout)
    assert certificate["statements"]["of_which_shared"] == 2
    fresh_lrs.start()
    pair.is_ended(api)


# -------------------------------------------------------------------------------------------------------------- backups


def test_a_vault_alone_from_a_backup_has_it_ended_again(api: Api, fresh_lrs: Griffel) -> None:
    pair = Pair(api)
    copies, bodies = joint_bodies(fresh_lrs)
    databases = Databases(fresh_lrs)
    keys = databases.vault("SELECT owner, epoch, wrapped FROM key WHERE purpose = ?", TOGETHER)
    certificate_of(fresh_lrs, must(202, begin(fresh_lrs, pair.gone, with_shared=True)).json()["erasure"])
    fresh_lrs.stop()
    databases.vault("DELETE FROM erased")
    for owner, epoch, wrapped in keys:
        revived = "UPDATE key SET state = 1, epoch = ?, wrapped = ? WHERE owner = ? AND purpose = ?"
        databases.vault(revived, epoch, bytes(wrapped), bytes(owner), TOGETHER)
    assert len(bodies.keys() & open_now(fresh_lrs, copies)) == 3, "the other's key opens it again"
    fresh_lrs.start()
    assert len(bodies.keys() & open_now(fresh_lrs, copies)) == 1
    pair.is_ended(api)


def test_a_restored_backup_serves_only_without_it(make_lrs: Callable[..., Griffel], tmp_path: Path) -> None:
    with services.running(make_lrs("embedded")) as server:
        api = Api(server.url, server.key, server.secret, "2.0.0")
        pair = Pair(api)
        server.command("backup", *place(server), "--to", str(tmp_path / "backup"))
        copies, bodies = joint_bodies(server)
        certificate_of(server, must(202, begin(server, pair.gone, with_shared=True)).json()["erasure"])
        server.stop()
        server.command("restore", *place(server), "--from", str(tmp_path / "backup"))
        assert len(bodies.keys() & open_now(server, copies)) == 3
        server.start()
        assert len(bodies.keys() & open_now(server, copies)) == 1
        (stream,) = Databases(server).log("SELECT originator_id FROM events WHERE topic = ?", "erasure_requested")[0]
        assert certificate_of(server, bytes(stream).hex())["statements"]["of_which_shared"] == 2
        pair.is_ended(api)
