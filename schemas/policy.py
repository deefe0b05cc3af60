"""A version of the privacy policy: its texts, who answers for it, since when it holds, and what its file must say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.checks import array_of, check_boolean, check_string, matching, object_of
from schemas.errors import InvalidInput
from schemas.languages import check_language_tag
from schemas.periods import Period, check_period, parse_period
from schemas.times import check_timestamp_2, parse_timestamp

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contact:
    """Where somebody is reached: an address, and a name where there is one."""

    contact: str
    name: str | None = None

    def as_json(self) -> Json:
        """Give it as it is published."""
        return {"contact": self.contact} | ({} if self.name is None else {"name": self.name})


@dataclass(frozen=True, slots=True)
class Controller:
    """Who decides what personal data is kept for (GDPR 4(7)), with the data protection officer."""

    id: str
    name: str
    contact: str
    dpo: Contact
    address: str | None = None

    def as_json(self) -> Json:
        """Give it as it is published."""
        found: Json = {"id": self.id, "name": self.name, "contact": self.contact, "dpo": self.dpo.as_json()}
        return found if self.address is None else found | {"address": self.address}


@dataclass(frozen=True, slots=True)
class PolicyText:
    """The policy in one language. sha256: of the text's bytes, in hexadecimal, computed from them."""

    language: str
    title: str
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One version of the policy.

    id: of the policy, the same for all its versions. published_at and effective_from: in the zone of its file.
    material: whether it changes what learners may expect; such a version is effective no sooner than `notice_period`
    after it was published. supersedes: the version before, None for the first.
    """

    id: str
    version: str
    controller: Controller
    texts: tuple[PolicyText, ...]
    published_at: datetime
    effective_from: datetime
    notice_period: str
    material: bool
    supersedes: str | None = None
    source: str | None = None

    @property
    def period(self) -> Period:
        """Give the notice period."""
        return parse_period(self.notice_period)

    @property
    def languages(self) -> tuple[str, ...]:
        """Give the languages that there is a text in."""
        return tuple(one.language for one in self.texts)

    def text_in(self, *languages: str) -> PolicyText:
        """Give the text in the first of these languages that there is one in, else the first text.

        A text in `nl` also serves whoever asks for `nl-BE`, and the other way round.
        """
        for exact in (True, False):
            for wanted in languages:
                for one in self.texts:
                    if _same(one.language, wanted, exact=exact):
                        return one
        return self.texts[0]


def _same(language: str, wanted: str, *, exact: bool) -> bool:
    language, wanted = language.lower(), wanted.lower()
    return language == wanted if exact else language.partition("-")[0] == wanted.partition("-")[0]


def text_files(document: Any) -> list[str]:
    """Give the names of the files that a version's own file names for its texts.

    Raises InvalidInput, pointing at the place, when the version's file is not as it must be.
    """
    _VERSION(document)
    return [one["file"] for one in document["texts"]]


def read_version(document: Json, contents: Mapping[str, bytes]) -> PolicyVersion:
    """Read a version from its file, which has passed `text_files`, and the contents of the files that this named.

    Raises InvalidInput, pointing at the place, when a text is not UTF-8, is empty, or is not the one that was
    published: the hash that the file may give is compared with the text's.
    """
    texts = []
    for index, one in enumerate(document["texts"]):
        content = contents[one["file"]]
        sha256 = hashlib.sha256(content).hexdigest()
        if one.get("sha256", sha256) != sha256:
            rule = "The text is another than this hash is of. A text that was published stays; publish a new version."
            raise InvalidInput(rule, f"/texts/{index}/sha256")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise InvalidInput("The text's file must be UTF-8.", f"/texts/{index}/file") from None
        if not text.strip():
            raise InvalidInput("The text's file is empty.", f"/texts/{index}/file")
        texts.append(PolicyText(one["language"], one["title"], text, sha256))
    controller = document["controller"]
    dpo = controller["dpo"]
    return PolicyVersion(
        id=document["id"],
        version=document["version"],
        controller=Controller(
            id=controller["id"],
            name=controller["name"],
            contact=controller["contact"],
            dpo=Contact(dpo["contact"], dpo.get("name")),
            address=controller.get("address"),
        ),
        texts=tuple(texts),
        published_at=_moment(document["published_at"]),
        effective_from=_moment(document["effective_from"]),
        notice_period=document["notice_period"],
        material=document["material"],
        supersedes=document.get("supersedes"),
        source=document.get("source"),
    )


def _moment(text: str) -> datetime:
    """Read a checked timestamp, and keep the zone that it is written in: its date is the one that people read."""
    instant = parse_timestamp(text, "2.0.0")
    try:
        return instant.astimezone(datetime.fromisoformat(text.upper()).tzinfo)
    except ValueError:
        # A leap second; the library knows none.
        return instant


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_dates(document: Json) -> None:
    published = parse_timestamp(document["published_at"], "2.0.0")
    effective = parse_timestamp(document["effective_from"], "2.0.0")
    if effective < published:
        raise InvalidInput("A version takes effect when it is published or later.", "/effective_from")
    earliest = parse_period(document["notice_period"]).after(published)
    if document["material"] and effective < earliest:
        when = earliest.strftime("%Y-%m-%dT%H:%M:%SZ")
        raise InvalidInput(
            f"A material change takes effect after its notice period: on {when} at the earliest.", "/effective_from"
        )


def _check_languages(texts: list[Any]) -> None:
    seen: set[str] = set()
    for index, one in enumerate(texts):
        if one["language"].lower() in seen:
            raise InvalidInput("There is a text in this language already.", f"/{index}/language")
        seen.add(one["language"].lower())


_IDENTIFIER = matching(
    re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"), "This must be of A-Z, a-z, 0-9, dot, dash and underscore."
)
_FILE = matching(
    re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"),
    "This must be the name of a file beside this one, without a folder.",
)
_TEXT = matching(re.compile(r"\S(?:[^\r\n]{0,254}\S)?"), "This must be a line of text.")
_HASH = matching(re.compile(r"[0-9a-f]{64}"), "This must be a SHA-256 as 64 hexadecimal digits, a to f small.")
_VERSION = object_of(
    {
        "id": _IDENTIFIER,
        "version": _IDENTIFIER,
        "source": check_string,
        "controller": object_of(
            {
                "id": _IDENTIFIER,
                "name": _TEXT,
                "contact": _TEXT,
                "address": _TEXT,
                "dpo": object_of({"contact": _TEXT, "name": _TEXT}, "contact", named=False),
            },
            "id",
            "name",
            "contact",
            "dpo",
            named=False,
        ),
        "texts": array_of(
            object_of(
                {"language": check_language_tag, "title": _TEXT, "file": _FILE, "sha256": _HASH},
                "language",
                "title",
                "file",
                named=False,
            ),
            empty=False,
            also=_check_languages,
        ),
        "published_at": check_timestamp_2,
        "effective_from": check_timestamp_2,
        "notice_period": check_period,
        "material": check_boolean,
        "supersedes": _IDENTIFIER,
    },
    "id",
    "version",
    "controller",
    "texts",
    "published_at",
    "effective_from",
    "notice_period",
    "material",
    also=_check_dates,
    named=False,
)
