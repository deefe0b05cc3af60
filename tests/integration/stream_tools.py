"""What tests of the completion stream share: who has completed what, as a ground truth and as entries have it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]
IDENTITIES = ("account", "mbox", "openid", "mbox_sha1sum")


def expected(truth: Json) -> dict[str, str]:
    """Who has completed what, when, by a term's ground truth."""
    return {
        _name(course_id, one["agent"], one["registration"]): one["completed_at"]
        for course_id, course in truth["courses"].items()
        for one in course["learners"]
        if one["completed_at"]
    }


def came_to(entries: Iterable[Json]) -> dict[str, str]:
    """What entries come to, worked in one after the other. No completion may come twice, none be taken back unsaid."""
    found: dict[str, str] = {}
    for one in entries:
        told = one["data"]
        key = _name(told["course"], told["actor"], told["registration"])
        if one["type"].endswith(".revoked"):
            del found[key]
        else:
            assert key not in found, "a completion came twice"
            found[key] = told["completed_at"]
    return found


def _name(course_id: str, agent: Json, registration: str | None) -> str:
    identity = {key: agent[key] for key in IDENTITIES if key in agent}
    return json.dumps([course_id, identity, registration], sort_keys=True)
