"""Kafka topics: what they are called, how they must be set up, which partition an event is in.

There is one topic for the events of the log. Its records are as immutable as the log: kept for ever and never
compacted. A learner's events are in one partition, in order, because the partition follows from the record's key; so
the number of partitions is fixed for the life of a log.
"""

from __future__ import annotations

import struct
from functools import lru_cache

EVENTS = "griffel.events"
"""Every event of the log, sealed."""

GROUP_PREFIX = "griffel."
"""In front of a projection's name: its consumer group."""

PARTITIONS_DEFAULT = 12
PARTITIONS_MAX = 1_000
RECORD_BYTES_MAX = 64 * 1024 * 1024
"""The largest record that topic, relay and consumers take."""

SETTINGS = {
    "cleanup.policy": "delete",
    "max.message.bytes": str(RECORD_BYTES_MAX),
    "message.timestamp.type": "CreateTime",
    "retention.bytes": "-1",
    "retention.ms": "-1",
}
"""How the topic must be set up; nothing else leaves the log whole."""

_WORDS = struct.Struct("<4I")
_KEY_BYTES = 16
_KEYS_KEPT_MAX = 65_536
_MASK = 0xFFFFFFFF
_FACTOR = 0x5BD1E995
_SEED = 0x9747B28C


def group_of(projection: str) -> str:
    """Give the consumer group of a projection."""
    return GROUP_PREFIX + projection


@lru_cache(_KEYS_KEPT_MAX)
def partition_of(record_key: bytes, partitions: int) -> int:
    """Give the partition of a record: what Kafka's own clients choose for the same key (murmur2 of 16 bytes)."""
    mixed = _SEED ^ _KEY_BYTES
    for word in _WORDS.unpack(record_key):
        term = word * _FACTOR & _MASK
        term ^= term >> 24
        mixed = (mixed * _FACTOR & _MASK) ^ (term * _FACTOR & _MASK)
    mixed ^= mixed >> 13
    mixed = mixed * _FACTOR & _MASK
    mixed ^= mixed >> 15
    return (mixed & 0x7FFFFFFF) % partitions
