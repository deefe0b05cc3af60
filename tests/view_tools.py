"""What tests of views need: an opener whose keys a test can destroy, and a small view of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from lrs.event_log import Event
from projections.projection import Json, Key, KeyGone, KeyRef, OpenedEvent, Opener, Row, Table, View
from projections.view_store import StoredView, ViewStore
from schemas.envelope import Algorithm, Header, Part, Purpose, parse_part
from schemas.events import STATEMENT_RECORDED

LEARNING = int(Purpose.LEARNING)


class OpenOpener:
    """An Opener without keys: contents are bound to their place, and end with `destroy`, but are not sealed."""

    def __init__(self) -> None:
        self.destroyed: set[bytes] = set()

    def destroy(self, owner: bytes) -> None:
        self.destroyed.add(owner)

    def events(self, events: Sequence[Any]) -> list[OpenedEvent]:
        return [one if isinstance(one, OpenedEvent) else self._opened(one) for one in events]

    def _opened(self, event: Any) -> OpenedEvent:
        """Open an event that `did` made: its learner is its record key, its state the statement."""
        who, statement = event.record_key, orjson.loads(event.state)
        common = (event.position, event.originator_id, event.topic, event.stored_us, who, who)
        if who in self.destroyed:
            return OpenedEvent(*common)
        return OpenedEvent(*common, statement, "experienced", key_of(who))

    def blind(self, kind: str, *values: str | bytes) -> bytes:
        raw = [one if isinstance(one, bytes) else one.encode() for one in (kind, *values)]
        return hashlib.sha256(b"\0".join(raw)).digest()[:16]

    def open_rows(self, rows: Sequence[tuple[bytes, bytes]]) -> list[Json | None]:
        opened: list[Json | None] = []
        for sealed, binding in rows:
            part = parse_part(sealed)
            if part.header.owner in self.destroyed:
                opened.append(None)
                continue
            assert part.box[:32] == hashlib.sha256(binding).digest(), "a row was moved"
            opened.append(orjson.loads(part.box[32:]))
        return opened

    def seal_row(self, key: KeyRef, binding: bytes, content: Json) -> bytes:
        if key.owner in self.destroyed:
            raise KeyGone
        header = Header(Algorithm.CLEAR, key.purpose, key.year, Part.ROW, key.owner, key.version, 1)
        return header.pack() + hashlib.sha256(binding).digest() + orjson.dumps(content)


def sixteen(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:16]


def key_of(learner: bytes, year: int = 2026, version: int = 1) -> KeyRef:
    return KeyRef(learner, LEARNING, year, version)


COUNT = Table("count", ("learner", "thing"), columns=("last",), indexes=(("thing",),))
MANY, FEW = b"many....", b"few....."
TALLY = Table("tally", ("thing", "learner"), counted=True)
"""How often each learner did each thing; a row is counted as FEW, or as MANY from three times on."""


class Counting:
    """A projection that counts what each learner did with each thing; `fails_on` makes an event poison."""

    name = "counting"
    tables: tuple[Table, ...] = (COUNT, TALLY)
    topics: frozenset[str] = frozenset({STATEMENT_RECORDED})

    def __init__(self, version: int = 1) -> None:
        self.version = version
        self.fails_on: set[int] = set()
        self.tried: list[int] = []

    def apply(self, events: Sequence[OpenedEvent], view: View, opener: Opener) -> None:
        for event in events:
            self.tried.append(event.position)
            if event.position in self.fails_on:
                raise ValueError("an event that cannot be applied")
            assert event.learner is not None
            assert event.statement is not None
            key = (event.learner, opener.blind("thing", event.statement["thing"]))
            row = view.get(COUNT, [key]).get(key)
            content = {"thing": event.statement["thing"], "count": 1 + (row.content["count"] if row else 0)}
            view.put(COUNT, [Row(key, content, key_of(event.learner), (event.originator_id,))])
            label = MANY if content["count"] >= 3 else FEW
            view.put(TALLY, [Row(key[::-1], content, key_of(event.learner), labels=frozenset({label}))])


def did(position: int, learner: str, thing: str) -> Event:
    """An event of that projection."""
    state = orjson.dumps({"thing": thing})
    return Event(
        position,
        sixteen(f"statement {position}"),
        1,
        STATEMENT_RECORDED,
        sixteen(learner),
        1_000_000 + position,
        state,
    )


def rows_of(store: ViewStore, name: str, tables: Sequence[Table]) -> dict[str, dict[Key, Json]]:
    """Every row of the view that serves, opened, by table and key."""
    with store.reading(name) as read:
        assert read is not None
        view: StoredView = read[0]
        return {table.name: {row.key: row.content for page in view.pages(table) for row in page} for table in tables}


def counts(store: ViewStore) -> dict[tuple[bytes, str], int]:
    rows = rows_of(store, "counting", [COUNT])["count"]
    return {(key[0], content["thing"]): content["count"] for key, content in rows.items()}
