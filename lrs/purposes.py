"""The register of purposes of this installation: the shipped one, or the file that the setting `purposes` names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from lrs.errors import Misconfigured, NotFound
from schemas.envelope import Purpose
from schemas.errors import InvalidInput
from schemas.json_input import parse_json
from schemas.purposes import Kept, PurposeEntry, Withdrawal, read_purposes

SHIPPED = Path(__file__).parent.parent / "schemas" / "purposes.json"
_ENTRY = re.compile(r"/purposes/([0-9]+)(/.*)?")


class Register:
    """Every purpose that this installation has, in the order of its file."""

    def __init__(self, entries: tuple[PurposeEntry, ...]) -> None:
        self._entries = {entry.id: entry for entry in entries}

    def __iter__(self) -> Iterator[PurposeEntry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, purpose_id: object) -> bool:
        return purpose_id in self._entries

    def purpose(self, purpose_id: str) -> PurposeEntry:
        """Give a purpose. Raises NotFound, which names those there are (and never what was asked for)."""
        try:
            return self._entries[purpose_id]
        except KeyError:
            raise NotFound(f"there is no such purpose; there are {', '.join(self._entries)}") from None

    def destroyed_with(self) -> frozenset[Purpose]:
        """Give the kinds of key that end when consent for their purpose is withdrawn."""
        return frozenset(
            one.key_class for one in self if one.key_class and one.on_withdrawal is Withdrawal.DESTROY_KEYS
        )

    def kept_under(self, key_class: int) -> tuple[PurposeEntry, ...]:
        """Give the purposes that share a kind of key."""
        return tuple(entry for entry in self if entry.key_class == key_class)

    def kept_until(self, key_class: int, year: int) -> datetime | None:
        """Give when the last term ends of what is sealed under a kind of key of a year.

        None: no purpose of the register keeps anything under it, so the register does not say. schemas.periods.FOREVER:
        time does not end it.
        """
        return max((entry.kept_until(year) for entry in self.kept_under(key_class)), default=None)

    def key_is_past(self, key_class: int, year: int, now: datetime) -> bool:
        """Say whether a key of this kind and year is past the term of every purpose that shares it.

        A key that no purpose of the register explains is not past: nothing is destroyed on the word of a gap.
        """
        until = self.kept_until(key_class, year)
        return until is not None and until <= now

    def held(self) -> tuple[Purpose, ...]:
        """Give the kinds of keys under which something is kept on hold: no term and no withdrawal ends them."""
        return tuple(entry.key_class for entry in self if entry.retention == Kept.HOLD and entry.key_class is not None)

    def as_json(self) -> list[dict[str, Any]]:
        """Give the register as it is published."""
        return [entry.as_json() for entry in self]


def load_purposes(path: Path | None = None) -> Register:
    """Read and check a register: the shipped one where no path is given.

    Raises Misconfigured, which names the file, the entry and the mend.
    """
    path = path or SHIPPED
    document: Any = None
    try:
        document = parse_json(path.read_bytes())
        return Register(read_purposes(document))
    except OSError as error:
        raise Misconfigured(f"purposes: {path} cannot be read: {error.strerror}") from error
    except InvalidInput as error:
        raise Misconfigured(f"purposes: {path}, {_place(document, error.pointer)}: {error.detail}") from error


def _place(document: Any, pointer: str) -> str:
    """Say in words where in a register something is wrong: by the entry's id where it has one."""
    found = _ENTRY.fullmatch(pointer)
    if found is None:
        return f"at {pointer or 'the top'}"
    index = int(found[1])
    entry = document["purposes"][index]
    named = entry.get("id") if isinstance(entry, dict) else None
    name = f"purpose {named}" if isinstance(named, str) else f"the purpose at place {index + 1}"
    return f"{name}, at {found[2]}" if found[2] else name
