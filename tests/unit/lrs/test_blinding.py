"""Keyed hashes: equal for equal values under one key, and for nothing else."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrs import blinding
from lrs.blinding import Blinding, KeyedHash
from projections.statement_index import TERM_BYTES, Kind

IDS, IDENTIFIERS = b"i" * 32, b"p" * 32
ID = "6690E6C9-3ef0-4ed3-8b37-7f3964730bee"


@pytest.fixture
def blind() -> Blinding:
    return Blinding(IDS, IDENTIFIERS)


@given(st.binary(max_size=64), st.binary(max_size=5_000))
def test_a_keyed_hash_is_hmac_sha_256(key: bytes, message: bytes) -> None:
    assert KeyedHash(key).digest(message) == hmac.digest(key, message, "sha256")


def test_a_longer_key_is_refused() -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        KeyedHash(bytes(65))


def test_hashes_are_the_same_in_every_process(blind: Blinding) -> None:
    again = Blinding(IDS, IDENTIFIERS)
    assert blind.identifier("mbox\0mailto:a@b.example") == again.identifier("mbox\0mailto:a@b.example")
    assert blind.statement(ID) == again.statement(ID)
    assert blind.term(Kind.VERB, "http://v") == again.term(Kind.VERB, "http://v")


def test_hashes_under_another_pepper_are_others(blind: Blinding) -> None:
    other = Blinding(b"j" * 32, b"q" * 32)
    assert blind.identifier("a") != other.identifier("a")
    assert blind.statement(ID) != other.statement(ID)
    assert blind.term(Kind.VERB, "http://v") != other.term(Kind.VERB, "http://v")
    assert blind.id("state", "a") != other.id("state", "a")


def test_identifiers_and_ids_have_peppers_of_their_own() -> None:
    rotated = Blinding(IDS, b"q" * 32)
    blind = Blinding(IDS, IDENTIFIERS)
    assert rotated.statement(ID) == blind.statement(ID)
    assert rotated.identifier("a") != blind.identifier("a")


def test_a_statements_id_is_one_in_either_case(blind: Blinding) -> None:
    assert blind.statement(ID) == blind.statement(ID.lower()) == blind.statement(ID.upper())


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["state", "document", "documents"]), st.text("ab", max_size=2), st.text("ab", max_size=2)
        ),
        unique=True,
        max_size=12,
    )
)
def test_ids_are_equal_only_when_kind_and_every_value_are(asked: list[tuple[str, str, str]]) -> None:
    blind = Blinding(IDS, IDENTIFIERS)
    assert len({blind.id(kind, *values) for kind, *values in asked}) == len(asked)


def test_terms_of_different_kinds_are_different(blind: Blinding) -> None:
    terms = {blind.term(kind, "https://school.example/same") for kind in Kind}
    assert len(terms) == len(Kind)
    assert {len(term) for term in terms} == {TERM_BYTES}


def test_a_term_of_text_and_of_its_bytes_are_one(blind: Blinding) -> None:
    assert blind.term(Kind.VERB, "https://é") == blind.term(Kind.VERB, "https://é".encode())


def test_what_is_kept_of_terms_is_bounded_and_forgetting_changes_nothing(
    blind: Blinding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blinding, "TERMS_KEPT_MAX", 10)
    values = [f"https://school.example/{number}" for number in range(35)]
    first = [blind.term(Kind.VERB, value) for value in values]
    assert [blind.term(Kind.VERB, value) for value in values] == first
    assert len(set(first)) == len(values)
    assert all(len(kept) <= 10 for kept in blind._terms.values())


def test_a_value_does_not_stand_in_its_hash(blind: Blinding) -> None:
    for digest in (blind.identifier("canary"), blind.id("state", "canary"), blind.term(Kind.VERB, "canary")):
        assert b"canary" not in digest
