"""Communication 2.1.3: each filter of GET statements finds what it should, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from .builders import activity, agent, group, iri, new_id, reference, statement, substatement, verb
from .client import Api, must, only, requirement, row


class Scene:
    """One story of statements that every filter is asked about."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.learner, self.team_member = agent(name="Ann"), agent()
        self.team = group(self.team_member, name="Team")
        self.course, self.shelf, self.parent = activity(name={"en": "Course"}), activity(), activity()
        self.read, self.wrote = verb(), verb()
        self.registration = new_id()
        context = {"registration": self.registration, "contextActivities": {"parent": [self.parent]}}
        story = {
            "plain": statement(actor=self.learner, verb=self.read, object=self.course, context=context),
            "other verb": statement(actor=self.learner, verb=self.wrote, object=self.shelf),
            "as object": statement(object=self.learner, verb=self.wrote),
            "member": statement(actor=group(agent(), self.learner), verb=self.read),
            "instructor": statement(context={"instructor": self.learner}),
            "team": statement(context={"team": self.team}),
            "grouped": statement(context={"contextActivities": {"grouping": self.course}}),
            "inside": statement(object=substatement(actor=self.learner, verb=self.read, object=self.course)),
            "inside context": statement(
                object=substatement(context={"instructor": self.learner, "contextActivities": {"other": [self.course]}})
            ),
            "unrelated": statement(),
        }
        self.ids = dict(zip(story, api.store(*story.values()), strict=True))
        self.tell("comment", object=reference(self.ids["plain"]))
        self.tell("comment on comment", object=reference(self.ids["comment"]))
        self.tell("mention", context={"statement": reference(self.ids["plain"])})

    def tell(self, name: str, **parts: Any) -> None:
        [self.ids[name]] = self.api.store(statement(**parts))

    def found(self, **params: Any) -> set[str]:
        names = {statement_id: name for name, statement_id in self.ids.items()}
        return {names[statement_id] for statement_id in self.api.found(**params) if statement_id in names}

    def stored(self, name: str) -> str:
        return self.api.fetch(self.ids[name])["stored"]


@pytest.fixture(scope="module")
def scene(api: Api) -> Scene:
    return Scene(api)


COMMENTS = {"comment", "comment on comment"}
BY_LEARNER = {"plain", "other verb", "as object", "member"} | COMMENTS
BY_COURSE = {"plain"} | COMMENTS

FILTERS = [
    row("XAPI-00181 XAPI-00164", "agent", lambda s: {"agent": s.learner}, BY_LEARNER),
    row("XAPI-00181", "agent without name", lambda s: {"agent": {"mbox": s.learner["mbox"]}}, BY_LEARNER),
    row(
        "XAPI-00176 XAPI-00164",
        "related agents",
        lambda s: {"agent": s.learner, "related_agents": True},
        BY_LEARNER | {"instructor", "inside", "inside context"},
    ),
    row("XAPI-00176", "unrelated agents", lambda s: {"agent": s.learner, "related_agents": False}, BY_LEARNER),
    row("XAPI-00176", "member of a team", lambda s: {"agent": s.team_member, "related_agents": True}, {"team"}),
    row("XAPI-00176", "member of a team, unrelated", lambda s: {"agent": s.team_member}, set()),
    row(
        "XAPI-00180 XAPI-00164",
        "verb",
        lambda s: {"verb": s.read["id"]},
        {"plain", "member"} | COMMENTS,
    ),
    row("XAPI-00179 XAPI-00164", "activity", lambda s: {"activity": s.course["id"]}, BY_COURSE),
    row("XAPI-00179", "another activity", lambda s: {"activity": s.shelf["id"]}, {"other verb"}),
    row(
        "XAPI-00177 XAPI-00164",
        "related activities",
        lambda s: {"activity": s.course["id"], "related_activities": True},
        BY_COURSE | {"grouped", "inside", "inside context"},
    ),
    row("XAPI-00177", "a parent", lambda s: {"activity": s.parent["id"], "related_activities": True}, BY_COURSE),
    row("XAPI-00177", "a parent, unrelated", lambda s: {"activity": s.parent["id"]}, set()),
    row("XAPI-00178 XAPI-00164", "registration", lambda s: {"registration": s.registration}, BY_COURSE),
    row(
        "XAPI-00164",
        "agent and verb",
        lambda s: {"agent": s.learner, "verb": s.wrote["id"]},
        {"other verb", "as object"},
    ),
    row(
        "XAPI-00164",
        "agent, verb and activity",
        lambda s: {"agent": s.learner, "verb": s.read["id"], "activity": s.course["id"]},
        BY_COURSE,
    ),
    row(
        "XAPI-00164",
        "agent of one, activity of another",
        lambda s: {"agent": s.learner, "activity": s.shelf["id"], "verb": s.read["id"]},
        set(),
    ),
]


@pytest.mark.parametrize(("params", "expected"), FILTERS)
def test_a_filter_finds_what_it_should(scene: Scene, params: Any, expected: set[str]) -> None:
    assert scene.found(**params(scene)) == expected


@requirement("XAPI-00181")
def test_an_agent_is_found_by_the_same_identifier_only(api: Api) -> None:
    account = {"homePage": "https://school.example/accounts", "name": new_id()}
    [given] = api.store(statement(actor={"account": account}))
    assert api.found(agent={"account": account}) == [given]
    assert api.found(agent={"account": account | {"homePage": "https://other.example"}}) == []
    assert api.found(agent={"account": account | {"name": account["name"].upper()}}) == []


@requirement("XAPI-00181")
def test_an_identified_group_is_found_by_its_identifier(api: Api) -> None:
    team = group(name="Team")
    [given] = api.store(statement(actor=team))
    assert api.found(agent={"objectType": "Group", "account": team["account"]}) == [given]


@requirement("XAPI-00175", "XAPI-00164")
def test_since_leaves_out_its_own_moment(scene: Scene) -> None:
    assert scene.found(agent=scene.learner, since=scene.stored("as object")) == {"member"} | COMMENTS
    assert scene.found(agent=scene.learner, since=scene.stored("comment on comment")) == set()


@requirement("XAPI-00174", "XAPI-00164")
def test_until_takes_in_its_own_moment(scene: Scene) -> None:
    assert scene.found(agent=scene.learner, until=scene.stored("as object")) == {"plain", "other verb", "as object"}
    assert scene.found(agent=scene.learner, until="2012-06-01T19:09:13.245Z") == set()


@requirement("XAPI-00174", "XAPI-00175")
def test_since_and_until_are_about_stored_not_timestamp(api: Api) -> None:
    actor = agent()
    [given] = api.store(statement(actor=actor, timestamp="2001-01-01T00:00:00Z"))
    assert api.found(agent=actor, since="2012-06-01T00:00:00Z") == [given]
    assert api.found(agent=actor, until="2012-06-01T00:00:00Z") == []


@requirement("XAPI-00166", "XAPI-00164")
def test_ascending_turns_the_order(scene: Scene) -> None:
    newest_first = scene.api.found(agent=scene.learner)
    assert scene.api.found(agent=scene.learner, ascending=False) == newest_first
    assert scene.api.found(agent=scene.learner, ascending=True) == newest_first[::-1]
    times = [scene.api.fetch(given)["stored"] for given in newest_first]
    assert times == sorted(times, reverse=True)


@requirement("XAPI-00173", "XAPI-00164")
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_limit_is_how_many_come_at_most(scene: Scene, limit: int) -> None:
    everything = scene.api.found(agent=scene.learner)
    assert scene.api.found(agent=scene.learner, limit=limit) == everything[:limit]


@requirement("XAPI-00173")
def test_limit_zero_means_what_the_server_allows(scene: Scene) -> None:
    assert scene.api.found(agent=scene.learner, limit=0) == scene.api.found(agent=scene.learner)


@requirement("XAPI-00154", "XAPI-00164")
def test_without_filter_the_newest_come_first(api: Api) -> None:
    stored = api.store(statement(), statement())
    assert api.found(limit=2) == stored[::-1]


@only("2.0.0")
@requirement("XAPI-00176", "IEEE-context-agents", "IEEE-context-groups")
def test_people_of_a_context_are_related(api: Api) -> None:
    one, other = agent(), agent()
    kinds = [iri("type")]
    context = {
        "contextAgents": [{"objectType": "contextAgent", "agent": one, "relevantTypes": kinds}],
        "contextGroups": [{"objectType": "contextGroup", "group": group(other), "relevantTypes": kinds}],
    }
    [given] = api.store(statement(context=context))
    for person in (one, other):
        assert api.found(agent=person, related_agents=True) == [given]
        assert api.found(agent=person) == []


@requirement("XAPI-00164")
def test_the_target_of_a_reference_may_come_later(api: Api) -> None:
    target = statement(id=new_id())
    [comment] = api.store(statement(object=reference(target["id"])))
    assert api.found(agent=target["actor"]) == []
    api.store(target)
    assert api.found(agent=target["actor"]) == [target["id"], comment]


@requirement("XAPI-00181", "XAPI-00012")
@pytest.mark.parametrize("person", [{"mbox": "mailto:a@b.example", "openid": iri("id")}, [], "{", group(agent())])
def test_an_agent_that_names_nobody_is_refused(api: Api, person: Any) -> None:
    must(400, api.get(agent=person))
