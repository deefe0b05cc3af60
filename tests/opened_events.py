"""Events of every kind, posted to a server; and records as schemas/opened-events.schema.json has them when opened."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lrs.key_vault import KeyVault
from lrs.sealing import key_of, open_part
from schemas.envelope import NOBODY, Algorithm, Part, Purpose, SealedPart, split_parts
from tests.conformance.builders import agent, group, new_id, reference, statement
from tests.conformance.client import Api, Json, must
from tests.conformance.signing import Signer, signed_request

BOUND_S = 60
ADL = "http://adlnet.gov/expapi/"
COURSE: Json = {
    "id": "https://school.example/courses/descriptions",
    "definition": {"type": f"{ADL}activities/course", "name": {"en": "Descriptions"}},
}
MODULE: Json = {
    "id": "https://school.example/courses/descriptions/module/1",
    "definition": {"type": f"{ADL}activities/module"},
}
RAW = frozenset({Part.WRAP, Part.TOGETHER, Part.SHARE, Part.VOIDING, Part.VOIDED, Part.SEQUENCED, Part.PERSON_STATE})
"""Parts whose content is bytes and not JSON."""


def done(verb: str, **more: Any) -> Json:
    return statement(verb={"id": ADL + "verbs/" + verb}, object=COURSE, **more)


def conversation(server_url: str, key: str, secret: str) -> None:
    """Post what leads to events of every kind, with parts of every kind in them; some of it for a course's page."""
    learner = {"account": {"homePage": "https://school.example", "name": "described"}}
    registration = new_id()
    around = {"registration": registration, "instructor": agent(name="Bea"), "team": group(name="Group 7")}
    inside = {"registration": registration, "contextActivities": {"parent": [COURSE]}}
    question = {"id": "https://school.example/survey/1", "definition": {"interactionType": "likert"}}
    question["definition"]["type"] = f"{ADL}activities/cmi.interaction"
    completed = done("completed", id=new_id(), actor=learner, context={"registration": new_id()})
    finished = done("completed", actor=learner, context=around, result={"completion": True})
    passed = done("passed", actor=learner, context=around, result={"score": {"scaled": 0.85}, "success": True})
    module = statement(actor=learner, verb={"id": ADL + "verbs/completed"}, object=MODULE, context=inside)
    answered = {"id": ADL + "verbs/answered"}
    batch = [
        done("registered", actor=learner, context={"registration": registration}),
        module,
        passed,
        finished,
        completed,
        statement(actor=group(agent(), agent(name="Cy"))),
        statement(actor=group()),
        statement(actor=agent(), object=agent(name="Dee")),
        statement(verb=answered, object=question, result={"response": "3"}),
        statement(object={"objectType": "SubStatement"} | statement(context={"instructor": agent()})),
        statement(verb={"id": ADL + "verbs/voided"}, object=reference(completed["id"])),
    ]
    api = Api(server_url, key, secret, "2.0.0")
    with api.session:
        must(200, api.post(batch))
        signed = statement(id=new_id(), context={"instructor": agent()})
        jws = Signer().jws(json.dumps(signed).encode())
        must(200, api.call("POST", "statements", **signed_request(signed, jws)))
        decide(api, learner)


def decide(api: Api, learner: Json) -> None:
    """Have a learner decide this and that, and have somebody erased of whom there is nothing but a document."""
    desk = f"{api.url.removesuffix('/xapi')}/privacy/"

    def ask(path: str, **asked: Any) -> Json:
        response = api.session.post(desk + path, json=asked, timeout=30)
        assert response.ok, response.text
        return response.json()

    for restricted in (True, False):
        ask("restrictions", agent=learner, restricted=restricted)
    for given in (False, True):
        ask("consents", agent=learner, purpose="survey", given=given)
    for held in ({"held": True, "ground": "archives"}, {"held": False}):
        ask("holds", agent=learner, purpose="learning", **held)
    gone = agent()
    place = {"activityId": COURSE["id"], "agent": gone, "stateId": "bookmark"}
    must(204, api.call("PUT", "activities/state", place, data=b"7"))
    erasure = desk + "erasures/" + ask("erasures", agent=gone)["erasure"]
    deadline = time.monotonic() + BOUND_S
    while api.session.get(erasure, timeout=30).json()["state"] != "done":
        assert time.monotonic() < deadline, "not erased in time"
        time.sleep(0.1)


async def opened_events(events: Iterable[Any], vault: KeyVault) -> list[Json]:
    """Give events as JSON, opened with all their keys, which must be there."""
    return [await _opened(one, vault) for one in events]


async def _opened(event: Any, vault: KeyVault) -> Json:
    parts = list(split_parts(event.state))
    sealed = [one for one in parts if one.header.algorithm == Algorithm.AES_256_GCM]
    store = vault.secrets.store_owner
    named = [key_of(one) for one in sealed if one.header.owner not in (NOBODY, store)]
    ciphers: dict[Any, Any] = await vault.for_opening(named)
    shared: dict[int, list[bytes]] = {Part.WRAP: [], Part.TOGETHER: [], Part.SHARE: []}

    def content(part: SealedPart) -> bytes:
        header = part.header
        if header.algorithm == Algorithm.CLEAR:
            return part.box
        cipher = vault.secrets.store_key if header.owner == store else ciphers.get(key_of(part))
        if header.owner == NOBODY:
            halves = [*shared[Part.WRAP][:1], *shared[Part.TOGETHER]]
            keys = halves if header.part == Part.BODY else shared[Part.SHARE]
            total = 0
            for key in keys:
                total ^= int.from_bytes(key)
            cipher = AESGCM(total.to_bytes(32))
        plain = open_part(cipher, part, event.originator_id)
        if header.part in shared:
            shared[header.part].append(plain)
        return plain

    # Those that hold others' keys come first.
    order = sorted(range(len(parts)), key=lambda at: parts[at].header.owner == NOBODY)
    plain = {at: content(parts[at]) for at in order}
    return {
        "kind": event.topic,
        "originator_id": event.originator_id.hex(),
        "version": event.version,
        "record_key": event.record_key.hex(),
        "parts": [_told(part, plain[at]) for at, part in enumerate(parts)],
    }


def _told(part: SealedPart, plain: bytes) -> Json:
    header = part.header
    return {
        "part": Part(header.part).name.lower(),
        "algorithm": Algorithm(header.algorithm).name,
        "purpose": Purpose(header.purpose).name.lower(),
        "year": header.year,
        "owner": None if header.owner == NOBODY else header.owner.hex(),
        "key_version": header.key_version,
        "schema": header.schema,
        "content": plain.hex() if header.part in RAW else orjson.loads(plain),
    }
