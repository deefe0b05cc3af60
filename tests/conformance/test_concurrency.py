"""Communication 3.1 (2.0: 4.1.4): entity tags on documents."""

from __future__ import annotations

import re
from typing import Any

import pytest

from .client import Api, must, only, requirement
from .documents import ACTIVITY_PROFILE, AGENT_PROFILE, RESOURCES, STATE, Document, Resource

pytestmark = requirement("XAPI-00322")
BOTH_PROFILES = pytest.mark.parametrize("resource", [AGENT_PROFILE, ACTIVITY_PROFILE], ids=lambda value: value.path)
ALL = pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)
BEFORE, AFTER = {"name": "before"}, {"name": "after"}


def written(api: Api, resource: Resource, content: Any = BEFORE) -> tuple[Document, str]:
    """A new document and its entity tag."""
    document = Document(api, resource)
    must(204, document.write("POST", content))
    return document, document.get().headers["ETag"]


@ALL
def test_a_document_has_a_quoted_tag_that_changes_with_it(api: Api, resource: Resource) -> None:
    document, tag = written(api, resource)
    assert re.fullmatch(r'(W/)?"[^"]+"', tag)
    assert document.get().headers["ETag"] == tag
    must(204, document.write("POST", AFTER))
    assert document.get().headers["ETag"] != tag


@only("1.0.3")
@ALL
def test_the_tag_is_a_sha1_in_version_one(api: Api, resource: Resource) -> None:
    _, tag = written(api, resource)
    assert re.fullmatch(r'"[0-9a-fA-F]{40}"', tag)


@ALL
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_a_wrong_tag_changes_nothing(api: Api, resource: Resource, method: str) -> None:
    document, tag = written(api, resource)
    for wrong in ('"1234"', f'"{"1" * 40}"', tag.upper().replace('"', '"X', 1)):
        body = {} if method == "DELETE" else {"json": AFTER}
        must(412, document.call(method, **body, headers={"If-Match": wrong}))
    assert must(200, document.get()).json() == BEFORE
    assert document.get().headers["ETag"] == tag


@ALL
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
@pytest.mark.parametrize("others", ["{}", '"1234", {}', "*"], ids=["alone", "one of two", "any"])
def test_the_right_tag_goes_through(api: Api, resource: Resource, method: str, others: str) -> None:
    document, tag = written(api, resource)
    body = {} if method == "DELETE" else {"json": AFTER}
    must(204, document.call(method, **body, headers={"If-Match": others.format(tag)}))
    if method == "DELETE":
        must(404, document.get())
    else:
        assert must(200, document.get()).json() == AFTER


@ALL
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_a_tag_fits_no_document_that_is_not_there(api: Api, resource: Resource, method: str) -> None:
    document = Document(api, resource)
    body = {} if method == "DELETE" else {"json": AFTER}
    must(412, document.call(method, **body, headers={"If-Match": '"1234"'}))
    must(404, document.get())


@ALL
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_if_none_match_of_all_writes_only_what_is_new(api: Api, resource: Resource, method: str) -> None:
    document = Document(api, resource)
    must(204, document.write(method, BEFORE, If_None_Match="*"))
    must(412, document.write(method, AFTER, If_None_Match="*"))
    assert must(200, document.get()).json() == BEFORE


@BOTH_PROFILES
def test_put_over_a_profile_without_a_tag_is_a_conflict(api: Api, resource: Resource) -> None:
    document, _ = written(api, resource)
    answer = must(409, document.write("PUT", AFTER))
    assert answer.json()["detail"]
    assert must(200, document.get()).json() == BEFORE


@BOTH_PROFILES
def test_put_of_a_new_profile_wants_a_precondition_in_version_one_only(api: Api, resource: Resource) -> None:
    document = Document(api, resource)
    if api.version == "1.0.3":
        assert must(400, document.write("PUT", AFTER)).json()["detail"]
        must(404, document.get())
    must(204, document.make("PUT", AFTER))
    assert must(200, document.get()).json() == AFTER


@only("2.0.0")
@requirement("IEEE-concurrency")
def test_put_over_a_state_without_a_tag_is_a_conflict_in_version_two(api: Api) -> None:
    document, _ = written(api, STATE)
    assert must(409, document.write("PUT", AFTER)).json()["detail"]
    assert must(200, document.get()).json() == BEFORE


@only("1.0.3")
def test_put_over_a_state_needs_no_tag_in_version_one(api: Api) -> None:
    document, _ = written(api, STATE)
    must(204, document.write("PUT", AFTER))
    assert must(200, document.get()).json() == AFTER


@requirement("IEEE-concurrency")
@ALL
def test_of_two_writers_with_the_same_tag_one_wins(api: Api, resource: Resource) -> None:
    document, tag = written(api, resource)
    must(204, document.write("PUT", AFTER, If_Match=tag))
    must(412, document.write("PUT", {"name": "too late"}, If_Match=tag))
    assert must(200, document.get()).json() == AFTER
