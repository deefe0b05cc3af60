"""The courses of the term: modules, pages, videos, questions, surveys, with names in English and Dutch.

Two kinds: *ordinary* courses, which a learning platform reports as it likes, and *cmi5* courses, whose modules are
assignable units with a moveOn rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

import orjson

from lrs.demo import vocabulary

Json = dict[str, Any]

MASTERY_SCORE: Final = 0.7
PAGES: Final = 3
LIKERT: Final = (
    ("1", "Strongly disagree", "Helemaal oneens"),
    ("2", "Disagree", "Oneens"),
    ("3", "Neutral", "Neutraal"),
    ("4", "Agree", "Eens"),
    ("5", "Strongly agree", "Helemaal eens"),
)


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a quiz or a survey.

    Attributes:
        activity: the object of `answered`.
        kind: its interactionType.
        options: ids of the possible responses; empty for free text.
        correct: the correct response, as result.response would have it; None in a survey.
    """

    activity: Json
    kind: str
    options: tuple[str, ...]
    correct: str | None = None


@dataclass(frozen=True, slots=True)
class Quiz:
    """Questions that are answered together and give a score."""

    activity: Json
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Module:
    """A part of a course.

    Attributes:
        activity: the module, or in a cmi5 course the unit, under the id that the platform gave it.
        pages: what there is to read.
        video: the activity of its video and the video's length in seconds, or None.
        quiz: or None.
        assignment: the activity of a group assignment, or None.
        move_on: the rule of a unit; empty in an ordinary course.
        publisher: the unit under the id that its publisher gave it.
        block: index of the block that a unit is in.
    """

    activity: Json
    pages: tuple[Json, ...]
    video: tuple[Json, int] | None = None
    quiz: Quiz | None = None
    assignment: Json | None = None
    move_on: str = ""
    publisher: Json = field(default_factory=dict)
    block: int = 0

    @property
    def id(self) -> str:
        """The id of its activity."""
        return str(self.activity["id"])


@dataclass(frozen=True, slots=True)
class Course:
    """A course as it is given this term.

    Attributes:
        slug: a short name for it, unique in the term.
        activity: the course.
        cmi5: whether it is a cmi5 course.
        modules: in their order.
        survey: the activity of the survey, and its questions.
        blocks: activities of its blocks (platform's and publisher's id); only in a cmi5 course.
        publisher: the course under the id that its publisher gave it; only in a cmi5 course.
    """

    slug: str
    activity: Json
    cmi5: bool
    modules: tuple[Module, ...]
    survey: Quiz
    blocks: tuple[tuple[Json, Json], ...] = ()
    publisher: Json = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The id of its activity."""
        return str(self.activity["id"])


_Text = tuple[str, str]
"""The same text in English and in Dutch."""
_Modules = list[tuple[_Text, list[_Text]]]
"""Name and topics of each module."""
_AUTHORED: Final[list[Json]] = orjson.loads(resources.files("lrs.demo").joinpath("courses.json").read_bytes())
_MOVE_ON = ("Completed", "CompletedOrPassed", "CompletedAndPassed", "Passed")
_SURVEY: Final = (
    ("likert", "The goals of this course are clear to me.", "De doelen van deze cursus zijn mij duidelijk."),
    ("likert", "The pace suits me.", "Het tempo past bij mij."),
    ("likert", "I can use what I learn.", "Ik kan gebruiken wat ik leer."),
    ("likert", "I get help when I need it.", "Ik krijg hulp als ik die nodig heb."),
    ("choice", "When do you learn?", "Wanneer leert u?"),
    ("long-fill-in", "What should we change?", "Wat moeten wij veranderen?"),
)
_WHEN: Final = (
    ("day", "By day", "Overdag"),
    ("evening", "In the evening", "’s Avonds"),
    ("weekend", "At the weekend", "In het weekend"),
)


def courses(count: int, run: str) -> tuple[Course, ...]:
    """Give the courses of a term; more than are authored are further groups of the same.

    Args:
        count: how many.
        run: what tells this term's courses from another's; it goes into every id.
    """
    given = []
    for number in range(count):
        authored, group = _AUTHORED[number % len(_AUTHORED)], number // len(_AUTHORED)
        slug, title = authored["slug"], _text(authored["title"])
        if group:
            slug = f"{slug}-{group + 1}"
            title = (f"{title[0]}, group {group + 1}", f"{title[1]}, groep {group + 1}")
        modules = [(_text(one["title"]), [_text(topic) for topic in one["topics"]]) for one in authored["modules"]]
        given.append((_cmi5_course if authored["cmi5"] else _ordinary_course)(slug, run, title, modules))
    return tuple(given)


def _activity(iri: str, kind: str, name: _Text, **more: Any) -> Json:
    return {"id": iri, "objectType": "Activity", "definition": {"name": _map(name), "type": kind, **more}}


def _text(names: Json) -> _Text:
    return names["en"], names["nl"]


def _map(text: _Text) -> Json:
    return {"en": text[0], "nl": text[1]}


def _ordinary_course(slug: str, run: str, title: _Text, modules: _Modules) -> Course:
    iri = f"https://school.example/courses/{run}/{slug}"
    made = []
    for number, (name, topics) in enumerate(modules, 1):
        module, last = f"{iri}/modules/{number}", number == len(modules)
        video = _activity(f"{module}/video", vocabulary.VIDEO, (f"Video: {name[0]}", f"Video: {name[1]}"))
        assignment = _activity(
            f"{module}/assignment", vocabulary.ASSIGNMENT, (f"Assignment: {name[0]}", f"Opdracht: {name[1]}")
        )
        made.append(
            Module(
                _activity(module, vocabulary.MODULE, name),
                tuple(_page(module, page, topics[page - 1]) for page in range(1, PAGES + 1)),
                (video, 240 + 45 * number) if number % 2 else None,
                _quiz(module, name, topics) if number % 3 or last else None,
                assignment if number == len(modules) - 2 else None,
            )
        )
    return Course(slug, _activity(iri, vocabulary.COURSE, title), False, tuple(made), _survey(iri, title))


def _cmi5_course(slug: str, run: str, title: _Text, modules: _Modules) -> Course:
    iri, publisher = f"https://lms.school.example/cmi5/{run}/{slug}", f"https://publisher.example/cmi5/{slug}"
    half = (len(modules) + 1) // 2
    blocks = tuple(
        (
            _activity(f"{iri}/blocks/{letter}", vocabulary.CMI5_BLOCK, (f"Part {letter}", f"Deel {letter}")),
            {"id": f"{publisher}/blocks/{letter}"},
        )
        for letter in ("A", "B")
    )
    made = []
    for number, (name, topics) in enumerate(modules, 1):
        unit, move_on = f"{iri}/units/{number}", _MOVE_ON[(number - 1) % len(_MOVE_ON)]
        made.append(
            Module(
                _activity(unit, vocabulary.LESSON, name),
                ()
                if move_on == "Passed"
                else tuple(_page(unit, page, topics[page - 1]) for page in range(1, PAGES + 1)),
                quiz=None if move_on == "Completed" else _quiz(unit, name, topics),
                move_on=move_on,
                publisher={"id": f"{publisher}/units/{number}"},
                block=0 if number <= half else 1,
            )
        )
    activity = _activity(iri, vocabulary.CMI5_COURSE, title)
    return Course(slug, activity, True, tuple(made), _survey(iri, title), blocks, {"id": publisher})


def _page(module: str, number: int, topic: _Text) -> Json:
    return _activity(f"{module}/pages/{number}", vocabulary.PAGE, (f"About {topic[0]}", f"Over {topic[1]}"))


def _quiz(module: str, name: _Text, topics: list[_Text]) -> Quiz:
    """Make a quiz with a question of one answer for each topic, one of two answers, and one of yes or no."""
    quiz = f"{module}/quiz"
    letters = "abcd"[: len(topics)]
    choices = [{"id": letter, "description": _map(topic)} for letter, topic in zip(letters, topics, strict=True)]
    questions = []
    for number, letter in enumerate(letters, 1):
        text = (f"Which one does page {number} describe?", f"Welke beschrijft bladzijde {number}?")
        questions.append(_question(f"{quiz}/q{number}", "choice", text, letter, choices=choices))
    both = (f"Which two belong to “{name[0]}” first?", f"Welke twee horen het eerst bij ‘{name[1]}’?")
    questions.append(_question(f"{quiz}/q{len(letters) + 1}", "choice", both, "a[,]b", choices=choices))
    claim = (f"“{name[0]}” always begins with {topics[0][0]}.", f"‘{name[1]}’ begint altijd met {topics[0][1]}.")
    questions.append(_question(f"{quiz}/q{len(letters) + 2}", "true-false", claim, "false"))
    return Quiz(_activity(quiz, vocabulary.ASSESSMENT, (f"Quiz: {name[0]}", f"Toets: {name[1]}")), tuple(questions))


def _question(iri: str, kind: str, text: _Text, correct: str, **more: Any) -> Question:
    activity = _activity(
        iri, vocabulary.INTERACTION, text, interactionType=kind, correctResponsesPattern=[correct], **more
    )
    options = tuple(str(choice["id"]) for choice in more.get("choices", ())) or ("true", "false")
    return Question(activity, kind, options, correct)


def _survey(course: str, title: _Text) -> Quiz:
    """Make the survey that is held halfway: Likert scales, one choice and one free text; none is right or wrong."""
    iri, questions = f"{course}/survey", []
    for number, (kind, english, dutch) in enumerate(_SURVEY, 1):
        scale = LIKERT if kind == "likert" else _WHEN if kind == "choice" else ()
        options = [{"id": option, "description": _map((en, nl))} for option, en, nl in scale]
        more: Json = {"scale": options} if kind == "likert" else {"choices": options} if kind == "choice" else {}
        activity = _activity(f"{iri}/i{number}", vocabulary.INTERACTION, (english, dutch), interactionType=kind, **more)
        questions.append(Question(activity, kind, tuple(str(option["id"]) for option in options)))
    name = (f"Halfway: {title[0]}", f"Halverwege: {title[1]}")
    return Quiz(_activity(iri, vocabulary.SURVEY, name), tuple(questions))
