"""Forgetting in a whole cluster: the log on Kafka, views computed from it, an institution, a log brought back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from schemas.envelope import NONCE_BYTES, PADDING_BYTES, TAG_BYTES, Algorithm, Part, split_parts
from schemas.events import KINDS
from schemas.records import EventRecord, read_record
from tests.acceptance.cluster import PARTITIONS, await_view, command
from tests.conformance.builders import agent
from tests.conformance.client import Api, Json, must
from tests.copied_log import logged, records, relayed, wait_until
from tests.databases import Databases
from tests.integration.privacy_desk import BOUND_S, certificate_of, erase, identity_of, privacy
from tests.integration.test_erasure import living_keys, opens
from tests.integration.test_restriction import course, enrol
from tests.kafka_services import ExternalKafka
from tests.services import Griffel, running

pytestmark = pytest.mark.slow


def entries(server: Griffel) -> list[Json]:
    response = requests.get(
        f"{server.base}/streams/completions/events",
        params={"limit": 500},
        auth=(server.key, server.secret),
        timeout=BOUND_S,
    )
    return must(200, response).json()["events"]


def on_kafka(kafka: ExternalKafka) -> list[EventRecord]:
    found = []
    for partition in records(kafka.bootstrap).values():
        for record in partition:
            read = read_record(record.key, record.value, record.headers)
            if isinstance(read, EventRecord):
                found.append(read)
    return found


def sealed_for(who: bytes, events: list[EventRecord]) -> list[tuple[bytes, Any]]:
    return [
        (event.originator_id, part)
        for event in events
        for part in split_parts(event.state)
        if part.header.owner == who and part.header.algorithm != Algorithm.CLEAR
    ]


SAID = frozenset(
    (
        *("ce_specversion", "ce_id", "ce_source", "ce_type"),
        *("originator_id", "originator_version", "position", "prev", "stored_us", "incarnation"),
    )
)
"""All that a header says: kinds of events, numbers, times and ids that are keyed hashes."""


def says_nothing(kafka: ExternalKafka, who: bytes) -> None:
    """What is left of somebody on Kafka: pseudonym, purposes, positions, times, lengths in steps (T-RESIDUE-1)."""
    mine = [one for found in records(kafka.bootstrap).values() for one in found if one.key == who]
    assert len(mine) >= 5
    for record in mine:
        assert {name for name, _ in record.headers} == SAID
        for part in split_parts(record.value):
            if part.header.algorithm != Algorithm.CLEAR:
                assert (len(part.box) - TAG_BYTES) % PADDING_BYTES == 0
                assert len(part.nonce) == NONCE_BYTES
            else:
                assert part.header.part in (Part.PERSON_STATE, Part.CERTIFICATE)
    kinds = {bytes(dict(record.headers)["ce_type"]).decode() for record in mine}
    assert kinds <= {f"griffel.{one}" for one in KINDS}, "never what somebody did"


def dumped(server: Griffel, name: str) -> str:
    return server.command("views", "dump", name).stdout


def test_a_learner_is_forgotten_in_a_whole_cluster(
    make_lrs: Callable[..., Griffel], kafka: ExternalKafka, postgres_url: Callable[[], str]
) -> None:
    own = make_lrs("cluster", settings={"GRIFFEL_KAFKA": kafka.bootstrap})
    gone, other, late = agent(name="Somebody"), agent(), agent()
    where = course("kafka")
    with running(own) as server:
        api = Api(server.url, server.key, server.secret, "2.0.0")
        server.command("topics", "create", "--partitions", str(PARTITIONS), "--replication", "1")
        with command(server, "relay"), command(server, "consume", "progress", "completions"):
            api.store(*enrol(gone, where, "completed"))
            who = bytes(Databases(server).log("SELECT record_key FROM events WHERE position = 1")[0][0])
            api.store(*enrol(other, where, "completed"), *enrol(late, where))
            wait_until(lambda: len(entries(server)) == 2)
            await_view(server)
            mine = sealed_for(who, on_kafka(kafka))
            assert len(mine) >= 3, "two statements and a completion"
            assert all(opens(living_keys(server), bound, part) for bound, part in mine)
            [told] = [one for one in entries(server) if gone["mbox"] in json.dumps(one)]

            certificate = erase(server, gone)

            # The log is as it was, and says nothing more.
            after = on_kafka(kafka)
            assert sealed_for(who, after) == mine
            assert not [part for bound, part in mine if opens(living_keys(server), bound, part)]
            # The institution is told.
            wait_until(lambda: entries(server)[-1]["type"] == "griffel.learner.erased")
            erased = entries(server)[-1]
            assert erased["data"] == {"erasure": certificate["erasure"], "entries": [told["id"]]}
            emptied = next(one for one in entries(server) if one["id"] == told["id"])
            assert emptied["type"] == "griffel.entry.empty"
            assert gone["mbox"] not in json.dumps(entries(server))
            # Kafka has the request and the completion, in the learner's own partition.
            wait_until(lambda: relayed(server.database_url) == logged(server.database_url)[-1].position)
            assert [one.topic for one in on_kafka(kafka) if one.record_key == who][-2:] == [
                "erasure_requested",
                "erasure_completed",
            ]
            says_nothing(kafka, who)
            # Views built anew, from the log and from Kafka, equal the one that forgot.
            await_view(server)
            lived = dumped(server, "progress")
            assert who.hex() not in lived
            for source in ("log", "kafka"):
                server.command("views", "rebuild", "progress", "--from", source)
                assert dumped(server, "progress") == lived
            index = dumped(server, "statement_index")
            assert who.hex() not in index

        # Kafka does not get what is asked now: fenced and pending, and said so.
        api.store(*enrol(late, where))
        begun = must(202, privacy(server, "POST", "erasures", agent=identity_of(late))).json()
        ends = time.monotonic() + BOUND_S
        while (state := must(200, privacy(server, "GET", f"erasures/{begun['erasure']}")).json())["state"] != "pending":
            assert time.monotonic() < ends, state
            time.sleep(0.2)
        must(403, api.post(enrol(late, where)))
        assert api.found(agent=identity_of(late)) == []
        said = server.command("erase", "--agent", json.dumps(identity_of(late)), "--yes", check=False)
        assert said.returncode == 3, said.stdout + said.stderr
        with command(server, "relay"):
            server.command("erase", "--agent", json.dumps(identity_of(late)), "--yes")
            certificate_of(server, begun["erasure"])
            wait_until(lambda: relayed(server.database_url) == logged(server.database_url)[-1].position)
        index = dumped(server, "statement_index")
        states = Databases(server).log("SELECT pseudonym, purpose, state FROM person_state ORDER BY pseudonym")
        server.stop()
        # A log that is lost comes back as forgetful as it was.
        lost = postgres_url()
        restored = subprocess.run(
            [sys.executable, "-m", "lrs", "restore", "--from-kafka"],
            env={**server.environment, "GRIFFEL_DATABASE_URL": lost, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
            timeout=BOUND_S,
        )
        assert restored.returncode == 0, restored.stderr
        server.database_url = lost
        assert Databases(server).log("SELECT pseudonym, purpose, state FROM person_state ORDER BY pseudonym") == states
        assert dumped(server, "statement_index") == index
