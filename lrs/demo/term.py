"""The whole term: who takes which course, day after day."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

from lrs.demo.account import CourseAccount
from lrs.demo.catalogue import courses
from lrs.demo.cmi5_course import Cmi5Player, introduce_cmi5
from lrs.demo.ordinary_course import OrdinaryPlayer, Team, introduce_ordinary, script
from lrs.demo.outbox import Outbox
from lrs.demo.people import Learner, instructor, learner, team
from lrs.demo.player import Pen, Player, Stage, uuid_from
from lrs.demo.school_time import DAY, HOUR, Calendar

Json = dict[str, Any]

EDITION: Final = 1
"""Goes into every id. Raised with each change to what is played, so that two versions never give one id twice."""
TRUTH_FORMAT: Final = "griffel-demo-truth-1"
COURSES_EACH: Final = 2.5
TAKES_A_COURSE_MAX: Final = 0.5
TEAM_SIZE: Final = 4


@dataclass(frozen=True, slots=True)
class TermSettings:
    """What decides every statement of a term.

    Attributes:
        seed: any whole number.
        learners: how many there are in the school.
        courses: how many are given.
        weeks: how long the term is.
        start: its first day.
    """

    seed: int = 1
    learners: int = 300
    courses: int = 4
    weeks: int = 12
    start: date = date(2026, 9, 7)

    @property
    def key(self) -> str:
        """What all randomness of this term begins with: other settings share no id with it."""
        return hashlib.sha256(f"griffel demo {EDITION} {sorted(self.told().items())}".encode()).hexdigest()

    def told(self) -> Json:
        """Give the settings as JSON."""
        return asdict(self) | {"start": self.start.isoformat()}


class Term:
    """One school term, to be played once.

    Args:
        settings: what decides it.
    """

    def __init__(self, settings: TermSettings) -> None:
        self.settings = settings
        self._calendar = Calendar(settings.start, settings.weeks)
        self._outbox = Outbox(self._calendar)
        self._played = False
        run = f"{settings.start.isoformat()}-{settings.key[:6]}"
        self._stages = [
            Stage(settings.key, self._calendar, self._outbox, course, CourseAccount(course), instructor(number))
            for number, course in enumerate(courses(settings.courses, run), 1)
        ]

    @property
    def begins_ms(self) -> int:
        """The term's first instant, in milliseconds since 1970."""
        return self._calendar.start_ms

    @property
    def ends_ms(self) -> int:
        """The first instant after the term."""
        return self._calendar.end_ms

    def play(self) -> Iterator[tuple[int, bytes]]:
        """Yield every statement in the order in which it is sent, some of them twice: (instant in ms, JSON).

        One day is played at a time, so memory holds one day of statements and what is sent late.
        """
        if self._played:
            raise RuntimeError("a term is played once: make another")
        self._played = True
        players = self._enter_the_stage()
        for day in range(self._calendar.days):
            for player in players:
                player.play_day(day)
            if day == self._calendar.days - 1:
                for player in players:
                    player.close()
            yield from self._outbox.day(day)
        yield from self._outbox.day(self._calendar.days)

    def truth(self) -> Json:
        """Give the account of what was played; whole once `play` has been followed to its end."""
        return {
            "format": TRUTH_FORMAT,
            "settings": self.settings.told(),
            "statements": self._outbox.told(),
            "courses": {stage.course.id: stage.account.told() for stage in self._stages},
        }

    def _enter_the_stage(self) -> list[Player]:
        people = [learner(number) for number in range(1, self.settings.learners + 1)]
        chance = min(TAKES_A_COURSE_MAX, COURSES_EACH / len(self._stages))
        takes: dict[str, list[Learner]] = {stage.course.slug: [] for stage in self._stages}
        for person in people:
            rng = random.Random(f"{self.settings.key}/takes/{person.number}")  # noqa: S311 - repeatable
            possible = [stage.course for stage in self._stages if person.has_account or not stage.course.cmi5]
            chosen = [course for course in possible if rng.random() < chance]
            for course in chosen or [possible[person.number % len(possible)]]:
                takes[course.slug].append(person)
        players: list[Player] = []
        for stage in self._stages:
            self._introduce(stage)
            takers = takes[stage.course.slug]
            if stage.course.cmi5:
                players += [Cmi5Player(stage, person) for person in takers]
                continue
            steps = script(stage.course.modules)
            for number, first in enumerate(range(0, len(takers), TEAM_SIZE), 1):
                members = takers[first : first + TEAM_SIZE]
                together = Team(team(stage.course.id, number, members), set())
                players += [OrdinaryPlayer(stage, person, together, steps) for person in members]
        return players

    def _introduce(self, stage: Stage) -> None:
        """Have the instructor go through the course in the week before the term."""
        rng = random.Random(f"{self.settings.key}/introduce/{stage.course.slug}")  # noqa: S311 - repeatable
        pen, at = Pen(stage, rng), stage.calendar.start_ms - 6 * DAY + 9 * HOUR
        if stage.course.cmi5:
            registration = uuid_from(rng)
            introduce_cmi5(stage, pen, at, registration, [uuid_from(rng) for _ in stage.course.modules])
        else:
            introduce_ordinary(stage, pen, at)
