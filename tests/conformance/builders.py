"""Builds statements, and changes one thing about them: what the tables of the tests are made of."""

from __future__ import annotations

import copy
import hashlib
import uuid
from typing import Any

from .client import Json

GONE: Any = object()
"""As a new value: take the property away."""

VOIDED = "http://adlnet.gov/expapi/verbs/voided"

EXTENSION = "https://school.example/extension/tempo"


def new_id() -> str:
    return str(uuid.uuid4())


def iri(kind: str = "activity") -> str:
    """An IRI that nothing else uses."""
    return f"https://school.example/{kind}/{new_id()}"


def identifiers() -> dict[str, Any]:
    """One new value of each inverse functional identifier."""
    mbox = f"mailto:{new_id()}@school.example"
    return {
        "mbox": mbox,
        "mbox_sha1sum": hashlib.sha1(mbox.encode(), usedforsecurity=False).hexdigest(),
        "openid": iri("openid"),
        "account": {"homePage": "https://school.example/accounts", "name": new_id()},
    }


def agent(**more: Any) -> Json:
    return {"objectType": "Agent", "mbox": identifiers()["mbox"]} | more


def group(*members: Json, **more: Any) -> Json:
    """An anonymous group of these members, else an identified one."""
    who = {"member": list(members)} if members else {"account": identifiers()["account"]}
    return {"objectType": "Group"} | who | more


def activity(**definition: Any) -> Json:
    return {"objectType": "Activity", "id": iri()} | ({"definition": definition} if definition else {})


def verb(**more: Any) -> Json:
    return {"id": iri("verb")} | more


def reference(statement_id: str | None = None) -> Json:
    return {"objectType": "StatementRef", "id": statement_id or new_id()}


def statement(**parts: Any) -> Json:
    """The least that is a statement, with these parts."""
    return {"actor": agent(), "verb": verb(), "object": activity()} | parts


def substatement(**parts: Any) -> Json:
    return {"objectType": "SubStatement"} | statement(**parts)


def voiding(statement_id: str, **parts: Any) -> Json:
    return statement(verb={"id": VOIDED}, object=reference(statement_id), **parts)


def attachment(content: bytes = b"", **more: Any) -> Json:
    """The entry of an attachment that lies elsewhere; `fileUrl=GONE` for one that is sent along."""
    entry = {
        "usageType": "https://school.example/usage/report",
        "display": {"en": "A report"},
        "description": {"en": "What was written"},
        "contentType": "text/plain",
        "length": len(content),
        "sha2": hashlib.sha256(content).hexdigest(),
        "fileUrl": "https://school.example/reports/1",
    }
    return {name: value for name, value in (entry | more).items() if value is not GONE}


def _everything() -> Json:
    """Every property that a statement and a sub-statement may both have."""
    definition = {
        "name": {"en": "Long division"},
        "description": {"en": "Dividing by hand"},
        "type": "http://adlnet.gov/expapi/activities/cmi.interaction",
        "moreInfo": "https://school.example/about/division",
        "interactionType": "choice",
        "correctResponsesPattern": ["a[,]b"],
        "choices": [{"id": "a", "description": {"en": "One"}}, {"id": "b", "description": {"en": "Two"}}],
        "extensions": {EXTENSION: "slow"},
    }
    return {
        "actor": agent(name="Ann"),
        "verb": verb(display={"en": "answered"}),
        "object": activity(**definition),
        "result": {
            "score": {"scaled": 0.5, "raw": 5, "min": 0, "max": 10},
            "success": True,
            "completion": True,
            "response": "a[,]b",
            "duration": "PT4H35M59.14S",
            "extensions": {EXTENSION: 1},
        },
        "context": {
            "registration": new_id(),
            "instructor": agent(name="Bea"),
            "team": group(name="Group 7"),
            "contextActivities": {"parent": [activity()], "grouping": [activity()]},
            "revision": "2",
            "platform": "Paper",
            "language": "en-GB",
            "statement": reference(),
            "extensions": {EXTENSION: {"a": 1}},
        },
        "timestamp": "2024-02-29T08:30:00.123Z",
    }


INTERACTION_TYPES = (
    *("true-false", "choice", "fill-in", "long-fill-in", "matching"),
    *("performance", "sequencing", "likert", "numeric", "other"),
)

HOSTS = {"statement": "", "sub-statement": "object/"}
"""Where a mutation applies: to the statement itself, or to a sub-statement that is its object."""


def full(host: str = "statement") -> Json:
    """A statement that uses every property, or one whose sub-statement does."""
    if host == "statement":
        return _everything()
    return statement(object={"objectType": "SubStatement"} | _everything())


def changed(base: Json, changes: dict[str, Any], prefix: str = "") -> Json:
    """A copy of base with these places (keys joined by slashes; `~1` for a slash in a key) set to new values."""
    result = copy.deepcopy(base)
    for path, value in changes.items():
        *way, last = [_key(name) for name in (prefix + path).split("/")]
        place: Any = result
        for name in way:
            place = place[name]
        if value is GONE:
            del place[last]
        else:
            place[last] = value
    return result


def _key(name: str) -> str | int:
    return int(name) if name.isdecimal() else name.replace("~1", "/")


def altered(host: str, changes: dict[str, Any]) -> Json:
    """A full statement with the changes made in its host."""
    return changed(full(host), changes, HOSTS[host])


PERSON_PLACES = ("actor", "authority", "instructor", "object", "sub-actor", "sub-instructor")
"""Where an agent or a group may stand; only a group: `team`, `sub-team`."""


def with_person(place: str, person: Any) -> Json:
    """A statement that names a person, or a group, in one place."""
    if place.startswith("sub-"):
        inner = with_person(place.removeprefix("sub-"), person)
        return statement(object={"objectType": "SubStatement"} | inner)
    if place in {"instructor", "team"}:
        return statement(context={place: person})
    return statement(**{place: person})
