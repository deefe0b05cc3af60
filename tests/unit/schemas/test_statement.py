"""check_statement and its companions: what each rule accepts and refuses, and the place that a refusal names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from schemas import iri
from schemas.errors import InvalidInput
from schemas.statement import (
    check_activity,
    check_activity_definition,
    check_agent,
    check_statement,
    check_uuid,
    normalise_statement,
)

from .builders import (
    ACTIVITY,
    ANN,
    BEA,
    CAS,
    CLASS,
    DEE,
    EXTENSION,
    GONE,
    ID,
    REFERENCE,
    SCHOOL,
    SIGNATURE,
    VERSIONS,
    VOIDED,
    changed,
    full,
    minimal,
    nested,
    resolve,
)

if TYPE_CHECKING:
    from schemas.times import Version

NO_STRINGS = [1, True, None, [], {}]
NO_OBJECTS = ["text", 1, True, None, []]
NO_ARRAYS = ["text", 1, True, None, {}]
NO_IRIS = [*NO_STRINGS, "", "no iri", "school.example/a"]
NO_MAPS = [*NO_OBJECTS, {"en": 1}, {"en": None}, {"a12345678": "text"}]
NO_UUIDS = [
    *NO_STRINGS,
    "",
    "should fail",
    ID + "8",
    ID[:-1],
    "g" + ID[1:],
    "{" + ID + "}",
    "urn:uuid:" + ID,
    ID + "\n",
]
NO_NUMBERS = ["1", "one", True, None, {}, []]
NO_BOOLEANS = ["true", 1, 0, None, {}, []]


def problem(value: Any, version: Version = "2.0.0", pointer: str = "") -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        check_statement(value, version, pointer)
    return caught.value


def refused_at(statement: Any, pointer: str, versions: tuple[Version, ...] = VERSIONS) -> None:
    for version in versions:
        assert problem(statement, version).pointer == pointer


def refused_in_both(place: str, value: Any, pointer: str | None = None) -> None:
    """A value is refused in a statement and in a sub-statement, at its own place or at another one."""
    where = "/" + place if pointer is None else pointer
    refused_at(changed(full(), place, value), where)
    refused_at(changed(nested(), "object/" + place, value), "/object" + where)


def accepted_in_both(place: str, value: Any) -> None:
    for version in VERSIONS:
        check_statement(changed(full(), place, value), version)
        check_statement(changed(nested(), "object/" + place, value), version)


@pytest.mark.parametrize("version", VERSIONS)
def test_good_statements_are_accepted(version: Version) -> None:
    check_statement(minimal(), version)
    check_statement(full(version), version)
    check_statement(nested(), version)


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "statement", [], [minimal()], {}])
def test_what_is_no_statement_is_refused(value: Any) -> None:
    refused_at(value, "")


def test_a_pointer_begins_with_the_place_of_the_statement() -> None:
    assert problem(changed(minimal(), "verb/id", "no iri"), pointer="/7").pointer == "/7/verb/id"
    assert problem([], pointer="/7").pointer == "/7"


def test_a_pointer_escapes_the_keys_on_its_way_and_ends_before_one_that_is_too_long() -> None:
    assert problem(minimal(result={"extensions": {"a/b~c": 1}})).pointer == "/result/extensions/a~1b~0c"
    assert problem(minimal(result={"extensions": {"k" * 500: 1}})).pointer == "/result/extensions"
    assert problem(minimal(**{"k" * 500: 1})).pointer == ""


def test_a_refusal_never_repeats_the_value() -> None:
    for place in (
        "actor/mbox",
        "actor/name",
        "verb/id",
        "object/id",
        "result/duration",
        "context/registration",
        "timestamp",
    ):
        for canary in ("canary bird", ["canary bird"], {"canary": "bird"}):
            if (place, canary) == ("actor/name", "canary bird"):
                continue
            assert "canary" not in problem(changed(full(), place, canary), "1.0.3").detail


@pytest.mark.parametrize("name", ["actor", "verb", "object"])
def test_actor_verb_and_object_are_required(name: str) -> None:
    refused_at(changed(minimal(), name, GONE), "")
    refused_at(changed(nested(), f"object/{name}", GONE), "/object")


@pytest.mark.parametrize(
    "place",
    [
        *(
            "colour",
            "Actor",
            "veRb",
            "actor/Mbox",
            "actor/mbox_sha1Sum",
            "context/instructor/account/homepage",
            "verb/name",
        ),
        *("object/Definition", "object/definition/Name", "object/definition/choices/0/text", "object/member"),
        *("result/Score", "result/score/Raw", "context/contextactivities", "context/contextActivities/Parent"),
        *("context/statement/version", "context/contextActivities/parent/0/name", "attachments/0/fileURL"),
        *("context/team/member/0/member", "context/team/colour"),
    ],
)
def test_a_property_that_does_not_exist_is_refused(place: str) -> None:
    refused_in_both(place, "text")


@pytest.mark.parametrize(
    "place",
    [
        *(
            "actor",
            "actor/name",
            "actor/mbox",
            "verb",
            "verb/display",
            "verb/display/en",
            "object",
            "object/definition",
        ),
        *("object/definition/moreInfo", "object/definition/choices", "object/definition/choices/0", "result"),
        *("object/definition/extensions", "result/score", "result/score/raw", "result/success", "result/response"),
        *("context", "context/registration", "context/contextActivities", "context/contextActivities/parent"),
        *("context/team/name", "context/language", "timestamp", "attachments", "attachments/0/length"),
    ],
)
def test_null_is_refused(place: str) -> None:
    refused_in_both(place, None)


@pytest.mark.parametrize("place", ["object/definition/extensions", "result/extensions", "context/extensions"])
def test_extensions_hold_anything_under_iris(place: str) -> None:
    accepted_in_both(place, {})
    for value in (None, "", True, 1.5, {}, [], [None, {"": {"a": [None]}}]):
        accepted_in_both(place, {EXTENSION: value, "urn:x:y": value})
    for value in NO_OBJECTS:
        refused_in_both(place, value)
    for key in ("", "tempo", "school.example/tempo", "no iri"):
        refused_in_both(place, {EXTENSION: 1, key: 1}, f"/{place}/{key.replace('/', '~1')}")


# Agents and groups

PERSON_PLACES = ("actor", "context/instructor")
GROUP_PLACES = (*PERSON_PLACES, "context/team")


@pytest.mark.parametrize("place", PERSON_PLACES)
@pytest.mark.parametrize("person", [ANN, BEA, CAS, DEE, CLASS, SCHOOL, {"objectType": "Agent"} | CAS])
def test_a_person_is_an_agent_or_a_group(person: Any, place: str) -> None:
    accepted_in_both(place, person)


def test_a_person_as_object_says_so() -> None:
    base = {name: value for name, value in full().items() if name != "context"}
    for person in (ANN, CLASS, SCHOOL):
        check_statement(changed(base, "object", person), "1.0.3")
        check_statement(minimal(object=nested()["object"] | {"object": person, "context": {}}), "1.0.3")
        bare = {name: value for name, value in person.items() if name != "objectType"}
        assert problem(changed(base, "object", bare)).pointer.startswith("/object")


@pytest.mark.parametrize("place", PERSON_PLACES)
def test_a_wrong_agent_is_refused_at_its_place(place: str) -> None:
    for value in [*NO_OBJECTS, {}, {"name": "Ann"}, CAS | DEE, ANN | BEA, ANN | DEE, BEA | CAS, ANN | BEA | CAS | DEE]:
        refused_in_both(place, value)
    for kind in ("agent", "AGENT", "Person", "Activity", "", 1, None, {}, ["Agent"]):
        refused_in_both(place, CAS | {"objectType": kind}, f"/{place}/objectType")
    for name in (1, None, {}, ["Ann"]):
        refused_in_both(place, CAS | {"name": name}, f"/{place}/name")
    refused_in_both(place, CAS | {"member": [ANN]}, f"/{place}/member")


WRONG_IDENTIFIERS = [
    *((f"{name}", {name: value}) for name in ("mbox", "mbox_sha1sum", "openid") for value in [*NO_STRINGS, "", "no"]),
    ("mbox", {"mbox": "ann@school.example"}),
    ("mbox", {"mbox": "https://school.example/ann"}),
    ("mbox_sha1sum", {"mbox_sha1sum": "c" * 39}),
    ("mbox_sha1sum", {"mbox_sha1sum": "c" * 41}),
    ("mbox_sha1sum", {"mbox_sha1sum": "g" * 40}),
    ("openid", {"openid": "school.example/ann"}),
    *(("account", {"account": value}) for value in [*NO_OBJECTS, {}, {"name": "a"}, {"homePage": "urn:a:b"}]),
    *(("account/homePage", {"account": {"homePage": value, "name": "a"}}) for value in NO_IRIS),
    *(("account/name", {"account": {"homePage": "urn:a:b", "name": value}}) for value in NO_STRINGS),
]


@pytest.mark.parametrize(("place", "identifier"), WRONG_IDENTIFIERS)
def test_a_wrong_identifier_is_refused_at_its_place(place: str, identifier: Any) -> None:
    refused_in_both("actor", identifier, f"/actor/{place}")
    refused_in_both("context/team", {"objectType": "Group"} | identifier, f"/context/team/{place}")
    refused_in_both("context/team/member/1", identifier, f"/context/team/member/1/{place}")


@pytest.mark.parametrize("place", GROUP_PLACES)
def test_a_group_has_members_or_an_identifier(place: str) -> None:
    for group in (CLASS, SCHOOL, CLASS | CAS, SCHOOL | {"member": []}, {"objectType": "Group", "member": [DEE]}):
        accepted_in_both(place, group)
    for group in ({}, {"name": "Nobody"}, {"member": []}, CAS | DEE, CLASS | CAS | DEE):
        refused_in_both(place, {"objectType": "Group"} | group)
    for member in NO_ARRAYS:
        refused_in_both(place, SCHOOL | {"member": member}, f"/{place}/member")
    for member in [*NO_OBJECTS, {}, {"name": "Ann"}]:
        refused_in_both(place, CLASS | {"member": [ANN, member]}, f"/{place}/member/1")
    for member in (CLASS, SCHOOL):
        refused_in_both(place, CLASS | {"member": [member]}, f"/{place}/member/0/{'objectType'}")


def test_a_team_is_a_group() -> None:
    refused_in_both("context/team", ANN, "/context/team/objectType")
    refused_in_both("context/team", {"member": [ANN]})


# Verbs and activities


def test_a_verb_is_an_iri_with_texts() -> None:
    accepted_in_both("verb", {"id": "urn:a:b"})
    accepted_in_both("verb", {"id": "urn:a:b", "display": {}})
    refused_in_both("verb/id", GONE, "/verb")
    for value in NO_OBJECTS:
        refused_in_both("verb", value)
    for value in NO_IRIS:
        refused_in_both("verb/id", value)
    refused_in_both("verb/display", {"en": "fine", "en_US": "wrong"}, "/verb/display/en_US")


@pytest.mark.parametrize("place", ["verb/display", "object/definition/name", "object/definition/description"])
def test_texts_are_language_maps(place: str) -> None:
    for value in NO_MAPS:
        for refused in (problem(changed(full(), place, value)), problem(changed(full(), place, value), "1.0.3")):
            assert refused.pointer.startswith(f"/{place}")


def test_an_activity_has_an_iri_and_may_have_a_definition() -> None:
    accepted_in_both("object", {"id": "urn:a:b"})
    accepted_in_both("object", ACTIVITY | {"definition": {}})
    refused_in_both("object", {}, "/object")
    for value in NO_OBJECTS:
        refused_in_both("object", value)
    for kind in ("activity", "Thing", "", 1, None, {}):
        refused_in_both("object/objectType", kind)
    for place in ("object/id", "object/definition/type", "object/definition/moreInfo"):
        for value in NO_IRIS:
            refused_in_both(place, value)
    for value in NO_OBJECTS:
        refused_in_both("object/definition", value)


COMPONENT_LISTS = {
    "true-false": (),
    "choice": ("choices",),
    "fill-in": (),
    "long-fill-in": (),
    "matching": ("source", "target"),
    "performance": ("steps",),
    "sequencing": ("choices",),
    "likert": ("scale",),
    "numeric": (),
    "other": (),
}
EVERY_LIST = ("choices", "scale", "source", "target", "steps")


@pytest.mark.parametrize("kind", COMPONENT_LISTS)
def test_an_interaction_has_the_lists_of_its_type(kind: str) -> None:
    components = [{"id": "a"}, {"id": "b", "description": {"en": "B"}}]
    mine = dict.fromkeys(COMPONENT_LISTS[kind], components)
    definition = {"interactionType": kind, "correctResponsesPattern": ["a"]} | mine
    accepted_in_both("object/definition", {"interactionType": kind})
    accepted_in_both("object/definition", definition)
    for name in set(EVERY_LIST) - set(mine):
        refused_in_both("object/definition", definition | {name: components}, f"/object/definition/{name}")
    for name in mine:
        place = f"/object/definition/{name}"
        refused_in_both("object/definition", {name: components}, place)
        for value in NO_ARRAYS:
            refused_in_both("object/definition", definition | {name: value}, place)
        for value in [*NO_OBJECTS, {}, {"description": {"en": "B"}}]:
            refused_in_both("object/definition", definition | {name: [components[0], value]}, f"{place}/1")
        for value in NO_STRINGS:
            refused_in_both("object/definition", definition | {name: [{"id": value}]}, f"{place}/0/id")
        refused_in_both("object/definition", definition | {name: [*components, {"id": "a"}]}, place)


def test_an_interaction_type_is_one_of_ten() -> None:
    for value in [*NO_STRINGS, "", "essay", "Choice", "true-False", "urn:a:b"]:
        refused_in_both("object/definition", {"interactionType": value}, "/object/definition/interactionType")


def test_a_pattern_of_responses_needs_an_interaction_type() -> None:
    refused_in_both("object/definition", {"correctResponsesPattern": ["a"]}, "/object/definition")
    for value in NO_ARRAYS:
        refused_in_both("object/definition/correctResponsesPattern", value)
    for value in NO_STRINGS:
        place = "/object/definition/correctResponsesPattern/1"
        refused_in_both("object/definition/correctResponsesPattern", ["a", value], place)


# Objects that are statements


def test_a_statement_reference_has_a_uuid() -> None:
    check_statement(minimal(object=REFERENCE), "1.0.3")
    check_statement(minimal(object=REFERENCE | {"id": REFERENCE["id"].upper()}), "1.0.3")
    refused_at(minimal(object={"objectType": "StatementRef"}), "/object")
    refused_at(minimal(object=REFERENCE | {"objectType": "statementref"}), "/object/objectType")
    for value in NO_UUIDS:
        refused_at(minimal(object=REFERENCE | {"id": value}), "/object/id")
        refused_in_both("context/statement/id", value)
    refused_in_both("context/statement/objectType", GONE, "/context/statement")
    refused_in_both("context/statement", ACTIVITY, "/context/statement/objectType")


@pytest.mark.parametrize("name", ["id", "stored", "version", "authority"])
def test_a_substatement_has_nothing_that_a_store_gives(name: str) -> None:
    refused_at(changed(nested(), f"object/{name}", full()[name]), f"/object/{name}")


def test_a_substatement_stands_in_no_other() -> None:
    refused_at(changed(nested(), "object/object", nested()["object"]), "/object/object/objectType")
    refused_at(minimal(object={"objectType": "SubStatement"}), "/object")
    refused_at(minimal(object=minimal()), "/object/actor")


@pytest.mark.parametrize("inner", [ANN, CLASS, SCHOOL, REFERENCE, ACTIVITY])
def test_a_substatement_has_any_other_object(inner: Any) -> None:
    for version in VERSIONS:
        check_statement(minimal(object={"objectType": "SubStatement"} | minimal(object=inner)), version)


def test_a_voiding_points_to_a_statement() -> None:
    check_statement(minimal(verb={"id": VOIDED}, object=REFERENCE), "1.0.3")
    for other in (ACTIVITY, ANN, CLASS, nested()["object"]):
        refused_at(minimal(verb={"id": VOIDED}, object=other), "/object")
        if other.get("objectType") != "SubStatement":
            inner = {"objectType": "SubStatement"} | minimal(verb={"id": VOIDED}, object=other)
            refused_at(minimal(object=inner), "/object/object")
    check_statement(minimal(verb={"id": VOIDED + "?"}, object=ACTIVITY), "1.0.3")


# Results


def test_the_parts_of_a_result_have_their_types() -> None:
    accepted_in_both("result", {})
    accepted_in_both("result/score", {})
    for value in NO_OBJECTS:
        refused_in_both("result", value)
        refused_in_both("result/score", value)
    for name in ("success", "completion"):
        for value in NO_BOOLEANS:
            refused_in_both(f"result/{name}", value)
    for value in NO_STRINGS:
        refused_in_both("result/response", value)
    for value in [*NO_STRINGS, "", "P", "P4W1D", "an hour"]:
        refused_in_both("result/duration", value)
    for name in ("scaled", "raw", "min", "max"):
        for value in NO_NUMBERS:
            refused_in_both("result/score", {name: value}, f"/result/score/{name}")


@pytest.mark.parametrize(
    "score",
    [
        {"scaled": 1},
        {"scaled": -1.0},
        {"scaled": 0},
        {"raw": -1e9},
        {"min": 5},
        {"max": -5},
        {"raw": 0, "min": 0, "max": 0.5},
        {"raw": 0.5, "min": 0, "max": 0.5},
        {"raw": 7, "min": 3},
        {"raw": 7, "max": 9},
    ],
)
def test_a_score_within_its_bounds_is_accepted(score: Any) -> None:
    accepted_in_both("result/score", score)


@pytest.mark.parametrize(
    ("score", "place"),
    [
        ({"scaled": 1.0001}, "scaled"),
        ({"scaled": -2}, "scaled"),
        ({"min": 1, "max": 0}, "min"),
        ({"min": 1, "max": 1.0}, "min"),
        ({"raw": 11, "min": 0, "max": 10}, "raw"),
        ({"raw": -0.1, "min": 0, "max": 10}, "raw"),
        ({"raw": 11, "max": 10}, "raw"),
        ({"raw": -1, "min": 0}, "raw"),
    ],
)
def test_a_score_beyond_its_bounds_is_refused(score: Any, place: str) -> None:
    refused_in_both("result/score", score, f"/result/score/{place}")


# Context


def test_the_parts_of_a_context_have_their_types() -> None:
    accepted_in_both("context", {})
    for value in NO_OBJECTS:
        refused_in_both("context", value)
        refused_in_both("context/contextActivities", value)
        refused_in_both("context/statement", value)
    for value in NO_UUIDS:
        refused_in_both("context/registration", value)
    for name in ("revision", "platform"):
        for value in NO_STRINGS:
            refused_in_both(f"context/{name}", value)
    for value in [*NO_STRINGS, "", "something", "en_US"]:
        refused_in_both("context/language", value)


@pytest.mark.parametrize("name", ["revision", "platform"])
def test_revision_and_platform_are_about_an_activity(name: str) -> None:
    context = {name: "1"}
    for other in (ANN, CLASS, REFERENCE):
        refused_at(minimal(object=other, context=context), f"/context/{name}")
        inner = {"objectType": "SubStatement"} | minimal(object=other, context=context)
        refused_at(minimal(object=inner), f"/object/context/{name}")
    refused_at(nested() | {"context": context}, f"/context/{name}")
    check_statement(minimal(context=context), "1.0.3")


@pytest.mark.parametrize("kind", ["parent", "grouping", "category", "other"])
def test_context_activities_are_one_activity_or_an_array(kind: str) -> None:
    place = f"context/contextActivities/{kind}"
    for value in ([], [ACTIVITY], [{"id": "urn:a:b"}, ACTIVITY], ACTIVITY, {"id": "urn:a:b"}):
        accepted_in_both(place, value)
    for value in ("text", 1, None):
        refused_in_both(place, value)
    for value in [*NO_OBJECTS, {}]:
        refused_in_both(place, [ACTIVITY, value], f"/{place}/1")
    refused_in_both(place, ANN, f"/{place}/objectType")
    refused_in_both(place, {"id": "no iri"}, f"/{place}/id")
    refused_in_both(place, [ACTIVITY, REFERENCE], f"/{place}/1/objectType")


CONTEXT_AGENT = {"objectType": "contextAgent", "agent": CAS}
CONTEXT_GROUP = {"objectType": "contextGroup", "group": CLASS}
RELEVANT = {"relevantTypes": ["urn:a:coach", "urn:a:parent"]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("contextAgents", []),
        ("contextAgents", [CONTEXT_AGENT, CONTEXT_AGENT | RELEVANT]),
        ("contextGroups", []),
        ("contextGroups", [CONTEXT_GROUP, {"objectType": "contextGroup", "group": SCHOOL} | RELEVANT]),
    ],
)
def test_people_of_a_context_belong_to_version_two(name: str, value: Any) -> None:
    for sent, at in ((minimal(), ""), (nested(), "/object")):
        statement = changed(sent, f"{at}/context"[1:], {name: value})
        check_statement(statement, "2.0.0")
        refused_at(statement, f"{at}/context/{name}", ("1.0.3",))


@pytest.mark.parametrize(
    ("name", "entry", "place"),
    [
        ("contextAgents", {"agent": CAS}, ""),
        ("contextAgents", {"objectType": "contextAgent"}, ""),
        ("contextAgents", CONTEXT_AGENT | {"objectType": "contextagent"}, "/objectType"),
        ("contextAgents", CONTEXT_AGENT | {"objectType": "Agent"}, "/objectType"),
        ("contextAgents", CONTEXT_AGENT | {"agent": {"name": "Ann"}}, "/agent"),
        ("contextAgents", CONTEXT_AGENT | {"agent": SCHOOL}, "/agent/objectType"),
        ("contextAgents", CONTEXT_AGENT | {"group": SCHOOL}, "/group"),
        ("contextAgents", CONTEXT_AGENT | {"relevantTypes": []}, "/relevantTypes"),
        ("contextAgents", CONTEXT_AGENT | {"relevantTypes": "urn:a:b"}, "/relevantTypes"),
        ("contextAgents", CONTEXT_AGENT | {"relevantTypes": ["urn:a:b", "coach"]}, "/relevantTypes/1"),
        ("contextAgents", CONTEXT_AGENT | {"relevantTypes": [1]}, "/relevantTypes/0"),
        ("contextGroups", {"group": CLASS}, ""),
        ("contextGroups", CONTEXT_GROUP | {"objectType": "contextAgent"}, "/objectType"),
        ("contextGroups", CONTEXT_GROUP | {"group": {"objectType": "Group"}}, "/group"),
        ("contextGroups", CONTEXT_GROUP | {"group": ANN}, "/group/objectType"),
        ("contextGroups", CONTEXT_GROUP | {"relevantTypes": []}, "/relevantTypes"),
        ("contextGroups", "Class 7", ""),
    ],
)
def test_wrong_people_of_a_context_are_refused_at_their_place(name: str, entry: Any, place: str) -> None:
    good = CONTEXT_AGENT if name == "contextAgents" else CONTEXT_GROUP
    statement = minimal(context={name: [good, entry]})
    refused_at(statement, f"/context/{name}/1{place}", ("2.0.0",))


# What only a statement has


def test_an_id_is_a_uuid() -> None:
    for value in NO_UUIDS:
        refused_at(minimal(id=value), "/id")
        with pytest.raises(InvalidInput):
            check_uuid(value)
    for value in (ID, ID.upper(), "00000000-0000-0000-0000-000000000000", "12345678-1234-5678-1234-567812345678"):
        check_statement(minimal(id=value), "1.0.3")
        check_uuid(value)


@pytest.mark.parametrize("name", ["timestamp", "stored"])
def test_times_are_those_of_the_version(name: str) -> None:
    for value in ("2024-02-29T08:30:00Z", "2099-01-01T00:00:00.123456+02:00"):
        for version in VERSIONS:
            check_statement(minimal(**{name: value}), version)
    for value in ("2024-02-29T08:30:00-00:00", "2023-02-29T08:30:00Z", "yesterday", 1, None, {}):
        refused_at(minimal(**{name: value}), f"/{name}")
    for value in ("2024-02-29T08:30:00", "20240229T083000Z"):
        check_statement(minimal(**{name: value}), "1.0.3")
        refused_at(minimal(**{name: value}), f"/{name}", ("2.0.0",))


def test_version_one_is_spoken_by_both_and_version_two_by_one() -> None:
    for value in ("1.0", "1.0.0", "1.0.9", "1.0.32"):
        for version in VERSIONS:
            check_statement(minimal(version=value), version)
    for value in ("2.0", "2.0.0", "2.0.1"):
        check_statement(minimal(version=value), "2.0.0")
        refused_at(minimal(version=value), "/version", ("1.0.3",))
    for value in [
        *NO_STRINGS,
        "",
        "1",
        "1.",
        "1.0.",
        "0.9.9",
        "1.1.0",
        "2.1.0",
        "3.0.0",
        "10.0",
        "1.0.0\n",
        "v1.0.0",
        1.0,
    ]:
        refused_at(minimal(version=value), "/version")


CONSUMER = {"account": {"homePage": "https://school.example/oauth/token", "name": "consumer"}}


def test_an_authority_is_an_agent_or_an_application_with_its_user() -> None:
    pair = {"objectType": "Group", "member": [CONSUMER, ANN]}
    for value in (ANN, BEA, pair, pair | {"name": "Both"}, {"objectType": "Group", "member": [ANN, CONSUMER]}):
        for version in VERSIONS:
            check_statement(minimal(authority=value), version)
    for value in (
        *NO_OBJECTS,
        {"name": "Ann"},
        {"objectType": "Group"},
        pair | CAS,
        SCHOOL,
        pair | {"member": []},
        pair | {"member": [CONSUMER]},
        pair | {"member": [CONSUMER, ANN, BEA]},
        pair | {"member": [ANN, CAS]},
    ):
        refused_at(minimal(authority=value), "/authority")
    refused_at(minimal(authority=ACTIVITY), "/authority/objectType")


def test_attachments_are_an_array_of_entries() -> None:
    accepted_in_both("attachments", [])
    for value in NO_ARRAYS:
        refused_in_both("attachments", value)
    for value in NO_OBJECTS:
        refused_in_both("attachments", [value], "/attachments/0")
    for name in ("description", "fileUrl"):
        accepted_in_both(f"attachments/0/{name}", GONE)
    for name in ("usageType", "display", "contentType", "length", "sha2"):
        refused_in_both(f"attachments/0/{name}", GONE, "/attachments/0")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("usageType", NO_IRIS),
        ("fileUrl", NO_IRIS),
        ("contentType", [*NO_STRINGS, "", "text", "text/", "a b/c"]),
        ("length", ["27", -1, 1.5, 27.0, True, None, {}]),
        ("sha2", [*NO_STRINGS, "", "a" * 63, "a" * 65, "g" * 64, "a" * 40]),
        ("display", NO_OBJECTS),
        ("description", NO_OBJECTS),
    ],
)
def test_a_wrong_entry_of_an_attachment_is_refused_at_its_place(name: str, values: list[Any]) -> None:
    for value in values:
        refused_in_both(f"attachments/0/{name}", value)


@pytest.mark.parametrize("digits", [56, 64, 96, 128])
def test_each_length_of_a_sha_2_sum_is_accepted(digits: int) -> None:
    accepted_in_both("attachments/0/sha2", "aB" * (digits // 2))


def test_a_signature_has_its_own_media_type() -> None:
    entry = full()["attachments"][0] | {"usageType": SIGNATURE}
    for value in ("application/octet-stream", "Application/Octet-Stream; a=b"):
        accepted_in_both("attachments", [entry | {"contentType": value}])
    refused_in_both("attachments", [entry], "/attachments/0/contentType")


# The companions


@pytest.mark.parametrize("version", VERSIONS)
def test_a_parameter_names_an_agent_or_an_identified_group(version: Version) -> None:
    for value in (ANN, BEA, CAS, DEE, SCHOOL, CLASS | CAS):
        check_agent(value, version)
    for value, pointer in [
        *((value, "/agent") for value in [*NO_OBJECTS, {}, {"name": "Ann"}, CAS | DEE, CLASS]),
        ({"mbox": "ann"}, "/agent/mbox"),
        (ACTIVITY, "/agent/objectType"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            check_agent(value, version, "/agent")
        assert caught.value.pointer == pointer


@pytest.mark.parametrize("version", VERSIONS)
def test_an_activity_and_its_definition_are_checked_alone(version: Version) -> None:
    check_activity(full()["object"], version)
    check_activity_definition(full()["object"]["definition"], version)
    check_activity_definition({}, version)
    for check, value, pointer in (
        (check_activity, {"id": "no iri"}, "/here/id"),
        (check_activity, ANN, "/here/objectType"),
        (check_activity_definition, {"type": "no iri"}, "/here/type"),
        (check_activity_definition, [], "/here"),
    ):
        with pytest.raises(InvalidInput) as caught:
            check(value, version, "/here")
        assert caught.value.pointer == pointer


def test_nothing_about_a_person_is_remembered() -> None:
    statement = full("2.0.0")
    statement["actor"] = {"mbox": "mailto:canary@school.example"}
    statement["context"]["instructor"] = {"openid": "https://id.school.example/canary"}
    statement["authority"] = {"account": {"homePage": "https://school.example/canary", "name": "canary"}}
    statement["object"]["id"] = "https://school.example/courses/canary"
    statement["object"]["definition"]["moreInfo"] = "https://school.example/about/canary"
    statement["attachments"][0]["fileUrl"] = "https://school.example/reports/canary"
    check_statement(statement, "2.0.0")
    assert iri._known
    assert not [text for text in iri._known if "canary" in text]


# The form in which a statement is kept


def test_single_context_activities_become_arrays() -> None:
    single = {"parent": ACTIVITY, "grouping": [ACTIVITY], "other": {"id": "urn:a:b"}}
    for statement, place in (
        (minimal(context={"contextActivities": dict(single)}), "/context"),
        (nested(), "/object/context"),
    ):
        resolve(statement, place)["contextActivities"] = dict(single)
        normalise_statement(statement)
        assert resolve(statement, place)["contextActivities"] == {
            "parent": [ACTIVITY],
            "grouping": [ACTIVITY],
            "other": [{"id": "urn:a:b"}],
        }


def test_timestamps_become_utc() -> None:
    statement = nested() | {"timestamp": "2023-05-04T12:00:00.1234567-05:00"}
    statement["object"]["timestamp"] = "2023-05-04T12:00:00+02:00"
    normalise_statement(statement)
    assert statement["timestamp"] == "2023-05-04T17:00:00.1234567Z"
    assert statement["object"]["timestamp"] == "2023-05-04T10:00:00Z"


@pytest.mark.parametrize("version", VERSIONS)
def test_all_else_stays_as_it_was(version: Version) -> None:
    for statement in (minimal(), full(version), nested(), minimal(object=REFERENCE), minimal(object=CLASS)):
        before = str(statement)
        normalise_statement(statement)
        assert str(statement) == before
