"""How statements become facts about a course, and facts a standing: the rules, without any storage.

A *fact* is what one statement says about one learner in one course, perhaps in one *unit* of it (a module, or an
assignable unit of cmi5). A *standing* is what all facts of a learner under one registration come to. Taking facts
commutes: it keeps earliest, latest and highest, never "the last one seen", so the order in which statements arrive
makes no difference. What is voided is taken out by folding the facts that are left.

Times are µs since 1970, by the statement's `timestamp`, or by `stored` where it has none. The rules are those that
lrs/demo/__init__.py writes down, and those of cmi5 (moveOn, launch modes).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from projections.course_report import LearnerStanding, UnitStanding

Json = dict[str, Any]

_TYPES = "http://adlnet.gov/expapi/activities/"
COURSE_TYPES = frozenset({_TYPES + "course", "https://w3id.org/xapi/cmi5/activitytype/course"})
CMI5_COURSE_TYPE = "https://w3id.org/xapi/cmi5/activitytype/course"
UNIT_TYPES = frozenset({_TYPES + "module", _TYPES + "lesson"})
TEST_TYPES = frozenset({_TYPES + "assessment"})
NEVER_UNIT_TYPES = COURSE_TYPES | frozenset(
    {
        "https://w3id.org/xapi/cmi5/activitytype/block",
        _TYPES + "interaction",
        _TYPES + "cmi.interaction",
        _TYPES + "question",
        _TYPES + "survey",
        "http://id.tincanapi.com/activitytype/survey",
        "https://w3id.org/xapi/acrossx/activities/survey",
    }
)
CMI5_CATEGORY = "https://w3id.org/xapi/cmi5/context/categories/cmi5"
PROGRESS = "https://w3id.org/xapi/cmi5/result/extensions/progress"
VIDEO_PROGRESS = "https://w3id.org/xapi/video/extensions/progress"
_CMI5_CONTEXT = "https://w3id.org/xapi/cmi5/context/extensions/"
SESSION_ID = _CMI5_CONTEXT + "sessionid"
LAUNCH_MODE = _CMI5_CONTEXT + "launchmode"
MOVE_ON = _CMI5_CONTEXT + "moveon"

_TWINS = ("https://adlnet.gov/", "http://w3id.org/")
NORMAL = "Normal"
OTHER = "other"
KINDS = frozenset(
    {
        "enrolled",
        "unenrolled",
        "launched",
        "completed",
        "passed",
        "failed",
        "waived",
        "satisfied",
        "abandoned",
        "scored",
    }
)
BY_STAFF = frozenset({"enrolled", "unenrolled", "waived", "satisfied", "abandoned", "scored"})
"""What platforms and teachers say about a learner: it does not mean that the learner was there."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MS = 1_000


@dataclass(slots=True)
class CourseFact:
    """What a statement says about a course, and where it belongs."""

    course: str
    registration: str
    content: Json


def fact_of(statement: Json, action: str, stored_us: int) -> CourseFact | None:
    """Give the fact that a statement is about one learner in a course; None where it is about none.

    Its content has `at`, `kind` (one of KINDS or `other`) and, where they are there, unit, session, score, progress,
    rule (moveOn), mode (of launch, unless it is Normal), cmi5 (the course is one) and by_staff.
    """
    target, actor = statement["object"], statement["actor"]
    if type(target) is not dict or target.get("objectType", "Activity") != "Activity":
        return None
    if type(actor) is not dict or actor.get("objectType") == "Group":
        return None
    context = statement.get("context") or {}
    around = context.get("contextActivities") or {}
    kind = _type(target)
    if kind in COURSE_TYPES:
        course, unit, own = target, None, True
    else:
        found = _course_around(around)
        if found is None:
            return None
        course = found
        unit, own = _unit(target, kind, course["id"], around, context)
        if not own and action not in ("passed", "failed"):
            unit = None
    content: Json = {"at": instant_us(statement.get("timestamp"), stored_us)}
    content["kind"] = action if action in KINDS and (own or unit is not None) else OTHER
    if unit is not None:
        content["unit"] = unit
    if (own or unit is not None) and (result := statement.get("result")):
        _take_result(content, result, own=own)
    if extensions := context.get("extensions"):
        _take_extensions(content, extensions)
    if content["kind"] == OTHER and action in BY_STAFF:
        content["by_staff"] = True
    if _type(course) == CMI5_COURSE_TYPE:
        content["cmi5"] = True
    return CourseFact(course["id"], context.get("registration", "").lower(), content)


def _type(activity: Json) -> str:
    """Give an activity's type; `https` twins of ADL's own ids mean the same (`http` twins of w3id's too)."""
    definition = activity.get("definition")
    if not definition:
        return ""
    kind: str = definition.get("type", "")
    if kind.startswith(_TWINS):
        return "http" + kind[5:] if kind.startswith("https") else "https" + kind[4:]
    return kind


def _course_around(around: Json) -> Json | None:
    for place in ("parent", "grouping"):
        for activity in around.get(place, ()):
            if _type(activity) in COURSE_TYPES:
                found: Json = activity
                return found
    return None


def _unit(target: Json, kind: str, course: str, around: Json, context: Json) -> tuple[str | None, bool]:
    """Give the unit that a statement belongs to, and whether the unit is its object.

    A unit stands directly in the course. A test's outcome is its unit's, when it stands directly in one.
    """
    parents = around.get("parent", ())
    if any(one["id"] == course for one in parents):
        if kind in UNIT_TYPES or (kind not in NEVER_UNIT_TYPES and _in_cmi5(around, context)):
            return target["id"], True
    elif kind in TEST_TYPES:
        return next((one["id"] for one in parents if _type(one) in UNIT_TYPES), None), False
    return None, False


def _in_cmi5(around: Json, context: Json) -> bool:
    return SESSION_ID in (context.get("extensions") or ()) and any(
        one["id"] == CMI5_CATEGORY for one in around.get("category", ())
    )


def _take_result(content: Json, result: Json, *, own: bool) -> None:
    if content["kind"] in ("passed", "failed") and (score := result.get("score")) is not None:
        scaled = score.get("scaled")
        if _is_number(scaled):
            content["score"] = scaled
    if own and (extensions := result.get("extensions")):
        progress, scale = extensions.get(PROGRESS), 1
        if progress is None:
            progress, scale = extensions.get(VIDEO_PROGRESS), 100
        if _is_number(progress):
            content["progress"] = min(100, max(0, progress * scale))


def _take_extensions(content: Json, extensions: Json) -> None:
    if type(session := extensions.get(SESSION_ID)) is str:
        content["session"] = session.lower()
    if content["kind"] == "launched":
        if type(rule := extensions.get(MOVE_ON)) is str:
            content["rule"] = rule
        if type(mode := extensions.get(LAUNCH_MODE)) is str and mode != NORMAL:
            content["mode"] = mode


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def instant_us(timestamp: str | None, stored_us: int) -> int:
    """Give the instant of a statement. A time without a zone is UTC's; one that names no instant is `stored`."""
    if timestamp is None:
        return stored_us
    try:
        moment = datetime.fromisoformat(timestamp.upper())
    except ValueError:
        return stored_us
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


# ── folding ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def new_standing(course: str, registration: str | None) -> Json:
    """Give the standing before any fact."""
    return {"course": course, "cmi5": False, "registration": registration or None, "units": {}}


def fold(start: Json, facts: Iterable[tuple[bytes, Json]]) -> Json | None:
    """Give the standing that facts come to, each with its statement's originator id; None where there are none."""
    standing = new_standing(start["course"], start["registration"])
    facts = sorted(facts, key=lambda one: needs_refold(one[1]), reverse=True)
    for statement, fact in facts:
        take(standing, statement, fact)
    return standing if facts else None


def needs_refold(fact: Json) -> bool:
    """Say whether a fact changes what others mean: a session that was only for looking (cmi5 10.2.2).

    Such facts are taken before the others.
    """
    return "mode" in fact


def take(standing: Json, statement: bytes, fact: Json) -> None:
    """Take one fact into a standing."""
    at, kind = fact["at"], fact["kind"]
    _take_around(standing, fact)
    unit = fact.get("unit")
    place = standing if unit is None else standing["units"].setdefault(unit, {})
    if kind == OTHER and "progress" not in fact:
        return
    if kind == "launched":
        _earliest(place, "launched", at)
        if "rule" in fact:
            _latest(place, "rule", [at, statement.hex(), fact["rule"]])
        return
    if fact.get("session") in standing.get("asides", ()):
        return
    if "progress" in fact and fact["progress"] > place.get("progress", 0):
        place["progress"] = fact["progress"]
    if kind in ("passed", "failed"):
        _latest(place, kind, [at, statement.hex(), fact.get("score")])
        if kind == "passed":
            _earliest(place, "first_passed", at)
    elif kind in ("completed", "waived", "satisfied"):
        _earliest(place, kind, at)
    elif kind in ("enrolled", "unenrolled"):
        _latest(place, kind, at)


def _take_around(standing: Json, fact: Json) -> None:
    """Take what a fact says whatever it is about."""
    _latest(standing, "last", fact["at"])
    if fact["kind"] not in BY_STAFF and "by_staff" not in fact:
        _latest(standing, "seen", fact["at"])
    if "cmi5" in fact:
        standing["cmi5"] = True
    if "mode" in fact and "session" in fact:
        standing["asides"] = sorted({*standing.get("asides", ()), fact["session"]})


def _latest(place: Json, name: str, value: Any) -> None:
    known = place.get(name)
    if known is None or _order(value) > _order(known):
        place[name] = value


def _order(value: Any) -> Any:
    """Give what an instant, or an instant with its statement, is ordered by."""
    return value[:2] if type(value) is list else value


def _earliest(place: Json, name: str, at: int) -> None:
    known = place.get(name)
    if known is None or at < known:
        place[name] = at


def merge(standings: Iterable[Json]) -> Json:
    """Give the one standing in a course that a learner's standings under several registrations come to.

    What was said without a registration belongs to the registration that was heard of last, and with it decides; of
    registrations before that one only the enrolment counts (the latest statement about it, whichever it was under).
    """
    known = list(standings)
    if len(known) == 1:
        return known[0]
    newest = max(known, key=lambda one: (one["registration"] is not None, one["last"], one["registration"] or ""))
    merged = new_standing(newest["course"], newest["registration"])
    for one in known:
        _latest(merged, "last", one["last"])
        for name in ("enrolled", "unenrolled"):
            if name in one:
                _latest(merged, name, one[name])
        if one is newest or one["registration"] is None:
            _merge_place(merged, one)
            merged["cmi5"] = merged["cmi5"] or one["cmi5"]
            if "seen" in one:
                _latest(merged, "seen", one["seen"])
            for unit, place in one["units"].items():
                _merge_place(merged["units"].setdefault(unit, {}), place)
    return merged


def _merge_place(into: Json, place: Json) -> None:
    for name in ("launched", "completed", "first_passed", "waived", "satisfied"):
        if name in place:
            _earliest(into, name, place[name])
    for name in ("rule", "passed", "failed"):
        if name in place:
            _latest(into, name, place[name])
    if place.get("progress", 0) > into.get("progress", 0):
        into["progress"] = place["progress"]


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def met_at(unit: Json) -> int | None:
    """Give when moveOn of a unit was met (cmi5 13.1.4), None where it is not, or where no rule is known."""
    completed, passed, launched = unit.get("completed"), unit.get("first_passed"), unit.get("launched")
    rule = rule_of(unit)
    if rule == "Completed":
        met = completed
    elif rule == "Passed":
        met = passed
    elif rule == "CompletedAndPassed":
        met = max(completed, passed) if completed is not None and passed is not None else None
    elif rule == "CompletedOrPassed":
        met = _first(completed, passed)
    else:
        met = launched if rule == "NotApplicable" else None
    return _first(met, unit.get("waived"))


def rule_of(unit: Json) -> str | None:
    """Give the moveOn rule of a unit, as it was launched last."""
    return unit["rule"][2] if "rule" in unit else None


def unit_standing(unit: Json, *, cmi5: bool) -> UnitStanding:
    """Give where a learner stands in a unit."""
    met = met_at(unit) if cmi5 else None
    done = met is not None or "completed" in unit
    outcome, score = _outcome(unit)
    return UnitStanding(
        100 if done else unit.get("progress", 0), time_text(unit.get("completed")), outcome, score, time_text(met)
    )


def completed_us(standing: Json, units: Iterable[str]) -> int | None:
    """Give when the course was completed.

    An ordinary course with `completed` on the course; a cmi5 course when moveOn was met for the last of its units.
    """
    if not standing["cmi5"]:
        completed: int | None = standing.get("completed")
        return completed
    last = 0
    for unit in units:
        met = met_at(standing["units"].get(unit, {}))
        if met is None:
            return None
        last = max(last, met)
    return last or None


def is_enrolled(standing: Json) -> bool:
    """Say whether the latest of `registered` and `unregistered` is the first."""
    entered, left = standing.get("enrolled"), standing.get("unenrolled")
    return entered is not None and (left is None or left < entered)


def learner_standing(learner: bytes, standing: Json, units: tuple[str, ...]) -> LearnerStanding:
    """Give where a learner stands in a course that has these units."""
    cmi5, own = standing["cmi5"], standing["units"]
    modules = {unit: unit_standing(own.get(unit, {}), cmi5=cmi5) for unit in units}
    completed = completed_us(standing, units)
    enrolled = is_enrolled(standing)
    outcome, score = _outcome(standing)
    if completed is not None:
        progress = 100.0
    elif units:
        progress = round(sum(one.progress for one in modules.values()) / len(units), 2)
    else:
        progress = round(standing.get("progress", 0), 2)
    return LearnerStanding(
        learner=learner.hex(),
        registration=standing["registration"],
        enrolled=enrolled,
        enrolled_at=time_text(standing.get("enrolled")),
        unenrolled_at=None if enrolled else time_text(standing.get("unenrolled")),
        progress=progress,
        completed_at=time_text(completed),
        outcome=outcome,
        score=score,
        last_seen_at=time_text(standing.get("seen")),
        modules=modules,
    )


def _outcome(place: Json) -> tuple[str | None, float | None]:
    for kind in ("passed", "failed"):
        if kind in place:
            return kind, place[kind][2]
    return None, None


def _first(*instants: int | None) -> int | None:
    return min((one for one in instants if one is not None), default=None)


def time_text(at_us: int | None) -> str | None:
    """Write an instant in UTC as RFC 3339 does, to the millisecond, or to the microsecond where that says more."""
    if at_us is None:
        return None
    moment = _EPOCH + at_us * _MICROSECOND
    digits = "milliseconds" if at_us % _MS == 0 else "microseconds"
    return moment.isoformat(timespec=digits).replace("+00:00", "Z")
