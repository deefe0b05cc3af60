"""The account that the term keeps of what it lets everyone do: the truth, by the rules in this package's docstring."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from lrs.demo.catalogue import Course, Module, Quiz
from lrs.demo.school_time import utc_text

Json = dict[str, Any]


@dataclass(slots=True)
class Fact:
    """Something that was stated and may be taken back by voiding the statement.

    Attributes:
        at: when it happened.
        score: scaled, where it has one.
        taken_back: whether the statement was voided.
    """

    at: int
    score: float | None = None
    taken_back: bool = False


def standing(facts: list[Fact]) -> list[Fact]:
    """Give those that were not taken back, earliest first."""
    return sorted((fact for fact in facts if not fact.taken_back), key=lambda fact: fact.at)


@dataclass(slots=True)
class Outcomes:
    """Passes and fails of one thing."""

    passes: list[Fact] = field(default_factory=list)
    fails: list[Fact] = field(default_factory=list)

    def told(self) -> Json:
        """Say how it stands: outcome and score."""
        passes, fails = standing(self.passes), standing(self.fails)
        if passes:
            return {"outcome": "passed", "score": passes[-1].score}
        if fails:
            return {"outcome": "failed", "score": fails[-1].score}
        return {"outcome": None, "score": None}


@dataclass(slots=True)
class ModuleAccount:
    """What one learner did in one module.

    Attributes:
        module: which.
        reached: the highest progress that was sent, in percent.
        completions: on the module.
        waivers: of the unit, in a cmi5 course.
        outcomes: of its quiz, in a cmi5 course of the unit.
    """

    module: Module
    reached: int = 0
    completions: list[Fact] = field(default_factory=list)
    waivers: list[Fact] = field(default_factory=list)
    outcomes: Outcomes = field(default_factory=Outcomes)

    @property
    def completed_at(self) -> int | None:
        """When it was first completed."""
        facts = standing(self.completions)
        return facts[0].at if facts else None

    @property
    def met_at(self) -> int | None:
        """When moveOn was met; None where it is not, and always in an ordinary course."""
        completed = self.completed_at
        passes, waivers = standing(self.outcomes.passes), standing(self.waivers)
        passed = passes[0].at if passes else None
        both = max(completed, passed) if completed is not None and passed is not None else None
        by_rule = {
            "Completed": completed,
            "Passed": passed,
            "CompletedAndPassed": both,
            "CompletedOrPassed": _earliest(completed, passed),
        }.get(self.module.move_on)
        return _earliest(by_rule, waivers[0].at if waivers and self.module.move_on else None)

    @property
    def progress(self) -> int:
        """In percent."""
        return 100 if self.completed_at is not None or self.met_at is not None else self.reached

    def told(self) -> Json:
        """Say how it stands."""
        told: Json = {"progress": self.progress, "completed_at": _text(self.completed_at), **self.outcomes.told()}
        return told | ({"met_at": _text(self.met_at)} if self.module.move_on else {})


@dataclass(slots=True)
class EnrolmentAccount:
    """What one learner did in one course.

    Attributes:
        course: which.
        agent: the learner, as an agent without a name.
        registration: the id under which the platform reports it.
        registered: each `registered`.
        unregistered: each `unregistered`.
        completions: on the course, in an ordinary course.
        outcomes: of the course, in an ordinary course.
    """

    course: Course
    agent: Json
    registration: str
    registered: list[Fact] = field(default_factory=list)
    unregistered: list[Fact] = field(default_factory=list)
    completions: list[Fact] = field(default_factory=list)
    outcomes: Outcomes = field(default_factory=Outcomes)
    modules: list[ModuleAccount] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin an account for every module."""
        self.modules = [ModuleAccount(module) for module in self.course.modules]

    @property
    def belongs(self) -> bool:
        """Say whether the learner was ever in the course."""
        return bool(standing(self.registered))

    @property
    def enrolled(self) -> bool:
        """Say whether the learner is in the course at the end."""
        entered, left = standing(self.registered), standing(self.unregistered)
        return bool(entered) and (not left or left[-1].at < entered[-1].at)

    @property
    def completed_at(self) -> int | None:
        """When the course was completed."""
        if self.course.cmi5:
            met = [module.met_at for module in self.modules]
            return None if None in met else max(at for at in met if at is not None)
        facts = standing(self.completions)
        return facts[0].at if facts else None

    @property
    def progress(self) -> float:
        """In percent."""
        if self.completed_at is not None:
            return 100.0
        return round(sum(module.progress for module in self.modules) / len(self.modules), 2)

    def told(self) -> Json:
        """Say how it stands."""
        left = standing(self.unregistered)
        return {
            "agent": self.agent,
            "registration": self.registration,
            "enrolled": self.enrolled,
            "enrolled_at": _text(standing(self.registered)[-1].at),
            "unenrolled_at": _text(left[-1].at) if left and not self.enrolled else None,
            "progress": self.progress,
            "completed_at": _text(self.completed_at),
            **self.outcomes.told(),
            "modules": {module.module.id: module.told() for module in self.modules},
        }


@dataclass(slots=True)
class QuestionAccount:
    """How often one question was answered, and how.

    Attributes:
        kind: its interactionType.
        responses: how often each response was given; not kept for free text.
        answers: how often it was answered.
        correct: how often rightly.
        first_tries: how often in a learner's first attempt.
        first_correct: how often rightly then.
    """

    kind: str
    responses: Counter[str] = field(default_factory=Counter)
    answers: int = 0
    correct: int = 0
    first_tries: int = 0
    first_correct: int = 0

    def answered(self, response: str, *, correct: bool | None, first: bool) -> None:
        """Count one answer."""
        self.answers += 1
        if self.kind != "long-fill-in":
            self.responses[response] += 1
        self.correct += bool(correct)
        self.first_tries += first
        self.first_correct += first and bool(correct)

    def told(self, *, survey: bool) -> Json:
        """Say how often."""
        told: Json = {"kind": self.kind, "answers": self.answers, "responses": dict(sorted(self.responses.items()))}
        if survey:
            return told
        return told | {
            "correct": self.correct,
            "first_tries": self.first_tries,
            "first_correct": self.first_correct,
        }


@dataclass(slots=True)
class CourseAccount:
    """What happened in one course.

    Attributes:
        course: which.
        enrolments: one for each learner who was ever registered.
        respondents: how many answered the survey.
        questions: of quizzes, by activity id.
        items: of the survey, by activity id.
    """

    course: Course
    enrolments: list[EnrolmentAccount] = field(default_factory=list)
    respondents: int = 0
    questions: dict[str, QuestionAccount] = field(default_factory=dict)
    items: dict[str, QuestionAccount] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin an account for every question."""
        for module in self.course.modules:
            if module.quiz is not None:
                self.questions |= _questions(module.quiz)
        self.items |= _questions(self.course.survey)

    def told(self) -> Json:
        """Say what happened: figures over the learners who are enrolled at the end, then learner by learner."""
        learners = [enrolment for enrolment in self.enrolments if enrolment.belongs]
        enrolled = [enrolment for enrolment in learners if enrolment.enrolled]
        outcomes = Counter(enrolment.outcomes.told()["outcome"] for enrolment in enrolled)
        mean = sum(enrolment.progress for enrolment in enrolled) / len(enrolled) if enrolled else 0.0
        return {
            "name": self.course.activity["definition"]["name"],
            "kind": "cmi5" if self.course.cmi5 else "ordinary",
            "modules": [module.id for module in self.course.modules],
            "enrolled": len(enrolled),
            "unenrolled": len(learners) - len(enrolled),
            "completed": sum(enrolment.completed_at is not None for enrolment in enrolled),
            "passed": outcomes["passed"],
            "failed": outcomes["failed"],
            "mean_progress": round(mean, 2),
            "learners": [enrolment.told() for enrolment in learners],
            "survey": {
                "id": self.course.survey.activity["id"],
                "respondents": self.respondents,
                "items": {iri: item.told(survey=True) for iri, item in self.items.items()},
            },
            "questions": {iri: question.told(survey=False) for iri, question in self.questions.items()},
        }


def _questions(quiz: Quiz) -> dict[str, QuestionAccount]:
    return {str(question.activity["id"]): QuestionAccount(question.kind) for question in quiz.questions}


def _earliest(*instants: int | None) -> int | None:
    return min((one for one in instants if one is not None), default=None)


def _text(instant_ms: int | None) -> str | None:
    return None if instant_ms is None else utc_text(instant_ms)
