"""The Python client `tincan`, as it comes from PyPI: it speaks 1.0.x.

What it cannot do is not tried: it sends no attachment's bytes and does not read multipart answers; its `about` refuses
any version later than its own; it has no If-None-Match, without which 1.0.3 makes no profile document; what is not
ASCII in a document it sends in Latin-1. It saves each state twice (an oversight of its own), which must do no harm, and
does not look for ETags; a caller who needs one takes it from the answer.
"""

from __future__ import annotations

import datetime
import hashlib
import uuid
from typing import Any

import pytest
import requests
from tincan import (
    Activity,
    ActivityDefinition,
    ActivityProfileDocument,
    Agent,
    AgentAccount,
    AgentProfileDocument,
    Attachment,
    AttachmentList,
    Context,
    ContextActivities,
    Group,
    LanguageMap,
    LRSResponse,
    RemoteLRS,
    Result,
    Score,
    StateDocument,
    Statement,
    StatementRef,
    SubStatement,
    Verb,
)

from tests.services import Griffel

VERBS = "http://adlnet.gov/expapi/verbs/"


@pytest.fixture(params=["1.0.3", "1.0.2", "1.0.1", "1.0.0"])
def client(request: pytest.FixtureRequest, lrs: Griffel) -> RemoteLRS:
    """The client in each version that it speaks."""
    return RemoteLRS(version=request.param, endpoint=lrs.url, username=lrs.key, password=lrs.secret)


@pytest.fixture
def modern(lrs: Griffel) -> RemoteLRS:
    return RemoteLRS(endpoint=lrs.url, username=lrs.key, password=lrs.secret)


def succeeded(response: LRSResponse) -> Any:
    """What a successful answer holds."""
    assert response.success, f"{response.response.status}: {response.data!r}"
    return response.content


def status(response: LRSResponse) -> int:
    return int(response.response.status)


def etag(response: LRSResponse) -> str:
    return str(response.response.getheader("ETag"))


def learner() -> Agent:
    return Agent(name="Ann", account=AgentAccount(home_page="https://school.example", name=str(uuid.uuid4())))


def activity() -> Activity:
    definition = ActivityDefinition(
        name=LanguageMap({"en": "Long division"}),
        description=LanguageMap({"en": "Dividing by hand"}),
        type="http://adlnet.gov/expapi/activities/module",
    )
    return Activity(id=f"https://school.example/modules/{uuid.uuid4()}", definition=definition)


def statement(**parts: Any) -> Statement:
    told = {
        "actor": learner(),
        "verb": Verb(id=VERBS + "completed", display=LanguageMap({"en": "completed"})),
        "object": activity(),
    }
    return Statement(**(told | parts))


def rich(client: RemoteLRS) -> Statement:
    """A statement with all that the client has classes for."""
    content = b"an essay"
    attached = Attachment(
        usage_type="https://school.example/usage/essay",
        display=LanguageMap({"en": "An essay"}),
        content_type="text/plain",
        length=len(content),
        sha2=hashlib.sha256(content).hexdigest(),
        fileurl="https://school.example/essays/1",
    )
    return statement(
        id=str(uuid.uuid4()),
        version=client.version,
        timestamp=datetime.datetime(2024, 5, 6, 7, 8, 9, 123000, tzinfo=datetime.UTC),
        result=Result(
            score=Score(scaled=0.5, raw=5, min=0, max=10),
            success=True,
            completion=True,
            duration=datetime.timedelta(minutes=90),
            response="long",
            extensions={"https://school.example/tempo": "slow"},
        ),
        context=Context(
            registration=str(uuid.uuid4()),
            instructor=Agent(mbox="mailto:bea@school.example"),
            team=Group(name="Group 7", member=[Agent(mbox="mailto:cas@school.example")]),
            language="en-GB",
            platform="Paper",
            context_activities=ContextActivities(parent=[activity()]),
            statement=StatementRef(id=str(uuid.uuid4())),
        ),
        attachments=AttachmentList([attached]),
    )


def test_a_statement_is_saved_and_retrieved(client):
    saved = rich(client)
    succeeded(client.save_statement(saved))
    found = succeeded(client.retrieve_statement(str(saved.id)))
    assert found.id == saved.id
    assert found.stored.tzinfo is not None
    assert found.authority.account.name
    for part in ("actor", "verb", "object", "result", "context", "attachments", "timestamp"):
        assert vars_of(getattr(found, part)) == vars_of(getattr(saved, part)), part


def vars_of(value: Any) -> Any:
    """What a value of the client says in JSON, or the value itself."""
    return value.to_json() if hasattr(value, "to_json") else value


def test_a_statement_without_an_id_is_given_one(client):
    saved = succeeded(client.save_statement(statement()))
    assert succeeded(client.retrieve_statement(str(saved.id))).actor.account.name == saved.actor.account.name


def test_a_statement_about_a_person_and_a_substatement_are_saved(client):
    inner = SubStatement(actor=learner(), verb=Verb(id=VERBS + "attempted"), object=activity())
    for target in (learner(), inner, StatementRef(id=str(uuid.uuid4()))):
        saved = succeeded(client.save_statement(statement(object=target)))
        assert vars_of(succeeded(client.retrieve_statement(str(saved.id))).object) == vars_of(target)


def test_a_batch_is_saved_and_another_with_a_used_id_is_refused_whole(client):
    actor = learner()
    saved = succeeded(client.save_statements([statement(actor=actor) for _ in range(5)]))
    assert len({one.id for one in saved}) == 5
    fresh = statement(actor=actor)
    refused = client.save_statements([fresh, statement(actor=actor, id=saved[0].id)])
    assert status(refused) == 409
    found = succeeded(client.query_statements({"agent": actor})).statements
    assert {one.id for one in found} == {one.id for one in saved}


def test_a_query_is_paged_through_to_its_end(client):
    actor, verb = learner(), Verb(id=VERBS + "experienced")
    saved = succeeded(client.save_statements([statement(actor=actor, verb=verb) for _ in range(7)]))
    for ascending in (True, False):
        query = {"agent": actor, "verb": verb, "limit": 3, "ascending": ascending}
        result = succeeded(client.query_statements(query))
        pages = [result.statements]
        while result.more:
            result = succeeded(client.more_statements(result))
            pages.append(result.statements)
        assert [len(page) for page in pages] == [3, 3, 1]
        ids = [one.id for page in pages for one in page]
        expected = [one.id for one in saved]
        assert ids == (expected if ascending else expected[::-1])


def test_each_filter_of_a_query_finds_the_statement(client):
    saved = rich(client)
    succeeded(client.save_statement(saved))
    stored = succeeded(client.retrieve_statement(str(saved.id))).stored
    moment = datetime.timedelta(microseconds=1)
    filters = [
        {"registration": saved.context.registration},
        {"activity": saved.object},
        {"activity": saved.context.context_activities.parent[0], "related_activities": True},
        {"agent": saved.context.instructor, "related_agents": True, "registration": saved.context.registration},
        {"agent": saved.actor, "verb": saved.verb, "format": "ids"},
        {"agent": saved.actor, "format": "canonical"},
        {"agent": saved.actor, "since": (stored - moment).isoformat(), "until": stored.isoformat()},
    ]
    for query in filters:
        found = succeeded(client.query_statements(query)).statements
        assert [one.id for one in found] == [saved.id], query
    for query in ({"since": stored.isoformat()}, {"until": (stored - moment).isoformat()}):
        assert list(succeeded(client.query_statements({"agent": saved.actor, **query})).statements) == []


def test_a_voided_statement_is_retrieved_as_voided_only(client):
    saved = succeeded(client.save_statement(statement()))
    voiding = statement(verb=Verb(id=VERBS + "voided"), object=StatementRef(id=str(saved.id)))
    voiding = succeeded(client.save_statement(voiding))
    assert succeeded(client.retrieve_voided_statement(str(saved.id))).id == saved.id
    assert status(client.retrieve_statement(str(saved.id))) == 404
    # What voids it refers to it, so it is found by the same filters (Communication 2.1.3).
    found = succeeded(client.query_statements({"activity": saved.object})).statements
    assert [one.id for one in found] == [voiding.id]


def test_state_documents_are_saved_listed_retrieved_and_deleted(client):
    actor, course = learner(), activity()
    documents = [
        StateDocument(id=name, activity=course, agent=actor, content=bytearray(content), content_type=kind)
        for name, content, kind in (
            ("bookmark", b'{"page": 3}', "application/json"),
            ("notes", b"chapter 3", "text/plain; charset=utf-8"),
            ("raw", b"\x00\x01\x7f", None),
        )
    ]
    for document in documents:
        succeeded(client.save_state(document))
        kept = client.retrieve_state(course, actor, document.id)
        assert bytes(succeeded(kept).content) == bytes(document.content)
        assert kept.response.getheader("Content-Type") == (document.content_type or "application/octet-stream")
    assert sorted(succeeded(client.retrieve_state_ids(course, actor))) == ["bookmark", "notes", "raw"]
    document = documents[0]
    document.etag = '"0123456789012345678901234567890123456789"'
    assert status(client.delete_state(document)) == 412
    document.etag = etag(client.retrieve_state(course, actor, document.id))
    succeeded(client.delete_state(document))
    assert status(client.retrieve_state(course, actor, document.id)) == 404
    assert sorted(succeeded(client.retrieve_state_ids(course, actor))) == ["notes", "raw"]
    succeeded(client.clear_state(course, actor))
    assert succeeded(client.retrieve_state_ids(course, actor)) == []


def test_an_agent_profile_is_retrieved_changed_under_its_etag_and_deleted(modern, lrs):
    actor = learner()
    keep_profile(
        AgentProfileDocument(id="preferences", agent=actor),
        make=lambda content: made(lrs, "agents/profile", content, profileId="preferences", agent=actor.to_json()),
        save=modern.save_agent_profile,
        delete=modern.delete_agent_profile,
        retrieve=lambda: modern.retrieve_agent_profile(actor, "preferences"),
        ids=lambda: modern.retrieve_agent_profile_ids(actor),
    )


def test_an_activity_profile_is_retrieved_changed_under_its_etag_and_deleted(modern, lrs):
    course = activity()
    keep_profile(
        ActivityProfileDocument(id="scores", activity=course),
        make=lambda content: made(lrs, "activities/profile", content, profileId="scores", activityId=course.id),
        save=modern.save_activity_profile,
        delete=modern.delete_activity_profile,
        retrieve=lambda: modern.retrieve_activity_profile(course, "scores"),
        ids=lambda: modern.retrieve_activity_profile_ids(course),
    )


def made(lrs: Griffel, resource: str, content: bytes, **place: str) -> int:
    """Make a document as 1.0.3 wants it, with If-None-Match, which this client cannot send."""
    headers = lrs.headers("1.0.3") | {"If-None-Match": "*", "Content-Type": "application/json"}
    return requests.put(f"{lrs.url}/{resource}", content, params=place, headers=headers, timeout=30).status_code


def keep_profile(document: Any, *, make: Any, save: Any, delete: Any, retrieve: Any, ids: Any) -> None:
    """The life of a profile document."""
    document.content, document.content_type = bytearray(b'{"a": 1}'), "application/json"
    assert status(retrieve()) == 404
    assert status(save(document)) == 400, "neither header was sent (1.0.3, Communication 3.1)"
    assert succeeded(ids()) == []
    assert make(b'{"a": 0}') == 204
    assert succeeded(ids()) == [document.id]
    assert status(save(document)) == 409, "there is one, and neither header was sent"
    document.etag = etag(retrieve())
    succeeded(save(document))
    assert bytes(succeeded(retrieve()).content) == b'{"a": 1}'
    document.content = bytearray(b'{"a": 2}')
    assert status(save(document)) == 412, "changed since that ETag"
    assert status(delete(document)) == 412
    assert bytes(succeeded(retrieve()).content) == b'{"a": 1}'
    document.etag = etag(retrieve())
    succeeded(delete(document))
    assert succeeded(ids()) == []
    assert status(retrieve()) == 404
