"""The people of the term. They do not exist, and their names and addresses say so."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

HOME_PAGE: Final = "https://school.example"
_FIRST: Final = (
    "Sanne",
    "Daan",
    "Emma",
    "Milan",
    "Noor",
    "Levi",
    "Yara",
    "Bram",
    "Fatima",
    "Thijs",
    "Lotte",
    "Mohamed",
    "Isa",
    "Ruben",
    "Aylin",
    "Joris",
    "Zoë",
    "Finn",
    "Maud",
    "Amir",
    "Olivia",
    "Jack",
    "Grace",
    "Samuel",
    "Priya",
    "Oliver",
    "Chidi",
    "Wei",
    "Maria",
    "Tomasz",
)
_LAST: Final = (
    "van Voorbeeld",
    "Verzonnen",
    "de Testman",
    "Proefveld",
    "van der Schets",
    "Fictiema",
    "Exempel",
    "Nietbestaand",
    "Dummyveen",
    "van Sjabloon",
    "Madeup",
    "Placeholder",
    "O’Sample",
)


@dataclass(frozen=True, slots=True)
class Learner:
    """Somebody who learns.

    Attributes:
        number: from 1.
        agent: as platforms write the actor.
        has_account: whether the agent is an account, which cmi5 needs.
        language: of what the learner writes: nl or en.
        wall_clock: whether the learner's programs write timestamps in local time.
    """

    number: int
    agent: Json
    has_account: bool
    language: str
    wall_clock: bool


def learner(number: int) -> Learner:
    """Invent the learner with this number; always the same one."""
    rng = random.Random(f"griffel demo learner {number}")  # noqa: S311 - repeatable, not secret
    name = f"{_FIRST[rng.randrange(len(_FIRST))]} {_LAST[rng.randrange(len(_LAST))]}"
    address = f"mailto:leerling{number:04}@school.example"
    has_account = False
    if number % 12 == 5:  # noqa: PLR2004 - some are known by their mailbox, few by other identifiers
        agent: Json = {"objectType": "Agent", "name": name, "mbox": address}
    elif number % 30 == 8:  # noqa: PLR2004
        agent = {"objectType": "Agent", "openid": f"https://id.school.example/leerling{number:04}"}
    elif number % 45 == 13:  # noqa: PLR2004
        digest = hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
        agent = {"objectType": "Agent", "mbox_sha1sum": digest}
    else:
        has_account = True
        agent = {
            "objectType": "Agent",
            "name": name,
            "account": {"homePage": HOME_PAGE, "name": f"leerling-{number:04}"},
        }
    return Learner(number, agent, has_account, "en" if rng.random() < 0.3 else "nl", rng.random() < 0.15)  # noqa: PLR2004


def instructor(number: int) -> Json:
    """Invent a member of staff as an agent."""
    name = f"Docent {_LAST[number % len(_LAST)]}"
    return {"objectType": "Agent", "name": name, "account": {"homePage": HOME_PAGE, "name": f"docent-{number:02}"}}


def team(course_id: str, number: int, members: list[Learner]) -> Json:
    """Give the group that does an assignment together."""
    return {
        "objectType": "Group",
        "name": f"Groep {number}",
        "account": {"homePage": HOME_PAGE, "name": f"{course_id.removeprefix(HOME_PAGE)}/groep-{number}"},
        "member": [member.agent for member in members],
    }
