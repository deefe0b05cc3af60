"""Playing an ordinary course: pages, videos, quizzes, a group assignment and a final quiz."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from lrs.demo.account import Fact, Outcomes
from lrs.demo.catalogue import MASTERY_SCORE, Module, Quiz
from lrs.demo.people import Learner
from lrs.demo.player import Pen, Player, Stage
from lrs.demo.school_time import DAY, HOUR, MINUTE, SECOND, duration_text
from lrs.demo.video import watch
from lrs.demo.vocabulary import ATTEMPT, PROGRESS, reference

Json = dict[str, Any]

OFFLINE: Final = 0.05
WRONG_COMPLETION: Final = 0.012
WRONG_COURSE_COMPLETION: Final = 0.001
PASS_TAKEN_BACK: Final = 0.02
ATTEMPTS_MAX: Final = 3


@dataclass(slots=True)
class Team:
    """Learners who do the assignments of a course together.

    Attributes:
        group: as a statement names it.
        submitted: modules whose assignment was handed in.
    """

    group: Json
    submitted: set[str]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do in a module: read a page, watch, take a quiz, hand in, or finish.

    Attributes:
        module: index of the module.
        kind: page, video, quiz, assignment or finish.
        number: of the page.
        progress: of the module once it is done, in percent.
    """

    module: int
    kind: str
    number: int
    progress: int


def script(modules: tuple[Module, ...]) -> list[Step]:
    """List what there is to do in a course, in order."""
    steps = []
    for index, module in enumerate(modules):
        kinds = [("page", number) for number in range(len(module.pages))]
        if module.video is not None:
            kinds.insert(1, ("video", 0))
        if module.quiz is not None:
            kinds.append(("quiz", 0))
        if module.assignment is not None:
            kinds.append(("assignment", 0))
        for done, (kind, number) in enumerate(kinds, 1):
            steps.append(Step(index, kind, number, min(95, round(100 * done / (len(kinds) + 1)))))
        steps.append(Step(index, "finish", 0, 100))
    return steps


def introduce_ordinary(stage: Stage, pen: Pen, at: int) -> None:
    """Have the instructor look at every module before the term: so the course's structure is in the store."""
    context = {"contextActivities": {"parent": [stage.course.activity]}, "platform": "School"}
    for module in stage.course.modules:
        at += MINUTE
        pen.say(stage.instructor, "viewed", module.activity, at, context=context, utc=True)


class OrdinaryPlayer(Player):
    """One learner in an ordinary course.

    Args:
        stage: what the course shares.
        learner: who plays.
        team: who the learner does assignments with.
        steps: the course's script.
    """

    def __init__(self, stage: Stage, learner: Learner, team: Team, steps: list[Step]) -> None:
        super().__init__(stage, learner)
        self._team = team
        self._steps = steps
        self._at = 0
        self._attempts: dict[int, int] = {}
        self._entered_ms: dict[int, int] = {}
        self._course_done = False
        self._last = len(stage.course.modules) - 1

    def course_context(self) -> Json:
        """Give the context of a statement about the course."""
        return {"registration": self.registration, "platform": "School", "language": self.learner.language}

    def sit_down(self, start: int, minutes: float) -> int:
        """Go on with the course for about so long."""
        if self._at >= len(self._steps):
            return start
        until = start + int(minutes * MINUTE)
        if self.rng.random() < OFFLINE:
            self.pen.upload_at = until + DAY // 2 + self.rng.randrange(6 * DAY)
        now = start
        while now < until and self._at < len(self._steps) and self.is_open(self._steps[self._at].module, now):
            now = self._do(self._steps[self._at], now)
        self._maybe_wrong_completion(now)
        return now

    def _context(self, module: Module, *inside: Json) -> Json:
        """Give the context of a statement in a module: what it is directly in, and what that is in."""
        parent, *around = [*inside, reference(module.activity), reference(self.course.activity)]
        activities: Json = {"parent": [parent], "grouping": around}
        return self.course_context() | {"contextActivities": activities}

    def _do(self, step: Step, now: int) -> int:
        """Do one step and give the instant at which it is done."""
        module, rng = self.course.modules[step.module], self.rng
        self._entered_ms.setdefault(step.module, now)
        if step.kind == "page":
            length = rng.randrange(2 * MINUTE, 9 * MINUTE)
            result = {"duration": duration_text(length // SECOND * SECOND)}
            context = self._context(module)
            now += length
            self.pen.say(
                self.learner.agent, "experienced", module.pages[step.number], now, context=context, result=result
            )
        elif step.kind == "video" and module.video is not None:
            activity, length_s = module.video
            context = self._context(module)
            now = watch(self.pen, rng, self.learner.agent, activity, length_s=length_s, now=now, context=context)
        elif step.kind == "quiz" and module.quiz is not None:
            now, done = self._take_quiz(step.module, module, module.quiz, now)
            if not done:
                return now
        elif step.kind == "assignment" and module.assignment is not None:
            now = self._hand_in(module, module.assignment, now)
        elif step.kind == "finish":
            now = self._finish(step.module, module, now)
        self._at += 1
        if step.kind != "finish" and (step.number % 2 or step.kind != "page"):
            now += SECOND
            self._progress(step, module, now)
        return now

    def _progress(self, step: Step, module: Module, at: int) -> None:
        account = self.account.modules[step.module]
        account.reached = max(account.reached, step.progress)
        result = {"extensions": {PROGRESS: step.progress}}
        context = self._context(module)
        context["contextActivities"] = {"parent": [reference(self.course.activity)]}
        self.pen.say(self.learner.agent, "progressed", module.activity, at, context=context, result=result)

    def _take_quiz(self, index: int, module: Module, quiz: Quiz, now: int) -> tuple[int, bool]:
        """Take a quiz once; say when that is done, and whether the learner leaves it at that."""
        attempt = self._attempts[index] = self._attempts.get(index, 0) + 1
        knows = min(0.98, self.ability + 0.1 * (attempt - 1))
        agent, start = self.learner.agent, now
        context = self._context(module)
        self.pen.say(agent, "attempted", quiz.activity, now, context=context | {"extensions": {ATTEMPT: attempt}})
        inside, right = self._context(module, reference(quiz.activity)), 0
        for question in quiz.questions:
            now += self.rng.randrange(10 * SECOND, 80 * SECOND)
            right += self.answer(question, now, inside, attempt, knows)
        now += 2 * SECOND
        score = {"scaled": round(right / len(quiz.questions), 4), "raw": right, "min": 0, "max": len(quiz.questions)}
        passed = score["scaled"] >= MASTERY_SCORE
        verb = "passed" if passed else "failed"
        result = {"score": score, "success": passed, "duration": duration_text(now - start)}
        told = context | {"instructor": self.stage.instructor, "extensions": {ATTEMPT: attempt}}
        self.pen.say(agent, verb, quiz.activity, now, context=told, result=result)
        _note(self.account.modules[index].outcomes, now, score["scaled"], passed=passed)
        if index == self._last:
            now += SECOND
            result = {"score": score, "success": passed}
            context = self.course_context() | {"instructor": self.stage.instructor}
            said = self.pen.say(agent, verb, self.course.activity, now, context=context, result=result)
            fact = _note(self.account.outcomes, now, score["scaled"], passed=passed)
            if passed and self.rng.random() < PASS_TAKEN_BACK:
                self.staff_will(self.after(said, 4), lambda at: self.take_back(said, fact, at))
        return now, passed or attempt >= ATTEMPTS_MAX or self.rng.random() >= self.character.tries_again

    def _hand_in(self, module: Module, assignment: Json, now: int) -> int:
        """Hand in an assignment: the first of a team hands in for all, and each gets a mark some days later."""
        now += self.rng.randrange(20 * MINUTE, 60 * MINUTE)
        context = self._context(module) | {"team": self._team.group}
        if module.id not in self._team.submitted:
            self._team.submitted.add(module.id)
            work = f"{self._team.group['account']['name']} {module.id}".encode()
            paper = {
                "usageType": "https://school.example/xapi/attachments/work",
                "display": {"en": "Our work", "nl": "Ons werk"},
                "contentType": "application/pdf",
                "length": 20_000 + len(work),
                "sha2": hashlib.sha256(work).hexdigest(),
                "fileUrl": f"https://files.school.example/{hashlib.sha256(work).hexdigest()[:16]}.pdf",
            }
            self.pen.say(
                self._team.group, "submit", assignment, now, context=self._context(module), attachments=[paper]
            )
        said = self.pen.say(self.learner.agent, "submit", assignment, now + SECOND, context=context)
        mark = round(min(10.0, max(1.0, self.rng.gauss(4.5 + 4 * self.ability, 1))), 1)
        result = {"score": {"scaled": round(mark / 10, 4), "raw": mark, "min": 1, "max": 10}}
        self.staff_will(self.after(said, 6), lambda at: self._mark(assignment, context, result, at))
        return now + SECOND

    def _mark(self, assignment: Json, context: Json, result: Json, at: int) -> None:
        told = context | {"instructor": self.stage.instructor}
        self.pen.say(self.learner.agent, "scored", assignment, at, context=told, result=result, utc=True)

    def _finish(self, index: int, module: Module, now: int) -> int:
        """Complete a module; with the last one the platform completes the course."""
        now += 3 * SECOND
        context = self._context(module)
        context["contextActivities"] = {"parent": [reference(self.course.activity)]}
        result = {"completion": True, "duration": duration_text(now - self._entered_ms[index])}
        self.account.modules[index].completions.append(Fact(now))
        self.pen.say(self.learner.agent, "completed", module.activity, now, context=context, result=result)
        if index == self._last:
            self._course_done = True
            now += SECOND
            self.account.completions.append(Fact(now))
            result = {"completion": True}
            context = self.course_context() | {"instructor": self.stage.instructor}
            self.pen.say(self.learner.agent, "completed", self.course.activity, now, context=context, result=result)
        return now

    def _maybe_wrong_completion(self, now: int) -> None:
        """Now and then the platform marks something complete that is not; the instructor takes it back."""
        if self._at >= len(self._steps):
            return
        at = now + HOUR
        chance = self.rng.random()
        if chance < WRONG_COURSE_COMPLETION:
            fact, context = Fact(at), self.course_context()
            self.account.completions.append(fact)
            target = self.course.activity
        elif chance < WRONG_COMPLETION:
            index = self._steps[self._at].module
            fact, target = Fact(at), self.course.modules[index].activity
            context = self.course_context()
            context["contextActivities"] = {"parent": [reference(self.course.activity)]}
            self.account.modules[index].completions.append(fact)
        else:
            return
        said = self.pen.say(
            self.learner.agent, "completed", target, at, context=context, result={"completion": True}, utc=True
        )
        self.staff_will(self.after(said, 4), lambda now: self.take_back(said, fact, now))


def _note(outcomes: Outcomes, at: int, score: float, *, passed: bool) -> Fact:
    fact = Fact(at, score)
    (outcomes.passes if passed else outcomes.fails).append(fact)
    return fact
