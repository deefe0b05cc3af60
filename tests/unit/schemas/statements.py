"""Statements of every shape, for properties that must hold of all of them."""

from __future__ import annotations

import hashlib
from typing import Any

from hypothesis import strategies as st

from schemas.statement import check_statement, normalise_statement

Json = dict[str, Any]

PEOPLE = 6
HOME = "https://school.example/accounts"
TEXTS = st.text(max_size=12)


def person(number: int, kind: str) -> Json:
    """One of a few people, by one of the identifiers they have; mbox and mbox_sha1sum are the same person's."""
    mbox = f"mailto:person-{number}@school.example"
    identity: dict[str, Json] = {
        "mbox": {"mbox": mbox},
        "mbox_sha1sum": {"mbox_sha1sum": hashlib.sha1(mbox.encode(), usedforsecurity=False).hexdigest()},
        "openid": {"openid": f"https://id.school.example/person-{number}"},
        "account": {"account": {"homePage": HOME, "name": f"person-{number}"}},
    }
    return identity[kind]


IDENTITIES = st.builds(person, st.integers(1, PEOPLE), st.sampled_from(["mbox", "mbox_sha1sum", "openid", "account"]))


@st.composite
def agents(draw: st.DrawFn, *, bare: bool = True) -> Json:
    """An agent; `bare` where it may leave its objectType out."""
    agent = dict(draw(IDENTITIES))
    if not bare or draw(st.booleans()):
        agent["objectType"] = "Agent"
    if draw(st.booleans()):
        agent["name"] = draw(TEXTS)
    return agent


@st.composite
def groups(draw: st.DrawFn) -> Json:
    """A group: anonymous with members, or identified, with or without."""
    group: Json = {"objectType": "Group"}
    identified = draw(st.booleans())
    if identified:
        group |= draw(IDENTITIES)
    if draw(st.booleans()):
        group["name"] = draw(TEXTS)
    if not identified or draw(st.booleans()):
        group["member"] = draw(st.lists(agents(), min_size=0 if identified else 1, max_size=3))
    return group


ACTORS = st.one_of(agents(), groups())
ACTIVITIES = st.builds(
    lambda number, named: (
        {"id": f"https://school.example/activity/{number}"}
        | ({"objectType": "Activity", "definition": {"name": {"en": "An activity"}}} if named else {})
    ),
    st.integers(1, 4),
    st.booleans(),
)
REFERENCES = st.uuids().map(lambda uuid: {"objectType": "StatementRef", "id": str(uuid)})
VERBS = st.sampled_from(["answered", "completed", "experienced"]).map(
    lambda name: {"id": f"http://adlnet.gov/expapi/verbs/{name}", "display": {"en": name}}
)
RESULTS = st.fixed_dictionaries(
    {}, optional={"response": TEXTS, "success": st.booleans(), "score": st.just({"scaled": 0.5})}
)


def contexts(*, with_activity: bool) -> st.SearchStrategy[Json]:
    context_agents = st.builds(lambda agent: {"objectType": "contextAgent", "agent": agent}, agents())
    context_groups = st.builds(lambda group: {"objectType": "contextGroup", "group": group}, groups())
    optional: dict[str, st.SearchStrategy[Any]] = {
        "instructor": ACTORS,
        "team": groups(),
        "contextAgents": st.lists(context_agents, max_size=2),
        "contextGroups": st.lists(context_groups, max_size=2),
        "registration": st.uuids().map(str),
        "contextActivities": st.fixed_dictionaries({}, optional={"parent": st.lists(ACTIVITIES, max_size=2)}),
    }
    if with_activity:
        optional["platform"] = TEXTS
    return st.fixed_dictionaries({}, optional=optional)


@st.composite
def statements(draw: st.DrawFn, *, inside: bool = False) -> Json:
    """A checked and normalised statement; `inside` another one as its object."""
    targets = [ACTIVITIES, agents(bare=False), groups(), REFERENCES]
    if not inside:
        targets.append(statements(inside=True))
    target = draw(st.one_of(targets))
    statement: Json = {"actor": draw(ACTORS), "verb": draw(VERBS), "object": target}
    if draw(st.booleans()):
        with_activity = target.get("objectType", "Activity") == "Activity"
        statement["context"] = draw(contexts(with_activity=with_activity))
    if draw(st.booleans()):
        statement["result"] = draw(RESULTS)
    if inside:
        return {"objectType": "SubStatement", **statement}
    if draw(st.booleans()):
        application = {"account": {"homePage": HOME, "name": "application"}}
        pairs = agents().map(lambda user: {"objectType": "Group", "member": [application, user]})
        statement["authority"] = draw(st.one_of(agents(), pairs))
    check_statement(statement, "2.0.0")
    normalise_statement(statement)
    return statement


STATEMENTS = statements()
