"""What schemas/ says of routes, answers, events and records, held against a running server and a real Kafka."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema_rs
import pytest
import requests

from lrs import places
from lrs.config import Mode, Settings
from lrs.event_log import Event
from lrs.http.call import Limits
from lrs.server import application
from schemas.envelope import Part
from schemas.events import KINDS
from schemas.records import HeadMarker, read_record
from tests.acceptance.cluster import command
from tests.copied_log import logged, records, relayed, wait_until
from tests.descriptions import METHODS, OPENAPI, OPENED, Json, escaped, follow, header_validator, validator
from tests.kafka_services import ExternalKafka
from tests.opened_events import conversation, opened_events
from tests.services import Griffel, running

BOUND_S = 60
PARTITIONS = 4
KINDS_OF_PARTS = {part.name.lower() for part in Part} - {"document", "document_id", "credential", "row"}
SELDOM = {"activity_forgotten", "retention_expired"}
"""They come after records that nobody can open (test_erasure.py), or after years (test_retention.py), and say what a
`restriction_changed` says."""
VALID_EVENT = jsonschema_rs.validator_for(OPENED)


@pytest.fixture(scope="module")
def server(make_lrs: Callable[..., Griffel]) -> Iterator[Griffel]:
    """An embedded server that has events of every kind, and a course."""
    with running(make_lrs("embedded")) as server:
        conversation(server.url, server.key, server.secret)
        wait_until(lambda: bool(get(server, "/streams/completions/events", params={"wait_s": 5}).json()["events"]))
        yield server


@pytest.fixture(scope="module")
def course(server: Griffel) -> str:
    """The id of the course, of which everything is in the views."""
    entry = get(server, "/streams/completions/events").json()["events"][0]
    return str(entry["subject"])


def get(server: Griffel, path: str, **options: Any) -> requests.Response:
    auth = options.pop("auth", (server.key, server.secret))
    return requests.get(server.base + path, auth=auth, timeout=BOUND_S, allow_redirects=False, **options)


# ── routes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def served_paths() -> set[str]:
    """Every path of the application, as the description writes it, but for the one that takes whatever is left."""
    views = SimpleNamespace(courses=None)
    services: Any = SimpleNamespace(
        limits=Limits(), cors_origin="*", views=views, guard=None, policy=None, purposes=None
    )
    app = application(services, Settings())
    paths = {route.resource.canonical for route in app.router.routes() if route.resource is not None}
    return {path.replace("{rest}", "/{rest}") for path in paths - {"/{path}"}}


def test_what_is_served_is_described_and_what_is_described_is_served() -> None:
    assert set(OPENAPI["paths"]) == served_paths()


# These stand for another method in a form (1.0.3), and are refused without one.
ALTERNATE_ALONE = {("/xapi/activities", "post"), ("/xapi/agents", "post"), ("/xapi/about", "post")}
# Here no method is known.
ANYTHING = "/xapi/extensions/{rest}"


@pytest.mark.parametrize("path", sorted(set(OPENAPI["paths"]) - {ANYTHING}))
def test_a_path_has_the_methods_that_are_described_and_no_others(server: Griffel, path: str, course: str) -> None:
    there = path.format(token="x", id=course, name="x", version="x")
    taken = set()
    for method in METHODS:
        with requests.request(
            method,
            server.base + there,
            auth=(server.key, server.secret),
            headers={"X-Experience-API-Version": "2.0.0"},
            timeout=BOUND_S,
            allow_redirects=False,
            stream=True,
        ) as response:
            if response.status_code != 405:
                taken.add(method)
            elif "Allow" in response.headers:
                assert method.upper() not in response.headers["Allow"].split(", ")
    described = {method for method in OPENAPI["paths"][path] if (path, method) not in ALTERNATE_ALONE}
    assert taken == described


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def described(method: str, path: str, response: requests.Response) -> requests.Response:
    """The answer, which must be one that is described: status, media type, content, headers."""
    operation = OPENAPI["paths"][path][method]
    told = operation["responses"].get(str(response.status_code))
    assert told is not None, f"{response.status_code} is not described: {response.text[:300]}"
    told, pointer = follow(told, OPENAPI)
    place = pointer or f"#/paths/{escaped(path)}/{method}/responses/{response.status_code}"
    if content := told.get("content"):
        media_type = response.headers["Content-Type"].partition(";")[0]
        assert media_type in content, place
        schema = content[media_type]["schema"]
        value = response.json() if media_type.endswith("json") else response.text
        checked = jsonschema_rs.validator_for(schema | {"components": OPENAPI["components"]})
        checked.validate(value)
    else:
        assert response.content == b"", place
    for name, header in told.get("headers", {}).items():
        _, where = follow(header, OPENAPI)
        assert where is not None
        if name in response.headers:
            validator(OPENAPI, f"{where}/schema").validate(response.headers[name])
    return response


JSON, CSV, HTML = ({"Accept": one} for one in ("application/json", "text/csv", "text/html"))
BOTH = [
    *[("/courses", accept, 200) for accept in (JSON, CSV, HTML)],
    *[("/courses/{id}", accept, 200) for accept in (JSON, CSV, HTML)],
    *[(f"/courses{suffix}", {}, 200) for suffix in (".json", ".csv", "/{id}.json", "/{id}.csv")],
    *[("/", accept, 200) for accept in (JSON, HTML)],
    *[(path, {}, 200) for path in ("/health/live", "/health/ready", "/metrics", "/streams/completions/events")],
    *[(path, {}, 200) for path in ("/privacy/policy", "/privacy/notices", "/privacy/purposes", "/.well-known/privacy")],
    ("/privacy/policy", HTML, 200),
    *[("/privacy/policy/{version}", accept, 200) for accept in (JSON, HTML)],
    ("/sign-in", {}, 303),
]


@pytest.mark.parametrize(("path", "headers", "status"), BOTH)
def test_an_answer_is_as_described(server: Griffel, course: str, path: str, headers: Json, status: int) -> None:
    there = path.format(id=course, version="2017-01-01")
    response = described("get", path, get(server, there, headers=headers))
    assert response.status_code == status
    declared = OPENAPI["paths"][path]["get"]["responses"][str(status)].get("headers", {})
    assert [name for name in declared if name not in response.headers] == []


def test_the_answers_that_are_checked_say_something(server: Griffel, course: str) -> None:
    report = get(server, f"/courses/{course}.json").json()
    assert report["modules"]
    assert any(one["completed_at"] and one["modules"] and one["score"] for one in report["learners"])
    types = {one["type"] for one in get(server, "/streams/completions/events").json()["events"]}
    assert "griffel.course.completed" in types


@pytest.mark.parametrize("path", ["/courses", "/courses/{id}", "/courses.json", "/courses/{id}.csv"])
def test_what_is_known_already_is_answered_as_described(server: Griffel, course: str, path: str) -> None:
    known = get(server, path.format(id=course), headers=JSON).headers["ETag"]
    response = get(server, path.format(id=course), headers={**JSON, "If-None-Match": known})
    assert described("get", path, response).status_code == 304


GUARDED = [path for path in OPENAPI["paths"] if path.startswith(("/courses", "/streams"))]


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("accept", [JSON, HTML], ids=["json", "html"])
def test_who_is_refused_is_answered_as_described(server: Griffel, course: str, path: str, accept: Json) -> None:
    there = path.format(id=course)
    nobody = described("get", path, get(server, there, auth=None, headers=accept))
    assert nobody.status_code in {401, 303}
    wrong = described("get", path, get(server, there, auth=(server.key, "wrong"), headers=accept))
    assert wrong.status_code in {401, 303}
    narrow = described("get", path, get(server, there, auth=narrow_credential(server), headers=accept))
    assert narrow.status_code == 403


def narrow_credential(server: Griffel) -> tuple[str, str]:
    """A credential that may only write statements; made once."""
    if not hasattr(server, "narrow"):
        wide = server.key, server.secret
        server.narrow = server.credential("statements/write")  # type: ignore[attr-defined]
        server.key, server.secret = wide
    return server.narrow  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("path", [path for path in GUARDED if "{id}" in path])
@pytest.mark.parametrize("course_id", ["0" * 32, "none"])
def test_a_course_that_is_not_there_is_answered_as_described(server: Griffel, path: str, course_id: str) -> None:
    response = described("get", path, get(server, path.format(id=course_id), headers=JSON))
    assert response.status_code == 404


@pytest.mark.parametrize("accept", [JSON, HTML], ids=["json", "html"])
def test_a_policy_that_is_not_there_is_answered_as_described(server: Griffel, accept: Json) -> None:
    path = "/privacy/policy"
    assert described("get", path, get(server, f"{path}?at=1999-01-01T00:00:00Z", headers=accept)).status_code == 404
    assert described("get", path, get(server, f"{path}?at=once", headers=accept)).status_code == 400
    assert described("get", f"{path}/{{version}}", get(server, f"{path}/none", headers=accept)).status_code == 404


REFUSED = ["after=c999", "after=here", "limit=0", "limit=501", "wait_s=1_0", "wait_s=nan", "x=1", "after=c0&after=c0"]


@pytest.mark.parametrize("query", REFUSED)
def test_a_question_that_the_stream_refuses_is_answered_as_described(server: Griffel, query: str) -> None:
    path = "/streams/completions/events"
    assert described("get", path, get(server, f"{path}?{query}")).status_code == 400


def test_a_live_stream_refuses_a_cursor_that_is_none_also_beside_a_good_one(server: Griffel) -> None:
    path = "/streams/completions/live"
    response = get(server, path, params={"after": "here"}, headers={"Last-Event-ID": "c0"})
    assert described("get", path, response).status_code == 400


def test_signing_in_is_answered_as_described(server: Griffel) -> None:
    with requests.Session() as session:
        form = described("get", "/sign-in", session.get(f"{server.base}/sign-in", timeout=BOUND_S))
        token = form.text.partition('name="form" value="')[2].partition('"')[0]

        def post(**fields: str) -> requests.Response:
            sent = session.post(f"{server.base}/sign-in", fields, timeout=BOUND_S, allow_redirects=False)
            return described("post", "/sign-in", sent)

        assert post(key=server.key, secret=server.secret, form="another").status_code == 403
        assert post(key=server.key, secret="wrong", form=token).status_code == 401
        signed_in = post(key=server.key, secret=server.secret, form=token)
        assert signed_in.status_code == 303
        assert signed_in.headers["Location"] == "/courses"
        page = described("get", "/courses", session.get(f"{server.base}/courses", headers=HTML, timeout=BOUND_S))
        out = page.text.partition('name="form" value="')[2].partition('"')[0]
        gone = session.post(f"{server.base}/sign-out", {"form": out}, timeout=BOUND_S, allow_redirects=False)
        assert described("post", "/sign-out", gone).headers["Location"].startswith("/sign-in")


@pytest.mark.parametrize("path", ["/courses/{id}/live", "/streams/completions/live"])
def test_a_server_sent_event_is_as_described(server: Griffel, course: str, path: str) -> None:
    content = OPENAPI["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"]
    data = validator(OPENAPI, content["x-event-data"]["$ref"])
    with get(server, path.format(id=course), stream=True) as response:
        assert response.headers["Content-Type"].partition(";")[0] == "text/event-stream"
        for line in response.iter_lines(chunk_size=1):
            if line.startswith(b"data: "):
                data.validate(json.loads(line[6:]))
                return
    pytest.fail("no event came")


def test_the_examples_of_streams_are_events_as_described() -> None:
    for path in ("/courses/{id}/live", "/streams/completions/live"):
        content = OPENAPI["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"]
        [line] = [one for one in content["example"].splitlines() if one.startswith("data: ")]
        validator(OPENAPI, content["x-event-data"]["$ref"]).validate(json.loads(line[6:]))


# ── events and records ────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def opened(settings: Settings, events: list[Event]) -> Any:
    async with places.open_vault(settings) as vault:
        yield await opened_events(events, vault)


def refute(found: list[Json]) -> None:
    """Opened events, of every kind and with every part, must be as described."""
    assert {one["kind"] for one in found} | SELDOM == set(KINDS), "a kind of event did not occur"
    parts = {part["part"] for one in found for part in one["parts"]}
    assert parts == KINDS_OF_PARTS, "a kind of part did not occur"
    told = next(one for one in found if one["kind"] == "restriction_changed")
    for one in [*found, *[told | {"kind": kind} for kind in SELDOM]]:
        VALID_EVENT.validate(one)
        validator(OPENED, f"#/$defs/{one['kind']}").validate(one)


async def test_every_kind_of_event_says_what_is_described(server: Griffel, course: str) -> None:
    settings = Settings(data=server.data_dir)
    reader = places.log_reader(settings)
    try:
        events = [Event(*row) for row in reader.rows("events_after", 0, 2**62)]
    finally:
        reader.close()
    async with opened(settings, events) as found:
        refute(found)
        wrong = next(one for one in found if one["kind"] == "statement_recorded")
        wrong["parts"][0]["content"]["statement"]["learner"] = "Ann"
        assert not VALID_EVENT.is_valid(wrong)


async def test_every_record_on_kafka_is_as_described(make_lrs: Callable[..., Griffel], kafka: ExternalKafka) -> None:
    own = make_lrs("cluster", settings={"GRIFFEL_KAFKA": kafka.bootstrap})
    with running(own) as cluster:
        cluster.command("topics", "create", "--partitions", str(PARTITIONS), "--replication", "1")
        with command(cluster, "relay"), command(cluster, "consume", "progress", "completions"):
            conversation(cluster.url, cluster.key, cluster.secret)
            ends = time.monotonic() + BOUND_S
            while not (told := get(cluster, "/streams/completions/events", params={"wait_s": 5}).json())["events"]:
                assert time.monotonic() < ends, told
            wait_until(lambda: relayed(cluster.database_url) == logged(cluster.database_url)[-1].position)
        entry = validator(OPENAPI, "#/components/schemas/CompletionEntry")
        for one in told["events"]:
            entry.validate(one)
    events = []
    for found in records(kafka.bootstrap).values():
        for record in found:
            read = read_record(record.key, record.value, record.headers)
            kind = "head" if isinstance(read, HeadMarker) else read.topic
            headers = {name: value.decode("latin-1") for name, value in record.headers}
            header_validator(kind).validate(headers)
            if isinstance(read, HeadMarker):
                assert (record.key, record.value) == (None, b"")
            else:
                assert len(record.key) == 16
                events.append(read)
    keys = Path(cluster.environment["GRIFFEL_KEYS_DIR"])
    settings = Settings(mode=Mode.CLUSTER, database_url=cluster.database_url, keys_url=cluster.keys_url, keys_dir=keys)
    async with opened(settings, events) as found:
        refute(found)
