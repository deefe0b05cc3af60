"""Records on Kafka: what is written is read again, and is what asyncapi.json says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2

from schemas import topics
from schemas.envelope import MalformedRecord
from schemas.events import KINDS
from schemas.records import EventRecord, Headers, HeadMarker, RecordWriter, read_record
from tests.descriptions import ASYNCAPI, header_validator

ids = st.binary(min_size=16, max_size=16)
numbers = st.integers(1, 2**62)


DESCRIBED = {name: header_validator(name) for name in (*KINDS, "head")}


def as_text(headers: Headers) -> dict[str, str]:
    return {name: value.decode("latin-1") for name, value in headers}


@given(numbers, ids, numbers, st.sampled_from(KINDS), ids, numbers, st.binary(), ids)
def test_an_event_that_is_written_is_read_again(position, stream, version, topic, key, stored_us, state, incarnation):
    headers = RecordWriter(incarnation).headers(position, stream, version, topic, stored_us, position - 1)
    expected = EventRecord(position, stream, version, topic, key, stored_us, state, position - 1, incarnation)
    assert read_record(key, state, headers) == expected
    DESCRIBED[topic].validate(as_text(headers))


@given(numbers, numbers, ids)
def test_a_head_marker_that_is_written_is_read_again(through, stored_us, incarnation):
    headers = RecordWriter(incarnation).head_headers(through, stored_us)
    assert read_record(None, b"", headers) == HeadMarker(through, stored_us, incarnation)
    DESCRIBED["head"].validate(as_text(headers))


EVENT = RecordWriter(bytes(16)).headers(7, bytes(16), 1, KINDS[0], 5, 3)


@pytest.mark.parametrize("name", [name for name, _ in EVENT if not name.startswith("ce_") or name == "ce_type"])
def test_a_record_that_lacks_a_header_is_malformed(name):
    with pytest.raises(MalformedRecord):
        read_record(bytes(16), b"state", [one for one in EVENT if one[0] != name])


@pytest.mark.parametrize(
    ("key", "value", "changed"),
    [
        (None, b"state", {}),
        (b"short", b"state", {}),
        (bytes(16), None, {}),
        (bytes(16), b"state", {"position": b"-7"}),
        (bytes(16), b"state", {"position": b"seven"}),
        (bytes(16), b"state", {"prev": b"7"}),
        (bytes(16), b"state", {"incarnation": b"short"}),
        (bytes(16), b"state", {"ce_type": b"other.kind"}),
        (bytes(16), b"state", {"ce_type": b"\xff"}),
    ],
)
def test_a_record_that_is_not_ours_is_malformed(key, value, changed):
    with pytest.raises(MalformedRecord):
        read_record(key, value, list({**dict(EVENT), **changed}.items()))


@given(ids, st.integers(1, topics.PARTITIONS_MAX))
def test_a_key_leads_to_the_partition_that_kafkas_clients_choose(key, partitions):
    assert topics.partition_of(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions


def test_the_description_names_the_topic_as_it_is_made():
    described_topic = ASYNCAPI["channels"]["events"]["bindings"]["kafka"]
    assert ASYNCAPI["channels"]["events"]["address"] == described_topic["topic"] == topics.EVENTS
    assert described_topic["partitions"] == topics.PARTITIONS_DEFAULT
    for name, value in described_topic["topicConfiguration"].items():
        assert topics.SETTINGS[name] == (value[0] if isinstance(value, list) else str(value))
