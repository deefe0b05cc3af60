"""An event as a record on Kafka: key, value and headers; and the head markers between them.

The value is the event's state bit for bit as it is in the log, so a copy can be compared byte by byte. Everything else
stands in headers, the CloudEvents attributes among them (binary form): nothing has to be opened to copy, order or
restore a log. Nothing in a header is personal: kinds, numbers, times, and ids that are keyed hashes.

*prev* is the position before the record's in its partition, 0 where there is none: positions have gaps in a partition,
and prev proves that nothing between two records is missing. A *head marker* says that everything up to a position of
the log has been sent; it carries no event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from schemas.envelope import MalformedRecord

ID_BYTES = 16
HEAD = "griffel.head"
"""`ce_type` of a head marker."""

_SPEC_VERSION = ("ce_specversion", b"1.0")
_TYPE_PREFIX = "griffel."
_SOURCE_PREFIX = "urn:griffel:log:"
_HEAD_TYPE = ("ce_type", HEAD.encode())

Headers = list[tuple[str, bytes]]


class EventRecord(NamedTuple):
    """One event as it stands in a partition."""

    position: int
    originator_id: bytes
    version: int
    topic: str
    record_key: bytes
    stored_us: int
    state: bytes
    prev: int
    incarnation: bytes


class HeadMarker(NamedTuple):
    """Says that everything up to a position has been sent. stored_us is that of the event there."""

    through: int
    stored_us: int
    incarnation: bytes


class RecordWriter:
    """Makes the headers of one log's records. What is the same in all of them is made once."""

    def __init__(self, incarnation: bytes) -> None:
        self._source = ("ce_source", (_SOURCE_PREFIX + incarnation.hex()).encode())
        self._incarnation = ("incarnation", incarnation)
        self._types: dict[str, tuple[str, bytes]] = {}

    def headers(
        self, position: int, originator_id: bytes, version: int, topic: str, stored_us: int, prev: int
    ) -> Headers:
        """Give the headers of an event."""
        kind = self._types.get(topic)
        if kind is None:
            kind = self._types[topic] = ("ce_type", (_TYPE_PREFIX + topic).encode())
        number = b"%d" % position
        return [
            _SPEC_VERSION,
            ("ce_id", number),
            self._source,
            kind,
            ("originator_id", originator_id),
            ("originator_version", b"%d" % version),
            ("position", number),
            ("prev", b"%d" % prev),
            ("stored_us", b"%d" % stored_us),
            self._incarnation,
        ]

    def head_headers(self, through: int, stored_us: int) -> Headers:
        """Give the headers of a head marker."""
        return [
            _SPEC_VERSION,
            ("ce_id", b"head-%d" % through),
            self._source,
            _HEAD_TYPE,
            ("through", b"%d" % through),
            ("stored_us", b"%d" % stored_us),
            self._incarnation,
        ]


def read_record(
    key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]
) -> EventRecord | HeadMarker:
    """Give what a record says. Raises MalformedRecord when it is not one of ours."""
    named = dict(headers)
    try:
        kind = named["ce_type"].decode("ascii")
        incarnation = _id(named, "incarnation")
        stored_us = _number(named, "stored_us")
        if kind == HEAD:
            return HeadMarker(_number(named, "through"), stored_us, incarnation)
        if key is None or value is None or len(key) != ID_BYTES or not kind.startswith(_TYPE_PREFIX):
            raise MalformedRecord("record has no key, no value or a type that is not ours")
        position, prev = _number(named, "position"), _number(named, "prev")
        if not prev < position:
            raise MalformedRecord("record is not after the one before it")
        return EventRecord(
            position,
            _id(named, "originator_id"),
            _number(named, "originator_version"),
            kind[len(_TYPE_PREFIX) :],
            bytes(key),
            stored_us,
            bytes(value),
            prev,
            incarnation,
        )
    except KeyError as error:
        raise MalformedRecord("record lacks a header") from error
    except ValueError as error:
        if isinstance(error, MalformedRecord):
            raise
        raise MalformedRecord("record has a header that cannot be read") from error


def _number(headers: Mapping[str, bytes], name: str) -> int:
    value = headers[name]
    if not value.isdigit():
        raise MalformedRecord("record has a number that is none")
    return int(value)


def _id(headers: Mapping[str, bytes], name: str) -> bytes:
    value = headers[name]
    if len(value) != ID_BYTES:
        raise MalformedRecord("record has an id of another length")
    return bytes(value)
