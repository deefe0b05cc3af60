"""Versions of the policy: the shipped one, what a folder may hold, and what is wrong with one said in a sentence."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lrs.errors import Misconfigured, NotFound
from lrs.policy import SHIPPED, load_policy
from schemas.policy import PolicyVersion

Json = dict[str, Any]
NOW = datetime(2026, 11, 23, tzinfo=UTC)
FIRST: Json = {
    "id": "school",
    "version": "1",
    "controller": {"id": "school", "name": "The School", "contact": "p@school.example", "dpo": {"contact": "d@x.nl"}},
    "texts": [{"language": "nl", "title": "Privacy", "file": "1.txt"}],
    "published_at": "2026-01-01T00:00:00Z",
    "effective_from": "2026-01-01T00:00:00Z",
    "notice_period": "P1M",
    "material": False,
}
SECOND: Json = FIRST | {
    "version": "2",
    "texts": [
        {"language": "nl", "title": "Privacy", "file": "2.nl.txt"},
        {"language": "en-GB", "title": "Privacy", "file": "2.en.txt"},
    ],
    "published_at": "2026-06-30T00:00:00Z",
    "effective_from": "2026-07-30T00:00:00Z",
    "material": True,
    "supersedes": "1",
}


def folder(tmp_path: Path, change: Callable[[Json, Json], object] = lambda *_: None) -> Path:
    """A folder with two versions, changed before they are written."""
    first, second = copy.deepcopy(FIRST), copy.deepcopy(SECOND)
    change(first, second)
    for name, one in (("1.json", first), ("2.json", second)):
        (tmp_path / name).write_text(json.dumps(one))
    for name in ("1.txt", "2.nl.txt", "2.en.txt"):
        (tmp_path / name).write_text(f"Text of {name}\n")
    return tmp_path


def test_the_shipped_policy_is_the_published_text_word_for_word() -> None:
    [version] = load_policy()
    content = (SHIPPED / "2017-01-01.nl.txt").read_bytes()
    [text] = version.texts
    assert (version.version, text.language, text.text) == ("2017-01-01", "nl", content.decode())
    assert text.sha256 == hashlib.sha256(content).hexdigest()
    assert text.text.rstrip().endswith("Geldig met ingang van 1 januari 2017.")
    assert version.effective_from.date().isoformat() == "2017-01-01"
    assert version.controller.contact == version.controller.dpo.contact == "privacy@uwv.nl"
    assert version.source is not None
    assert load_policy().policy_at(NOW) == version


def test_the_version_at_an_instant_is_the_last_that_took_effect(tmp_path: Path) -> None:
    policy = load_policy(folder(tmp_path))
    ends = datetime(2026, 7, 30, tzinfo=UTC)
    assert policy.policy_at(ends - timedelta(microseconds=1)).version == "1"
    assert policy.policy_at(ends).version == "2"
    assert policy.policy_at(ends, known_at=datetime(2026, 2, 1, tzinfo=UTC)).version == "1"
    with pytest.raises(NotFound):
        policy.policy_at(datetime(2025, 12, 31, tzinfo=UTC))


def test_a_notice_stands_from_publication_until_its_period_after_taking_effect(tmp_path: Path) -> None:
    policy = load_policy(folder(tmp_path))

    def shown(*day: int) -> list[str]:
        return [one.version for one in policy.notices(datetime(*day, tzinfo=UTC))]

    assert shown(2025, 12, 31) == []
    assert shown(2026, 1, 31) == ["1"]
    assert shown(2026, 2, 1) == []
    assert shown(2026, 6, 30) == ["2"]
    assert shown(2026, 8, 29) == ["2"]
    assert shown(2026, 8, 30) == []


@pytest.mark.parametrize(
    ("wanted", "language"),
    [(("en-GB",), "en-GB"), (("en",), "en-GB"), (("de", "NL-be"), "nl"), (("de",), "nl"), ((), "nl")],
)
def test_a_text_is_in_the_language_that_is_wanted_most_else_in_the_first(
    tmp_path: Path, wanted: tuple[str, ...], language: str
) -> None:
    version: PolicyVersion = load_policy(folder(tmp_path)).policy_at(NOW)
    assert version.text_in(*wanted).language == language


def put(**values: Any) -> Callable[[Json, Json], object]:
    return lambda _, second: second.update(values)


def text(**values: Any) -> Callable[[Json, Json], object]:
    return lambda _, second: second["texts"][1].update(values)


WRONG = {
    "too soon": (put(effective_from="2026-07-29T23:59:59Z"), "2.json, at /effective_from", "on 2026-07-30T00:00:00Z"),
    "before": (put(material=False, effective_from="2026-06-01T00:00:00Z"), "at /effective_from", "published or later"),
    "same day": (lambda a, b: a.update(effective_from=b["effective_from"]), "at /effective_from", "choose another"),
    "same name": (put(version="1"), "at /version", "give each its own"),
    "no chain": (lambda _, b: b.pop("supersedes"), "2.json, at /supersedes", "give 1,"),
    "first": (lambda a, _: a.update(supersedes="0"), "1.json, at /supersedes", "leave it out"),
    "another": (put(id="college"), "2.json, at /id", "give school"),
    "changed": (text(sha256="0" * 64), "2.json, at /texts/1/sha256", "publish a new version"),
    "twice": (text(language="NL"), "2.json, at /texts/1/language", "in this language already"),
    "away": (text(file="none.txt"), "none.txt cannot be read", "No such file"),
    "outside": (text(file="../1.txt"), "2.json, at /texts/1/file", "without a folder"),
    "no officer": (lambda _, b: b["controller"].pop("dpo"), "2.json, at /controller", "`dpo` is required"),
    "no date": (put(published_at="2026-06-30"), "2.json, at /published_at", "RFC 3339"),
    "period": (put(notice_period="a month"), "2.json, at /notice_period", "such as P2Y or P90D"),
    "more": (put(colour="red"), "2.json, at /colour", "no such property"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_named_with_its_file_place_and_mend(tmp_path: Path, kind: str) -> None:
    change, place, mend = WRONG[kind]
    with pytest.raises(Misconfigured) as raised:
        load_policy(folder(tmp_path, change))
    for said in ("policy: ", place, mend):
        assert said in raised.value.detail


def test_what_is_not_material_may_take_effect_at_once(tmp_path: Path) -> None:
    load_policy(folder(tmp_path, put(material=False, effective_from="2026-06-30T00:00:00Z")))


@pytest.mark.parametrize(("content", "mend"), [(b"", "is empty"), (b" \n", "is empty"), (b"\xff", "UTF-8")])
def test_a_text_has_words_in_utf_8(tmp_path: Path, content: bytes, mend: str) -> None:
    (folder(tmp_path) / "2.en.txt").write_bytes(content)
    with pytest.raises(Misconfigured, match=mend):
        load_policy(tmp_path)


def test_a_folder_without_versions_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="has no version"):
        load_policy(tmp_path)
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_policy(tmp_path / "none")
