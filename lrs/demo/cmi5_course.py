"""Playing a cmi5 course: the platform launches units, the units report, the platform decides what is satisfied.

Statements keep to the cmi5 rules: categories, context template, order within a session, one `completed` and one
`passed` for a unit in a registration, no `failed` after `passed` (cmi5 9.3 to 9.6).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from lrs.demo.account import Fact, ModuleAccount
from lrs.demo.catalogue import MASTERY_SCORE, Course, Module
from lrs.demo.people import Learner
from lrs.demo.player import Pen, Player, Said, Stage, uuid_from
from lrs.demo.school_time import DAY, HOUR, MINUTE, SECOND, WEEK, duration_text
from lrs.demo.vocabulary import (
    CMI5,
    LAUNCH_MODE,
    LAUNCH_URL,
    MASTERY,
    MOVE_ON,
    MOVE_ON_RULE,
    PROGRESS,
    REASON,
    SESSION_ID,
    reference,
)

Json = dict[str, Any]

OFFLINE: Final = 0.02
ABANDONS: Final = 0.07
TESTS_OUT: Final = 0.3
REVIEWS: Final = 0.25
WAIVED: Final = 0.1
PASS_TAKEN_BACK: Final = 0.04
WAIVED_AFTER: Final = 0.5
SITTINGS_FAILED_MAX: Final = 4
_REASONS: Final = ("Tested Out", "Equivalent AU", "Equivalent Outside Activity", "Administrative")


@dataclass(slots=True)
class Session:
    """One launch of one unit.

    Attributes:
        unit: which.
        id: the session's id.
        registration: whose.
        launched_at: the timestamp of `launched`.
        initialized_at: the timestamp of `initialized`.
        last_at: the timestamp of the last statement of the unit.
    """

    unit: Module
    id: str
    registration: str
    launched_at: int = 0
    initialized_at: int = 0
    last_at: int = 0


def unit_context(course: Course, session: Session, *categories: str, **extensions: Any) -> Json:
    """Give the context of a statement in a session: the template, and categories where it is cmi5-defined."""
    activities: Json = {
        "parent": [reference(course.activity)],
        "grouping": [session.unit.publisher, reference(course.blocks[session.unit.block][0])],
    }
    if categories:
        activities["category"] = [{"id": category} for category in categories]
    return {
        "registration": session.registration,
        "contextActivities": activities,
        "extensions": {SESSION_ID: session.id, **extensions},
    }


def launch(pen: Pen, course: Course, agent: Json, session: Session, *, at: int, mode: str) -> int:
    """Have the platform launch a unit and the unit begin; give the instant at which it has begun."""
    unit = session.unit
    told = {LAUNCH_MODE: mode, LAUNCH_URL: f"https://content.publisher.example/{unit.publisher['id'][26:]}"}
    told[MOVE_ON_RULE] = unit.move_on
    extensions: Json = told | ({MASTERY: MASTERY_SCORE} if unit.quiz is not None else {})
    pen.say(agent, "launched", unit.activity, at, context=unit_context(course, session, CMI5, **extensions))
    session.launched_at = at
    session.initialized_at = session.last_at = at = at + 4 * SECOND
    pen.say(agent, "initialized", unit.activity, at, context=unit_context(course, session, CMI5))
    return at


def terminate(pen: Pen, course: Course, agent: Json, session: Session, *, at: int, progress: int | None = None) -> None:
    """Have a unit end its session."""
    result: Json = {"duration": duration_text(at - session.initialized_at)}
    if progress is not None:
        result["extensions"] = {PROGRESS: progress}
    context = unit_context(course, session, CMI5)
    pen.say(agent, "terminated", session.unit.activity, at, context=context, result=result)


def introduce_cmi5(stage: Stage, pen: Pen, at: int, registration: str, session_ids: list[str]) -> None:
    """Have the instructor browse every unit before the term: so the course's structure is in the store."""
    for unit, session_id in zip(stage.course.modules, session_ids, strict=True):
        session = Session(unit, session_id, registration)
        begun = launch(pen, stage.course, stage.instructor, session, at=at, mode="Browse")
        terminate(pen, stage.course, stage.instructor, session, at=begun + 2 * MINUTE)
        at = begun + 3 * MINUTE


@dataclass(slots=True)
class Satisfied:
    """A `satisfied` of the platform that stands, to be taken back when its reason goes."""

    units: list[int]
    said: Said = field(repr=False)


class Cmi5Player(Player):
    """One learner in a cmi5 course.

    Args:
        stage: what the course shares.
        learner: who plays; an account.
    """

    def __init__(self, stage: Stage, learner: Learner) -> None:
        super().__init__(stage, learner)
        self._open: Session | None = None
        self._failed: dict[int, int] = {}
        self._given_up: set[int] = set()
        self._satisfied: dict[str, Satisfied] = {}
        self._waiver_due = self.rng.random() < WAIVED

    def course_context(self) -> Json:
        """Give the context of a statement about the course."""
        return {"registration": self.registration, "language": self.learner.language, "platform": "School LMS"}

    def sit_down(self, start: int, minutes: float) -> int:
        """Work on one unit after the other for about so long; look back at times when all is done."""
        until, now = start + int(minutes * MINUTE), start
        if self._waiver_due:
            self._waiver_due = False
            self.staff_will(now + 2 * DAY + self.rng.randrange(2 * WEEK), self._waive_one)
        if self.rng.random() < OFFLINE:
            self.pen.upload_at = until + DAY // 2 + self.rng.randrange(3 * DAY)
        while now < until and (index := self._next_unit(now)) is not None:
            now = self._play(index, now + 30 * SECOND, until)
        if now == start and self.rng.random() < REVIEWS:
            unit = self.rng.choice(self.course.modules)
            session, begun = self._launch(unit, now, "Review")
            now = begun + self.rng.randrange(2 * MINUTE, 10 * MINUTE)
            terminate(self.pen, self.course, self.learner.agent, session, at=now)
            self._open = None
        return now

    def close(self) -> None:
        """Let the staff finish, and the platform give up the session that was never closed."""
        super().close()
        if self._open is not None:
            self._abandon(self._open, max(self.stage.calendar.end_ms, self.busy_until + HOUR))

    def _next_unit(self, now: int) -> int | None:
        for index, account in enumerate(self.account.modules):
            if account.met_at is None and index not in self._given_up and self.is_open(index, now):
                return index
        return None

    def _launch(self, unit: Module, at: int, mode: str) -> tuple[Session, int]:
        """Open a session; one of the same registration that is still open is abandoned first (cmi5 9.3.6)."""
        if self._open is not None:
            self._abandon(self._open, at)
            at += SECOND
        session = self._open = Session(unit, uuid_from(self.rng), self.registration)
        return session, launch(self.pen, self.course, self.learner.agent, session, at=at, mode=mode)

    def _abandon(self, session: Session, at: int) -> None:
        result = {"duration": duration_text(session.last_at - session.launched_at)}
        context = unit_context(self.course, session, CMI5)
        self.pen.say(self.learner.agent, "abandoned", session.unit.activity, at, context=context, result=result)
        self._open = None

    def _play(self, index: int, start: int, until: int) -> int:
        """Work on one unit in one session; give the instant at which it is left."""
        unit, account = self.course.modules[index], self.account.modules[index]
        session, now = self._launch(unit, start, "Normal")
        tests_first = (
            unit.move_on == "CompletedOrPassed" and index not in self._failed and self.rng.random() < TESTS_OUT
        )
        if unit.quiz is not None and tests_first:
            now = self._take_test(index, session, now)
        elif unit.pages and account.completed_at is None:
            now = self._read(index, session, now, until)
        needs_test = unit.move_on in {"Passed", "CompletedAndPassed"}
        if needs_test and (account.completed_at is not None or not unit.pages) and now < until:
            now = self._take_test(index, session, now)
        session.last_at = now
        if self.rng.random() < ABANDONS:
            return now
        now += 2 * SECOND
        reached = account.reached if account.completed_at is None and unit.pages and account.reached else None
        terminate(self.pen, self.course, self.learner.agent, session, at=now, progress=reached)
        self._open = None
        return now

    def _read(self, index: int, session: Session, now: int, until: int) -> int:
        """Go on reading a unit, and complete it with the last page."""
        unit, account, agent = session.unit, self.account.modules[index], self.learner.agent
        while account.reached < 100 and now < until:  # noqa: PLR2004 - percent
            now += self.rng.randrange(2 * MINUTE, 8 * MINUTE)
            account.reached = min(100, account.reached + self.rng.choice((20, 25, 34, 50)))
            result: Json = {"extensions": {PROGRESS: account.reached}}
            context = unit_context(self.course, session)
            self.pen.say(agent, "progressed", unit.activity, now, context=context, result=result)
        if account.reached == 100:  # noqa: PLR2004
            now += SECOND
            result = {"completion": True, "duration": duration_text(now - session.initialized_at)}
            context = unit_context(self.course, session, CMI5, MOVE_ON)
            account.completions.append(Fact(now))
            self.pen.say(agent, "completed", unit.activity, now, context=context, result=result)
            self._tell_satisfied(now, session.id)
        return now

    def _take_test(self, index: int, session: Session, now: int) -> int:
        """Take a unit's test once in its session."""
        unit, account = session.unit, self.account.modules[index]
        if unit.quiz is None:
            return now
        attempt, start, right = self._failed.get(index, 0) + 1, now, 0
        for question in unit.quiz.questions:
            now += self.rng.randrange(10 * SECOND, 80 * SECOND)
            context = unit_context(self.course, session)
            right += self.answer(question, now, context, attempt, min(0.98, self.ability + 0.1 * (attempt - 1)))
        now += 2 * SECOND
        asked = len(unit.quiz.questions)
        score = {"scaled": round(right / asked, 4), "raw": right, "min": 0, "max": asked}
        passed = score["scaled"] >= MASTERY_SCORE
        fact = Fact(now, score["scaled"])
        result = {"score": score, "success": passed, "duration": duration_text(now - start)}
        context = unit_context(self.course, session, CMI5, MOVE_ON, **{MASTERY: MASTERY_SCORE})
        verb = "passed" if passed else "failed"
        said = self.pen.say(self.learner.agent, verb, unit.activity, now, context=context, result=result)
        if passed:
            account.outcomes.passes.append(fact)
            self._tell_satisfied(now, session.id)
            if self.rng.random() < PASS_TAKEN_BACK:
                self.staff_will(self.after(said, 4), lambda at: self._take_pass_back(index, said, fact, at))
        else:
            account.outcomes.fails.append(fact)
            self._failed[index] = attempt
            if attempt >= SITTINGS_FAILED_MAX or self.rng.random() >= self.character.tries_again:
                self._given_up.add(index)
        return now

    def _tell_satisfied(self, at: int, session_id: str) -> None:
        """Have the platform say which blocks, and whether the course, are satisfied now (cmi5 9.3.9): inner first."""
        course = self.course
        units = list(range(len(course.modules)))
        wholes = [
            (activity, publisher, [unit for unit in units if course.modules[unit].block == block])
            for block, (activity, publisher) in enumerate(course.blocks)
        ]
        for activity, publisher, members in [*wholes, (course.activity, course.publisher, units)]:
            if activity["id"] in self._satisfied or any(self.account.modules[unit].met_at is None for unit in members):
                continue
            activities: Json = {"category": [{"id": CMI5}], "grouping": [publisher, reference(course.activity)]}
            context = {
                "registration": self.registration,
                "contextActivities": activities,
                "extensions": {SESSION_ID: session_id},
            }
            said = self.pen.say(self.learner.agent, "satisfied", activity, at, context=context)
            self._satisfied[activity["id"]] = Satisfied(members, said)

    def _take_pass_back(self, index: int, said: Said, fact: Fact, at: int) -> None:
        """Void a `passed` that was wrong, and each `satisfied` that rested on it; some learners get a waiver."""
        self.take_back(said, fact, at)
        account = self.account.modules[index]
        if account.met_at is None:
            for iri in [iri for iri, one in self._satisfied.items() if index in one.units]:
                satisfied = self._satisfied.pop(iri).said
                at = max(at, satisfied.sent_at) + SECOND
                self.pen.take_back(satisfied, self.stage.instructor, at)
            self._given_up.add(index)
            if self.rng.random() < WAIVED_AFTER:
                self.staff_will(at + DAY + self.rng.randrange(WEEK), lambda now: self._waive(account, now, _REASONS[3]))

    def _waive_one(self, at: int) -> None:
        """Excuse the learner from a unit that is still to be done."""
        index = self._next_unit(at)
        if index is not None and not self.gone:
            self._waive(self.account.modules[index], at, self.rng.choice(_REASONS))

    def _waive(self, account: ModuleAccount, at: int, reason: str) -> None:
        """Have the platform waive a unit, in a session of its own (cmi5 9.3.7)."""
        if account.met_at is not None:
            return
        session = Session(account.module, uuid_from(self.rng), self.registration)
        context = unit_context(self.course, session, CMI5, MOVE_ON)
        result = {"completion": True, "success": True, "extensions": {REASON: reason}}
        account.waivers.append(Fact(at))
        self.pen.say(
            self.learner.agent, "waived", account.module.activity, at, context=context, result=result, utc=True
        )
        self._tell_satisfied(at, session.id)
