"""What all players have in common: a character, a way to make statements, and staff who put right what went wrong."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from lrs.demo.account import CourseAccount, EnrolmentAccount, Fact
from lrs.demo.catalogue import Course, Question
from lrs.demo.outbox import Outbox
from lrs.demo.people import Learner
from lrs.demo.school_time import DAY, HOUR, MINUTE, SECOND, WEEK, Calendar, local_text, utc_text
from lrs.demo.vocabulary import ATTEMPT, VERB

Json = dict[str, Any]

RESENT: Final = 0.012
WRONG_ENROLMENT: Final = 0.012
LATE_ENROLMENT: Final = 0.06
SAYS_GOODBYE: Final = 0.4
COMES_BACK: Final = 0.15
ANSWERS_SURVEY: Final = 0.6
WRITES_TEXT: Final = 0.45
AHEAD: Final = 0.02
_REMARKS: Final = {
    "nl": (
        "Meer voorbeelden graag.",
        "Het filmpje was te lang.",
        "Prima zo.",
        "Minder toetsen, meer oefenen.",
        "De uitleg bij de opdracht was onduidelijk.",
    ),
    "en": (
        "More examples, please.",
        "The video was too long.",
        "Fine as it is.",
        "Fewer quizzes, more practice.",
        "The assignment was not clear.",
    ),
}


@dataclass(frozen=True, slots=True)
class Character:
    """How somebody learns.

    Attributes:
        share: how common this is.
        sittings: a week, in the first, middle and last third of the term.
        minutes: of one sitting.
        stops: the chance to stop for good, each week.
        tries_again: the chance to try again after a fail.
    """

    share: float
    sittings: tuple[float, float, float]
    minutes: int
    stops: float
    tries_again: float


CHARACTERS: Final = (
    Character(0.36, (1.3, 1.1, 1.3), 32, 0.018, 0.75),  # steady
    Character(0.12, (2.2, 1.9, 1.5), 45, 0.005, 0.95),  # keen
    Character(0.18, (0.4, 0.4, 1.5), 55, 0.030, 0.60),  # before the deadline
    Character(0.25, (1.1, 0.6, 0.3), 24, 0.160, 0.35),  # fading
    Character(0.09, (0.0, 0.0, 0.0), 0, 0.020, 0.00),  # never begins
)


@dataclass(frozen=True, slots=True)
class Said:
    """A statement that was made.

    Attributes:
        id: its id.
        verb: its verb's IRI.
        sent_at: when the store was sent it.
    """

    id: str
    verb: str
    sent_at: int


@dataclass(frozen=True, slots=True)
class Stage:
    """What every player of a course shares.

    Attributes:
        key: what all randomness of this term begins with.
        calendar: its weeks.
        outbox: takes the statements.
        course: the course.
        account: of the course.
        instructor: who teaches it, as an agent.
    """

    key: str
    calendar: Calendar
    outbox: Outbox
    course: Course
    account: CourseAccount
    instructor: Json


def uuid_from(rng: random.Random) -> str:
    """Draw a random UUID (RFC 9562, version 4)."""
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[int(text[16], 16) % 4]}{text[17:20]}-{text[20:]}"


class Pen:
    """Makes statements and sends them.

    Args:
        stage: what the course shares.
        rng: where ids and small delays come from.
        wall_clock: write timestamps in local time.
    """

    def __init__(self, stage: Stage, rng: random.Random, *, wall_clock: bool = False) -> None:
        self._stage = stage
        self._rng = rng
        self._time_text = local_text if wall_clock else utc_text
        self.upload_at: int | None = None
        """When a device that is offline will send what it gathers; None while online."""

    def say(
        self,
        actor: Json,
        verb: str,
        target: Json,
        at: int,
        *,
        context: Json | None = None,
        result: Json | None = None,
        utc: bool = False,
        attachments: list[Json] | None = None,
    ) -> Said:
        """Make one statement; a small part of them is sent twice.

        Args:
            actor: who.
            verb: the last part of its IRI.
            target: the object.
            at: the timestamp.
            context: as in a statement.
            result: as in a statement.
            utc: write the timestamp in UTC whatever the learner's programs do.
            attachments: as in a statement.
        """
        rng, outbox = self._rng, self._stage.outbox
        statement: Json = {"id": uuid_from(rng), "actor": actor, "verb": VERB[verb], "object": target}
        if result is not None:
            statement["result"] = result
        if context is not None:
            statement["context"] = context
        statement["timestamp"] = utc_text(at) if utc else self._time_text(at)
        if attachments is not None:
            statement["attachments"] = attachments
        body = orjson.dumps(statement)
        late = self.upload_at is not None and self.upload_at > at
        sent_at = self.upload_at if late and self.upload_at is not None else at + rng.randrange(200, 3 * SECOND)
        outbox.put(body, sent_at, VERB[verb]["id"], late=late)
        if rng.random() < RESENT:
            outbox.put_again(body, sent_at + rng.choice((2 * SECOND, 30 * SECOND, 6 * HOUR)))
        return Said(statement["id"], VERB[verb]["id"], sent_at)

    def take_back(self, said: Said, by: Json, at: int) -> None:
        """Void a statement."""
        self.upload_at = None
        self.say(by, "voided", {"objectType": "StatementRef", "id": said.id}, at, utc=True)
        self._stage.outbox.voided_one(said.verb)


class Player(ABC):
    """One learner in one course, from enrolment to the end of the term.

    Args:
        stage: what the course shares.
        learner: who plays.
    """

    def __init__(self, stage: Stage, learner: Learner) -> None:
        self.stage = stage
        self.course = stage.course
        self.learner = learner
        self.rng = rng = random.Random(f"{stage.key}/{stage.course.slug}/{learner.number}")  # noqa: S311 - repeatable
        self.pen = Pen(stage, rng, wall_clock=learner.wall_clock and not stage.course.cmi5)
        self.character = rng.choices(CHARACTERS, [character.share for character in CHARACTERS])[0]
        self.ability = min(0.98, max(0.25, rng.gauss(0.72, 0.15)))
        self.registration = uuid_from(rng)
        agent = {name: value for name, value in learner.agent.items() if name not in {"objectType", "name"}}
        self.account = EnrolmentAccount(stage.course, agent, self.registration)
        stage.account.enrolments.append(self.account)
        self.gone = False
        self.surveyed = False
        self.busy_until = 0
        self._staff: list[tuple[int, Callable[[int], None]]] = []
        self._agenda: list[tuple[int, Callable[[int], None]]] = []
        self._begins_in = rng.randrange(1, 3) if rng.random() < LATE_ENROLMENT else 0
        self._wrongly_here = rng.random() < WRONG_ENROLMENT

    @abstractmethod
    def sit_down(self, start: int, minutes: float) -> int:
        """Learn for about so long; give the instant at which the learner gets up."""

    @abstractmethod
    def course_context(self) -> Json:
        """Give the context of a statement about the course."""

    def play_day(self, day: int) -> None:
        """Live through one day of the term, counted from 0."""
        calendar = self.stage.calendar
        begin, end = calendar.day_start_ms(day), calendar.day_start_ms(day + 1)
        if day % 7 == 0:
            self._plan_week(day // 7, begin)
        while self._agenda and self._agenda[0][0] < end:
            moment, act = self._agenda.pop(0)
            act(moment)
        self.staff_until(end - 1)

    def _plan_week(self, week: int, start: int) -> None:
        """Decide what to do in a week, and when."""
        calendar, rng = self.stage.calendar, self.rng
        if week == self._begins_in:
            self._enrol(start - rng.randrange(5 * DAY) if week == 0 else start + rng.randrange(DAY))
        if self.gone or week < self._begins_in:
            return
        if rng.random() < self.character.stops:
            self._agenda = [(calendar.moment_in(week, rng), self._stop)]
            return
        moments = sorted(calendar.moment_in(week, rng) for _ in range(self._sittings(week)))
        self._agenda = [(moment, self._learn) for moment in moments]

    def _learn(self, moment: int) -> None:
        """Sit down at a moment, or when there is time after it; not so late that the term would end meanwhile."""
        begin = max(moment, self.busy_until + 10 * MINUTE)
        if self.gone or begin >= self.stage.calendar.end_ms - 3 * HOUR:
            return
        self.staff_until(begin)
        begin = max(begin, self.busy_until + MINUTE)
        self.busy_until = self.sit_down(begin, self.character.minutes * self.rng.uniform(0.5, 1.5))
        self._maybe_answer_survey(begin)
        self.pen.upload_at = None

    def is_open(self, module: int, now: int) -> bool:
        """Say whether a module may be done yet: they open one after the other, evenly over most of the term."""
        calendar = self.stage.calendar
        share = (now - calendar.start_ms) / (calendar.end_ms - calendar.start_ms)
        return module <= len(self.course.modules) * (share + AHEAD)

    def close(self) -> None:
        """Let the staff finish what they have to do."""
        while self._staff:
            self.staff_until(max(due for due, _ in self._staff))

    def staff_will(self, at: int, act: Callable[[int], None]) -> None:
        """Have the staff do something at an instant, or as soon after it as the learner is not busy."""
        self._staff.append((at, act))

    def staff_until(self, instant: int) -> None:
        """Let the staff do what was due before an instant, in order."""
        due = sorted((entry for entry in self._staff if entry[0] <= instant), key=lambda entry: entry[0])
        self._staff = [entry for entry in self._staff if entry[0] > instant]
        for at, act in due:
            self.busy_until = max(at, self.busy_until + MINUTE)
            act(self.busy_until)

    def take_back(self, said: Said, fact: Fact, at: int) -> None:
        """Have the instructor void a statement, and the account forget what it stood for."""
        self.pen.take_back(said, self.stage.instructor, at)
        fact.taken_back = True

    def after(self, said: Said, days_max: int) -> int:
        """Choose an instant one to so many days after the store has a statement."""
        return said.sent_at + DAY + self.rng.randrange(days_max * DAY)

    def answer(self, question: Question, at: int, context: Json, attempt: int, knows: float) -> bool:
        """Answer one question of a quiz, and say whether rightly."""
        options, correct = question.options, question.correct or ""
        right = self.rng.random() < knows
        wrong = [option for option in options if option != correct]
        response = correct if right else self.rng.choice(wrong)
        result = {"response": response, "success": right, "duration": f"PT{self.rng.randrange(8, 75)}S"}
        extended = context | {"extensions": {**context.get("extensions", {}), ATTEMPT: attempt}}
        self.pen.say(self.learner.agent, "answered", question.activity, at, context=extended, result=result)
        account = self.stage.account.questions[str(question.activity["id"])]
        account.answered(response, correct=right, first=attempt == 1)
        return right

    def _sittings(self, week: int) -> int:
        calendar = self.stage.calendar
        expected = self.character.sittings[min(2, 3 * week // calendar.weeks)]
        if week == calendar.break_week:
            expected *= 0.25
        expected *= self.rng.uniform(0.6, 1.4)
        return int(expected) + (self.rng.random() < expected % 1)

    def _enrol(self, at: int) -> None:
        said, fact = self._register(at)
        self.busy_until = at
        if self._wrongly_here:
            self.gone = True
            self.staff_will(self.after(said, 2), lambda now: self.take_back(said, fact, now))

    def _register(self, at: int) -> tuple[Said, Fact]:
        fact = Fact(at)
        self.account.registered.append(fact)
        context = self.course_context() | {"instructor": self.stage.instructor}
        said = self.pen.say(self.learner.agent, "registered", self.course.activity, at, context=context, utc=True)
        return said, fact

    def _stop(self, moment: int) -> None:
        """Stop for good; some say so, and a few of those come back."""
        self.gone = True
        at = max(moment, self.busy_until + HOUR)
        self.staff_until(at)
        at = max(at, self.busy_until + MINUTE)
        self.busy_until = at
        if self.rng.random() >= SAYS_GOODBYE:
            return
        self.account.unregistered.append(Fact(at))
        context = self.course_context()
        self.pen.say(self.learner.agent, "unregistered", self.course.activity, at, context=context, utc=True)
        if not self.course.cmi5 and self.rng.random() < COMES_BACK:
            self.staff_will(at + WEEK + self.rng.randrange(WEEK), self._come_back)

    def _come_back(self, at: int) -> None:
        if at < self.stage.calendar.end_ms:
            self._register(at)
            self.gone = False

    def _maybe_answer_survey(self, moment: int) -> None:
        """Answer the survey after the first sitting past the middle of the term, or never."""
        calendar = self.stage.calendar
        if self.surveyed or 2 * moment < calendar.start_ms + calendar.end_ms:
            return
        self.surveyed = True
        if self.rng.random() >= ANSWERS_SURVEY:
            return
        account, survey, at = self.stage.account, self.course.survey, self.busy_until
        context = self.course_context() | {"language": self.learner.language, "platform": "School survey"}
        context["contextActivities"] = {"parent": [survey.activity], "grouping": [self.course.activity]}
        account.respondents += 1
        for question in survey.questions:
            at += self.rng.randrange(6 * SECOND, 40 * SECOND)
            response = self._opinion(question)
            if response:
                self.pen.say(
                    self.learner.agent,
                    "answered",
                    question.activity,
                    at,
                    context=context,
                    result={"response": response},
                )
                account.items[str(question.activity["id"])].answered(response, correct=None, first=True)
        self.busy_until = at

    def _opinion(self, question: Question) -> str:
        """Give a response; the able and the keen are kinder."""
        if question.kind == "likert":
            liking = 1 + 4 * min(1.0, max(0.0, self.rng.gauss(0.25 + 0.55 * self.ability, 0.22)))
            return question.options[min(4, round(liking) - 1)]
        if question.kind == "choice":
            return self.rng.choice(question.options)
        return self.rng.choice(_REMARKS[self.learner.language]) if self.rng.random() < WRITES_TEXT else ""
