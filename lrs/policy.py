"""The privacy policy of this installation: every version of it, and which one holds when.

A folder has one JSON file for each version, and beside it the texts that this names: the shipped folder, or the one
that the setting `policy` names. What was published is never changed: a new version is a new file.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from lrs.errors import Misconfigured, NotFound
from schemas.errors import InvalidInput
from schemas.json_input import parse_json
from schemas.policy import PolicyVersion, read_version, text_files

SHIPPED = Path(__file__).parent.parent / "schemas" / "policy"


class Policy:
    """Every version of a policy, from the one that took effect first."""

    def __init__(self, versions: tuple[PolicyVersion, ...]) -> None:
        self._versions = tuple(sorted(versions, key=lambda one: one.effective_from))

    def __iter__(self) -> Iterator[PolicyVersion]:
        return iter(self._versions)

    def __len__(self) -> int:
        return len(self._versions)

    def policy_at(self, instant: datetime, known_at: datetime | None = None) -> PolicyVersion:
        """Give the version that is in effect at an instant, as far as is published at another (by default the same).

        Raises NotFound before the first.
        """
        known = self.published(known_at or instant)
        found = [one for one in known if one.effective_from <= instant]
        if not found:
            raise NotFound("no version of the policy was in effect then")
        return found[-1]

    def published(self, instant: datetime) -> tuple[PolicyVersion, ...]:
        """Give what is published at an instant, from the version that took effect first."""
        return tuple(one for one in self if one.published_at <= instant)

    def version(self, version: str, instant: datetime) -> PolicyVersion:
        """Give a version that is published at an instant. Raises NotFound, which names those that are."""
        known = self.published(instant)
        for one in known:
            if one.version == version:
                return one
        there_are = ", ".join(one.version for one in known) or "none yet"
        raise NotFound(f"there is no such version of the policy; there are {there_are}")

    def notices(self, instant: datetime) -> tuple[PolicyVersion, ...]:
        """Give what a banner shows at an instant: versions that are announced, and those that took effect lately.

        A version is shown from when it is published until its notice period after it took effect.
        """
        return tuple(one for one in self.published(instant) if instant < one.period.after(one.effective_from))


def load_policy(folder: Path | None = None) -> Policy:
    """Read and check every version in a folder, the shipped one where none is given.

    Raises Misconfigured, which names the file, the place in it and the mend.
    """
    folder = folder or SHIPPED
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError as error:
        raise Misconfigured(f"policy: the folder {folder} cannot be read: {error.strerror}") from error
    if not paths:
        raise Misconfigured(f"policy: the folder {folder} has no version: put one in as <version>.json")
    versions = {path: _read(path) for path in paths}
    _check_together(versions)
    return Policy(tuple(versions.values()))


def _read(path: Path) -> PolicyVersion:
    try:
        document = parse_json(path.read_bytes())
        contents = {name: (path.parent / name).read_bytes() for name in text_files(document)}
        return read_version(document, contents)
    except OSError as error:
        raise Misconfigured(f"policy: {error.filename} cannot be read: {error.strerror}") from error
    except InvalidInput as error:
        raise Misconfigured(f"policy: {path}, at {error.pointer or 'the top'}: {error.detail}") from error


def _check_together(versions: dict[Path, PolicyVersion]) -> None:
    """Check what no version can know alone. Raises Misconfigured."""
    in_order = sorted(versions.items(), key=lambda pair: pair[1].effective_from)
    names = [one.version for one in versions.values()]
    for path, one in in_order:
        if names.count(one.version) > 1:
            raise Misconfigured(f"policy: {path}, at /version: another file has this version, too; give each its own")
    (first_path, first), *_ = in_order
    if first.supersedes is not None:
        raise Misconfigured(
            f"policy: {first_path}, at /supersedes: no version was in effect before this one; leave it out"
        )
    for (_, before), (path, one) in pairwise(in_order):
        if one.id != before.id:
            raise Misconfigured(f"policy: {path}, at /id: all versions are of one policy; give {before.id}")
        if one.effective_from == before.effective_from:
            raise Misconfigured(
                f"policy: {path}, at /effective_from: version {before.version} takes effect then, too; choose another"
            )
        if one.supersedes != before.version:
            raise Misconfigured(
                f"policy: {path}, at /supersedes: give {before.version}, the version in effect until this one is"
            )
