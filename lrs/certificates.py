"""The certificate of an erasure: what was destroyed and when, what remains, and when backups die too. Signed.

It says nothing about anybody. Its signature is a JWS (RFC 7515) under the installation's own Ed25519 key, over the same
content; the public key stands in it, so it can be checked without Griffel, and against the key that is published.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import orjson

from lrs.stores import reached

RULES = 1
"""Moves when a certificate would promise something else."""
REMAINS = (
    "Sealed records of this person stay in the log and its copies and can be opened by nobody. Beside them, unsealed: "
    "a random pseudonym that leads to nobody, positions, times, purposes, years, and lengths in steps of 128 bytes."
)

Sign = Callable[[dict[str, Any]], str]


class Horizon(NamedTuple):
    """Until when a backup of the vault can still be opened: that day, or never of itself, with the reason."""

    until_us: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """What an erasure found and did. Times in µs since 1970; keys by purpose."""

    erasure: str
    requested_us: int
    destroyed_us: int
    position: int
    keys: dict[str, int]
    identifiers: int
    erased: int
    ended: int
    shared: int
    named: int
    documents: int
    attachments: int
    activities: int
    stream_entries: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate: its content, and the JWS over it."""

    content: dict[str, Any]
    jws: str

    def told(self) -> dict[str, Any]:
        """Give it as it is shown."""
        return {**self.content, "jws": self.jws}

    def pack(self) -> bytes:
        """Give it as it is kept."""
        return orjson.dumps(self.told(), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def read(cls, packed: bytes) -> Certificate:
        """Undo `pack`."""
        content = orjson.loads(packed)
        return cls({name: value for name, value in content.items() if name != "jws"}, content["jws"])


class Certifier:
    """Makes certificates. horizon says, of a moment of destruction (µs), until when backups can be opened."""

    def __init__(
        self, sign: Sign, horizon: Callable[[int], Horizon], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._sign = sign
        self._horizon = horizon
        self._clock = clock

    def certify(self, found: Found) -> Certificate:
        """Give the certificate of what an erasure found and did."""
        horizon = self._horizon(found.destroyed_us)
        counts = asdict(found)
        content = {
            "type": "griffel.erasure.certificate",
            "rules": RULES,
            "erasure": found.erasure,
            "requested_at": _instant(found.requested_us),
            "keys_destroyed_at": _instant(found.destroyed_us),
            "completed_at": _instant(int(self._clock() * 1_000_000)),
            "log_position": found.position,
            "keys_destroyed": counts["keys"],
            "identifiers_deleted": found.identifiers,
            "statements": {
                "erased": found.erased,
                "of_which_shared": found.ended,
                "kept_for_others": found.shared,
                "with_placeholder": found.named,
            },
            "documents_deleted": found.documents,
            "attachments_deleted": found.attachments,
            "activities_forgotten": found.activities,
            "stream_entries_emptied": list(found.stream_entries),
            "stores": reached(),
            "backups_die_at": _instant(horizon.until_us) if horizon.until_us is not None else None,
            "backups": horizon.reason,
            "remains": REMAINS,
        }
        return Certificate(content, self._sign(content))


def _instant(us: int) -> str:
    moment = datetime.datetime.fromtimestamp(us / 1_000_000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
