"""Activity definitions: where statements carry them, how they merge, and one language of them.

An activity is defined by whoever posts about it, piece by piece. The store keeps one merged definition for each
activity (xAPI Data 2.4.4.1): later language entries and extensions replace earlier ones of the same key, everything
else that is given replaces what was there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

COMPONENT_LISTS = ("choices", "scale", "source", "target", "steps")
CONTEXT_LISTS = ("parent", "grouping", "category", "other")
_MERGED_MAPS = ("name", "description", "extensions")


def activities_of(statement: Json) -> list[Json]:
    """Give every activity object in a normalised statement: object, contextActivities, and the sub-statement's."""
    found: list[Json] = []
    target = statement["object"]
    kind = target.get("objectType", "Activity")
    if kind == "Activity":
        found.append(target)
    context = statement.get("context")
    if context is not None and (lists := context.get("contextActivities")) is not None:
        for members in lists.values():
            found += members
    return found + activities_of(target) if kind == "SubStatement" else found


def merge_definitions(old: Json | None, new: Json) -> Json:
    """Give the definition that holds after `new` was posted. Neither argument changes."""
    if old is None:
        return new
    merged = {**old, **new}
    for key in _MERGED_MAPS:
        if key in old and key in new:
            merged[key] = {**old[key], **new[key]}
    return merged


def is_covered(old: Json | None, new: Json) -> bool:
    """Say whether merging `new` into `old` would change nothing."""
    return old is not None and merge_definitions(old, new) == old


def in_language(definition: Json, languages: Sequence[str]) -> Json:
    """Give the definition with one entry in each language map, by the reader's preference (xAPI Comm. 2.1.3)."""
    chosen = dict(definition)
    for key in ("name", "description"):
        if key in chosen:
            chosen[key] = one_language(chosen[key], languages)
    for key in COMPONENT_LISTS:
        if key in chosen:
            chosen[key] = [
                {**one, "description": one_language(one["description"], languages)} if "description" in one else one
                for one in chosen[key]
            ]
    return chosen


def one_language(entries: Json, languages: Sequence[str]) -> Json:
    """Give a language map with the single best entry for ranges in order of preference (RFC 4647 lookup).

    Falls back on the undetermined language, then on the map's first entry.
    """
    if len(entries) <= 1:
        return entries
    by_tag = {tag.lower(): tag for tag in entries}
    for wanted in languages:
        if wanted == "*":
            break
        piece = wanted.lower()
        while piece:
            for tag, original in by_tag.items():
                if tag == piece or tag.startswith(piece + "-"):
                    return {original: entries[original]}
            piece = piece.rpartition("-")[0]
    first = by_tag.get("und") or next(iter(entries))
    return {first: entries[first]}


def preferred_languages(accept_language: str) -> list[str]:
    """Read an Accept-Language header into ranges, most wanted first. What cannot be read is passed over (RFC 9110)."""
    weighted: list[tuple[float, str]] = []
    if not accept_language.isascii():
        return []
    for piece in accept_language[:1_000].split(","):
        tag, _, parameter = piece.strip().partition(";")
        weight = 1.0
        name, _, value = parameter.strip().partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                continue
        if tag and 0 < weight <= 1:
            weighted.append((weight, tag.strip()))
    weighted.sort(key=lambda one: -one[0])
    return [tag for _, tag in weighted]
