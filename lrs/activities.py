"""The activity catalogue: one merged definition for each activity, kept as events of the activity's own stream.

Sealed under the activity's own key: a definition belongs to no learner, yet its text could carry a name (decision 17).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import orjson

from lrs.appending import NewEvent
from lrs.event_log import EventLog
from lrs.key_vault import KeyVault
from lrs.sealing import key_of, open_part, seal_part
from schemas.activities import Json, activities_of, is_covered, merge_definitions
from schemas.envelope import Algorithm, Header, Part, Purpose, join_parts, split_parts
from schemas.events import ACTIVITY_DEFINED

DEFINITIONS_KEPT_MAX = 5_000
COVERED_KEPT_MAX = 20_000
KNOWN_S = 5.0
"""How long a definition is believed that another process may have changed."""
BELIEVED_S = 60.0
"""How long a definition is believed to be there still: the activity may have been forgotten by another process."""
NO_YEAR = 0
SCHEMA = 1


_PREFIX = "activity\0"


def owner_identifier(activity_id: str) -> str:
    """Give the identifier by which the vault knows an activity. No person's can equal it: its kind is its own."""
    return _PREFIX + activity_id


def is_activity(identifier: str) -> bool:
    """Say whether an identifier of the vault is an activity's."""
    return identifier.startswith(_PREFIX)


def activity_of_identifier(identifier: str) -> str:
    """Undo `owner_identifier`."""
    return identifier.removeprefix(_PREFIX)


class ActivityCatalogue:
    """Definitions as they stand, read from the log, the recent ones kept in memory."""

    def __init__(self, log: EventLog, vault: KeyVault) -> None:
        self._log = log
        self._vault = vault
        self._known: dict[str, tuple[int, Json | None]] = {}
        self._read_s: dict[str, float] = {}
        self._covered: dict[tuple[str, bytes], int] = {}

    async def definitions(self, activity_ids: Iterable[str]) -> dict[str, Json | None]:
        """Give each activity's definition as the log had it KNOWN_S ago at the latest, None where it has none."""
        activity_ids = list(activity_ids)
        old_s = time.monotonic() - KNOWN_S
        self.forget([one for one in activity_ids if self._read_s.get(one, old_s) <= old_s])
        found = await self._load(list(dict.fromkeys(activity_ids)))
        return {one: definition for one, (_, definition) in found.items()}

    def forget(self, activity_ids: Iterable[str]) -> None:
        """Read these from the log again when they are next asked for: another process may have changed them."""
        for one in activity_ids:
            self._known.pop(one, None)
            self._read_s.pop(one, None)

    def collect(self, statements: Iterable[Json]) -> dict[str, Json]:
        """Give what statements say about activities that may be new, merged in their order; cheap when nothing is."""
        said: dict[str, Json] = {}
        old_s = time.monotonic() - BELIEVED_S
        for statement in statements:
            for activity in activities_of(statement):
                definition = activity.get("definition")
                if not definition:
                    continue
                activity_id = activity["id"]
                known = self._known.get(activity_id)
                if (
                    known is not None
                    and self._read_s[activity_id] > old_s
                    and self._covered.get((activity_id, orjson.dumps(definition))) == known[0]
                ):
                    continue
                said[activity_id] = merge_definitions(said.get(activity_id), definition)
        return said

    async def changes(self, said: Mapping[str, Json]) -> list[tuple[str, NewEvent]]:
        """Give an event for each activity whose definition changes by what was said: (activity id, event)."""
        old_s = time.monotonic() - BELIEVED_S
        self.forget([one for one in said if self._read_s.get(one, old_s) <= old_s])
        known = await self._load(list(said))
        changed: dict[str, tuple[int, Json]] = {}
        for activity_id, definition in said.items():
            version, current = known[activity_id]
            if is_covered(current, definition):
                self._remember_covered(activity_id, definition, version)
            else:
                changed[activity_id] = (version + 1, merge_definitions(current, definition))
        if not changed:
            return []
        identifiers = [owner_identifier(one) for one in changed]
        owners = await self._vault.pseudonyms(identifiers, NO_YEAR, Purpose.ACTIVITY)
        keys = await self._vault.for_sealing(owners.values(), Purpose.ACTIVITY, NO_YEAR)
        events: list[tuple[str, NewEvent]] = []
        for activity_id, (version, definition) in changed.items():
            owner = owners[owner_identifier(activity_id)]
            key = keys[owner]
            if key is None:
                continue
            originator_id = self.stream(activity_id)
            header = Header(
                Algorithm.AES_256_GCM, Purpose.ACTIVITY, NO_YEAR, Part.DEFINITION, owner, key.version, SCHEMA
            )
            plain = orjson.dumps({"id": activity_id, "definition": definition})
            state = join_parts([seal_part(key.cipher, header, originator_id, plain)])
            events.append((activity_id, NewEvent(originator_id, version, ACTIVITY_DEFINED, owner, state)))
        return events

    async def current(self, activity_id: str) -> tuple[int, Json | None]:
        """Give the version of an activity's stream and its definition, as they are."""
        self.forget([activity_id])
        return (await self._load([activity_id]))[activity_id]

    def stream(self, activity_id: str) -> bytes:
        """Give the stream of an activity's events."""
        return self._vault.blinding.id("activity", activity_id)

    def _remember_covered(self, activity_id: str, definition: Json, version: int) -> None:
        if len(self._covered) >= COVERED_KEPT_MAX:
            self._covered.clear()
        self._covered[activity_id, orjson.dumps(definition)] = version

    async def _load(self, activity_ids: list[str]) -> dict[str, tuple[int, Json | None]]:
        """Give (version, definition) of each, from memory or from the log."""
        found = {one: self._known[one] for one in activity_ids if one in self._known}
        missing = {self.stream(one): one for one in activity_ids if one not in found}
        if not missing:
            return found
        rows = await self._log.newest_of_streams(list(missing))
        parts = {stream: next(split_parts(state)) for stream, (_, state) in rows.items()}
        defined = {stream: part for stream, part in parts.items() if part.header.part == Part.DEFINITION}
        ciphers = await self._vault.for_opening([key_of(part) for part in defined.values()])
        read: dict[str, tuple[int, Json | None]] = {}
        for stream, activity_id in missing.items():
            version, definition = 0, None
            if stream in rows:
                version = rows[stream][0]
            if stream in defined and (cipher := ciphers[key_of(defined[stream])]) is not None:
                definition = orjson.loads(open_part(cipher, defined[stream], stream))["definition"]
            read[activity_id] = (version, definition)
        if len(self._known) + len(read) > DEFINITIONS_KEPT_MAX:
            self._known.clear()
            self._read_s.clear()
        self._known |= read
        self._read_s |= dict.fromkeys(read, time.monotonic())
        return found | read
