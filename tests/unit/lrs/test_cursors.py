"""`more`: a sealed cursor that only the store reads and only its credential may use."""

from __future__ import annotations

import base64
import datetime
import os
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from lrs.credentials import Caller
from lrs.log_reader import Head
from lrs.reading import Cursor, StatementReader, microseconds, timestamp
from lrs.scopes import Scope
from projections.statement_index import Kind, term_number
from schemas.errors import InvalidInput

KEY = AESGCM.generate_key(256)
CALLER = Caller(b"credential", {}, frozenset({Scope.ALL}))
OTHER = Caller(b"another", {}, frozenset({Scope.ALL}))
TERM = os.urandom(16)
CURSOR = Cursor(
    caller=CALLER.blind,
    terms=[(int(Kind.AGENT), TERM)],
    after=3,
    upto=40,
    watermark_us=1_700_000_000_000_000,
    limit=5,
    ascending=False,
    format="exact",
    attachments=True,
    languages=["nl", "en"],
)


class EmptyLog:
    """A log in which nothing is found, that says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def positions(self, query: Any) -> tuple[list[Any], Head]:
        self.asked.append(query)
        return [], Head(50, 1_800_000_000_000_000)

    async def statements_at(self, positions: Any) -> dict[int, Any]:
        return {}


def make_reader(log: Any, key: bytes = KEY) -> StatementReader:
    vault: Any = SimpleNamespace(secrets=SimpleNamespace(cursor_key=AESGCM(key), placeholder_pepper=bytes(32)))
    catalogue: Any = None
    return StatementReader(log, vault, catalogue)


@pytest.fixture
def log() -> EmptyLog:
    return EmptyLog()


@pytest.fixture
def reader(log: EmptyLog) -> StatementReader:
    return make_reader(log)


async def test_a_cursor_goes_on_where_its_page_ended(log: EmptyLog, reader: StatementReader) -> None:
    page = await reader.next_page(reader._seal(CURSOR), CALLER)
    [query] = log.asked
    assert (query.terms, query.after, query.upto, query.ascending) == ((term_number(TERM),), 3, 40, False)
    assert (page.watermark_us, page.attachments, page.more) == (CURSOR.watermark_us, True, "")


async def test_a_cursor_outlives_a_restart(log: EmptyLog) -> None:
    token = make_reader(EmptyLog())._seal(CURSOR)
    await make_reader(log).next_page(token, CALLER)
    assert len(log.asked) == 1


async def test_a_cursor_is_its_credentials_alone(log: EmptyLog, reader: StatementReader) -> None:
    with pytest.raises(InvalidInput, match="another credential"):
        await reader.next_page(reader._seal(CURSOR), OTHER)
    assert log.asked == []


async def test_a_cursor_of_another_store_is_refused(reader: StatementReader) -> None:
    with pytest.raises(InvalidInput):
        await reader.next_page(make_reader(EmptyLog(), AESGCM.generate_key(256))._seal(CURSOR), CALLER)


async def test_a_cursor_with_any_character_changed_is_refused(log: EmptyLog, reader: StatementReader) -> None:
    token = reader._seal(CURSOR)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for at in range(len(token) - 1):  # the last character has bits that mean nothing
        changed = token[:at] + letters[(letters.index(token[at]) + 1) % 64] + token[at + 1 :]
        with pytest.raises(InvalidInput):
            await reader.next_page(changed, CALLER)
    for cut in range(len(token)):
        with pytest.raises(InvalidInput):
            await reader.next_page(token[:cut], CALLER)
    assert log.asked == []


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_garbage_is_refused(garbage: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        make_reader(EmptyLog())._unseal(garbage)
    assert not garbage or len(garbage) < 4 or garbage not in refused.value.detail


def test_a_cursor_says_nothing_to_who_has_it(reader: StatementReader) -> None:
    first, second = reader._seal(CURSOR), reader._seal(CURSOR)
    assert first != second
    raw = base64.urlsafe_b64decode(first + "=" * (-len(first) % 4))
    for secret in (TERM, b"credential", b"exact"):
        assert secret not in raw
    assert set(first) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.integers(-(2**40) * 1000, 253_402_300_799_999_999).filter(lambda us: us > -62_135_596_800_000_000))
def test_instants_are_written_to_the_microsecond(us: int) -> None:
    written = timestamp(us)
    assert written.endswith("Z")
    assert microseconds(datetime.datetime.fromisoformat(written)) == us
