"""Sealing: what is sealed is opened again, part by part, and whoever's key is destroyed is gone from it."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from lrs.errors import Damaged
from lrs.keys import KeyId, SealingKey
from lrs.sealing import (
    OpenedStatement,
    SealableStatement,
    SealedStatement,
    Together,
    key_of,
    open_part,
    open_statement,
    seal_part,
    seal_statement,
)
from schemas.actions import action_of
from schemas.envelope import (
    HEADER_BYTES,
    NOBODY,
    NONCE_BYTES,
    PADDING_BYTES,
    TAG_BYTES,
    Algorithm,
    Header,
    MalformedRecord,
    Part,
    Purpose,
    join_parts,
    parse_part,
    split_parts,
)
from schemas.people import CREDENTIALS_HOME_PAGE, ERASED_HOME_PAGE, identifier_of, people_of, sha1sum_identifier
from schemas.statement import check_statement
from tests.unit.schemas.builders import ANN, BEA, CAS, DEE, SIGNATURE, minimal
from tests.unit.schemas.statements import PEOPLE, STATEMENTS, person

YEAR = 2026
VERSION = 3
PEPPER = bytes(32)
STREAM = b"originator id 16"
STORED_US = 1_700_000_000_000_000


CREDENTIAL = {"objectType": "Agent", "account": {"homePage": CREDENTIALS_HOME_PAGE, "name": "q7hx"}}


def same_person(identifier: str) -> str:
    """What tells two learners apart here: a mailbox and its sum are one."""
    return sha1sum_identifier(identifier) or identifier


class Keys:
    """Pseudonyms and keys as a vault has them, all in memory; `destroyed` are pseudonyms whose keys are gone."""

    def __init__(self) -> None:
        self._owners: dict[str, bytes] = {}
        self._ciphers: dict[KeyId, AESGCM] = {}
        self.destroyed: set[bytes] = set()
        self.destroyed_purposes: set[Purpose] = set()

    def owner(self, identifier: str) -> bytes:
        return self._owners.setdefault(same_person(identifier), os.urandom(16))

    def owners(self, identifiers: Iterable[str]) -> dict[str, bytes]:
        return {one: self.owner(one) for one in identifiers}

    def cipher(self, key: KeyId) -> AESGCM | None:
        if key.owner in self.destroyed or key.purpose in self.destroyed_purposes:
            return None
        return self._ciphers.setdefault(key, AESGCM(AESGCM.generate_key(256)))

    def sealing(self, owners: Iterable[bytes], purpose: Purpose) -> dict[bytes, SealingKey | None]:
        found: dict[bytes, SealingKey | None] = {}
        for owner in owners:
            cipher = self.cipher(KeyId(owner, int(purpose), YEAR, VERSION))
            found[owner] = None if cipher is None else SealingKey(VERSION, cipher)
        return found

    def together(self, sealable: SealableStatement) -> Together:
        """The key of whom a statement is about together."""
        owner = hashlib.md5("\n".join(sorted(sealable.named.principals)).encode(), usedforsecurity=False).digest()
        cipher = self.cipher(KeyId(owner, int(Purpose.TOGETHER), 0, VERSION))
        assert cipher is not None
        return Together(owner, SealingKey(VERSION, cipher))

    def seal(self, statement: Mapping[str, Any], stream: bytes = STREAM, **more: Any) -> bytes:
        """Seal a statement, which must come out as it went in."""
        subject = copy.deepcopy(dict(statement))
        named = people_of(subject)
        sealable = SealableStatement(subject, named, stream, action_of(subject), YEAR, **more)
        everybody = [*named.identifiers(), *sealable.signed_people]
        owners = self.owners(everybody)
        learning = self.sealing(owners.values(), Purpose.LEARNING)
        survey = self.sealing(owners.values(), Purpose.SURVEY)
        state = seal_statement(sealable, owners, learning, survey, self.together(sealable))
        assert subject == statement
        return state

    def open(self, state: bytes, stream: bytes = STREAM) -> OpenedStatement | None:
        sealed = SealedStatement.read(7, stream, STORED_US, state)
        return open_statement(sealed, {key: self.cipher(key) for key in sealed.key_ids()}, PEPPER)

    def destroy(self, *agents: Mapping[str, Any]) -> None:
        for agent in agents:
            identifier = identifier_of(dict(agent))
            assert identifier is not None
            self.destroyed.add(self.owner(identifier))


def opened(keys: Keys, state: bytes, stream: bytes = STREAM) -> OpenedStatement:
    found = keys.open(state, stream)
    assert found is not None
    return found


# ----------------------------------------------------------------------------------------------------------- round trip


@given(STATEMENTS)
def test_what_is_sealed_is_opened_as_it_was(statement: dict[str, Any]) -> None:
    keys = Keys()
    found = opened(keys, keys.seal(statement))
    assert found.statement == statement
    assert (found.position, found.stored_us, found.action) == (7, STORED_US, action_of(statement))
    assert found.people == {keys.owner(one) for one in people_of(statement).identifiers()}
    assert found.intact


@given(STATEMENTS)
def test_nothing_of_a_statement_can_be_read_in_its_record(statement: dict[str, Any]) -> None:
    state = Keys().seal(statement)
    for part in split_parts(state):
        assert part.header.algorithm == Algorithm.AES_256_GCM
        assert part.header.year == (0 if part.header.part == Part.TOGETHER else YEAR)
    for text in (b"person-", b"school.example", b"expapi", b"Agent"):
        assert text not in state


@given(STATEMENTS)
def test_a_records_length_says_only_steps_of_128_bytes(statement: dict[str, Any]) -> None:
    for part in split_parts(Keys().seal(statement)):
        assert (len(part.box) - TAG_BYTES) % PADDING_BYTES == 0


@given(STATEMENTS)
def test_two_sealings_of_one_statement_have_nothing_in_common(statement: dict[str, Any]) -> None:
    keys = Keys()
    parts = [*split_parts(keys.seal(statement)), *split_parts(keys.seal(statement))]
    assert len({part.nonce for part in parts}) == len(parts)
    assert len({part.box for part in parts}) == len(parts)


def test_what_belongs_to_a_statement_comes_back_with_it() -> None:
    keys = Keys()
    blobs = {"aa": {"id": "00", "key": "k", "length": 1}}
    assert opened(keys, keys.seal(minimal(), blobs=blobs)).blobs == blobs


def test_one_principals_statement_is_one_part_and_each_further_person_adds_one() -> None:
    keys = Keys()
    kinds = {
        "alone": (minimal(actor=ANN), [Part.BODY]),
        "with an instructor": (minimal(actor=ANN, context={"instructor": BEA}), [Part.BODY, Part.PERSON]),
        "by a person": (minimal(actor=ANN, authority=BEA), [Part.BODY, Part.PERSON]),
        "by a credential": (minimal(actor=ANN, authority=CREDENTIAL), [Part.BODY]),
        "about two": (
            minimal(actor=ANN, object={"objectType": "Agent", **BEA}),
            [Part.BODY, Part.TOGETHER, Part.WRAP, Part.WRAP, Part.PERSON, Part.PERSON],
        ),
    }
    for statement, expected in kinds.values():
        assert [part.header.part for part in split_parts(keys.seal(statement))] == expected


# -------------------------------------------------------------------------------------------------------- keys that end


@settings(max_examples=200)
@given(STATEMENTS, st.sets(st.integers(1, PEOPLE)))
def test_the_body_dies_with_the_last_principal_and_everyone_else_becomes_a_placeholder(
    statement: dict[str, Any], gone: set[int]
) -> None:
    keys = Keys()
    state = keys.seal(statement)
    destroy_people(keys, gone)
    named = people_of(statement)
    principals = {keys.owner(one) for one in named.principals}
    found = keys.open(state)
    assert (found is None) == (principals <= keys.destroyed)
    if found is not None:
        assert_only_the_gone_are_gone(keys, statement, found)


@given(STATEMENTS)
def test_the_key_of_several_principals_together_ends_the_body_although_they_live(statement: dict[str, Any]) -> None:
    keys = Keys()
    state = keys.seal(statement)
    keys.destroyed_purposes.add(Purpose.TOGETHER)
    is_shared = len({keys.owner(one) for one in people_of(statement).principals}) > 1
    assert (keys.open(state) is None) == is_shared


@given(STATEMENTS, st.sets(st.integers(1, PEOPLE)))
def test_someone_who_was_gone_when_it_was_sealed_is_a_placeholder_too(
    statement: dict[str, Any], gone: set[int]
) -> None:
    keys = Keys()
    destroy_people(keys, gone)
    if {keys.owner(one) for one in people_of(statement).principals} <= keys.destroyed:
        return  # such a statement is refused before it comes to sealing
    assert_only_the_gone_are_gone(keys, statement, opened(keys, keys.seal(statement)))


def destroy_people(keys: Keys, numbers: Iterable[int]) -> None:
    for number in numbers:
        keys.destroy(*[person(number, kind) for kind in ("mbox", "openid", "account")])


def assert_only_the_gone_are_gone(keys: Keys, statement: dict[str, Any], found: OpenedStatement) -> None:
    check_statement(found.statement, "2.0.0")
    before, after = people_of(statement).namings, people_of(found.statement).namings
    assert [naming.role for naming in before] == [naming.role for naming in after]
    owners = {keys.owner(naming.identifier) for naming in before}
    for was, now in zip(before, after, strict=True):
        if keys.owner(was.identifier) in keys.destroyed:
            assert now.agent["account"]["homePage"] == ERASED_HOME_PAGE
            assert now.agent.keys() <= {"objectType", "account", "member"}
        else:
            assert {**now.agent, "member": 0} == {**was.agent, "member": 0}
    assert found.intact == owners.isdisjoint(keys.destroyed)
    assert found.people == owners - keys.destroyed
    written = json.dumps(found.statement, ensure_ascii=False)
    for naming in before:
        if keys.owner(naming.identifier) in keys.destroyed:
            assert naming.identifier.rpartition("\0")[2] not in written
    for key in ("verb", "result"):
        assert found.statement.get(key) == statement.get(key)


def test_an_authority_that_is_a_credential_is_nobody_who_could_be_erased() -> None:
    keys = Keys()
    statement = minimal(actor=ANN, authority=CREDENTIAL)
    state = keys.seal(statement)
    keys.destroy(CREDENTIAL)
    assert opened(keys, state).statement == statement
    assert opened(keys, state).intact


def test_placeholders_are_stable_in_one_statement_and_not_linkable_across() -> None:
    keys = Keys()
    statement = minimal(actor=ANN, context={"instructor": BEA, "team": {"objectType": "Group", "member": [BEA, CAS]}})
    streams = [os.urandom(16) for _ in range(4)]
    states = [keys.seal(statement, stream) for stream in streams]
    keys.destroy(BEA, CAS)
    names = []
    for stream, state in zip(streams, states, strict=True):
        first, second = opened(keys, state, stream).statement, opened(keys, state, stream).statement
        assert first == second
        names += [naming.agent["account"]["name"] for naming in people_of(first).namings[1:]]
    assert len(names) == len(set(names)) == 3 * len(streams)


def test_placeholders_of_another_installation_are_others() -> None:
    keys = Keys()
    state = keys.seal(minimal(actor=ANN, context={"instructor": BEA}))
    keys.destroy(BEA)
    sealed = SealedStatement.read(1, STREAM, 0, state)
    ciphers = {key: keys.cipher(key) for key in sealed.key_ids()}
    found = [open_statement(sealed, ciphers, pepper) for pepper in (bytes(32), os.urandom(32))]
    instructors = [one.statement["context"]["instructor"] for one in found if one is not None]
    assert instructors[0] != instructors[1]


# -------------------------------------------------------------------------------------------------------------- surveys


SURVEY_ANSWER = minimal(
    actor=ANN,
    verb={"id": "http://adlnet.gov/expapi/verbs/answered"},
    object={"id": "https://school.example/q", "definition": {"interactionType": "likert"}},
    result={"response": "likert_5"},
)


def test_a_survey_answers_result_ends_with_its_purpose_and_the_rest_stays() -> None:
    keys = Keys()
    state = keys.seal(SURVEY_ANSWER)
    assert [(part.header.part, part.header.purpose) for part in split_parts(state)] == [
        (Part.BODY, Purpose.LEARNING),
        (Part.RESULT, Purpose.SURVEY),
    ]
    assert opened(keys, state).statement == SURVEY_ANSWER
    keys.destroyed_purposes.add(Purpose.SURVEY)
    left = opened(keys, state)
    assert left.statement == {key: value for key, value in SURVEY_ANSWER.items() if key != "result"}
    assert not left.intact


def test_a_survey_answer_of_whom_no_survey_key_is_left_is_sealed_without_its_result() -> None:
    keys = Keys()
    keys.destroyed_purposes.add(Purpose.SURVEY)
    assert "result" not in opened(keys, keys.seal(SURVEY_ANSWER)).statement


# ----------------------------------------------------------------------------------------------------------- signatures


CONTENT = b"header.payload.signature"
SIGNATURE_SHA2 = hashlib.sha256(CONTENT).hexdigest()


def entry(sha2: str, usage: str) -> dict[str, Any]:
    return {
        "usageType": usage,
        "display": {"en": "Attached"},
        "contentType": "application/octet-stream",
        "length": len(CONTENT),
        "sha2": sha2,
    }


REPORT = entry("ab" * 32, "https://school.example/report")
SIGNED = minimal(actor=ANN, context={"instructor": BEA}, attachments=[entry(SIGNATURE_SHA2, SIGNATURE)])
BLOBS = {sha2: {"id": sha2[:32], "key": "k", "length": 24} for sha2 in (SIGNATURE_SHA2, REPORT["sha2"])}


def seal_signed(keys: Keys, statement: dict[str, Any]) -> bytes:
    blobs = {one["sha2"]: BLOBS[one["sha2"]] for one in statement["attachments"]}
    signed_people = frozenset(people_of(statement).identifiers())
    signatures = frozenset({SIGNATURE_SHA2})
    return keys.seal(statement, blobs=blobs, signature_sha2s=signatures, signed_people=signed_people)


def test_a_signature_opens_with_the_keys_of_everyone_it_names() -> None:
    keys = Keys()
    found = opened(keys, seal_signed(keys, SIGNED))
    assert found.statement == SIGNED
    assert found.blobs == {SIGNATURE_SHA2: BLOBS[SIGNATURE_SHA2]}
    assert found.intact


def test_attachments_keep_their_order_wherever_the_signature_stands() -> None:
    for attachments in ([REPORT, *SIGNED["attachments"]], [*SIGNED["attachments"], REPORT]):
        keys = Keys()
        statement = {**SIGNED, "attachments": attachments}
        assert opened(keys, seal_signed(keys, statement)).statement == statement


@pytest.mark.parametrize("actor", [ANN, {"objectType": "Group", "member": [ANN, DEE]}], ids=["one", "a group"])
def test_a_signature_ends_with_the_first_of_them_and_the_statement_stays(actor: dict[str, Any]) -> None:
    statement = {**SIGNED, "actor": actor, "attachments": [REPORT, *SIGNED["attachments"]]}
    for gone in itertools.chain.from_iterable(itertools.combinations((ANN, BEA, DEE), count) for count in (1, 2)):
        keys = Keys()
        state = seal_signed(keys, statement)
        keys.destroy(*gone)
        found = keys.open(state)
        named = people_of(statement)
        if {keys.owner(one) for one in named.principals} <= keys.destroyed:
            assert found is None
            continue
        assert found is not None
        signature_is_there = {keys.owner(one) for one in named.identifiers()}.isdisjoint(keys.destroyed)
        attachments = [REPORT, *SIGNED["attachments"]] if signature_is_there else [REPORT]
        assert found.statement["attachments"] == attachments
        assert set(found.blobs) == {one["sha2"] for one in attachments}
        check_statement(found.statement, "2.0.0")


def test_without_its_only_attachment_a_statement_has_none() -> None:
    keys = Keys()
    state = seal_signed(keys, SIGNED)
    keys.destroy(BEA)
    found = opened(keys, state)
    assert "attachments" not in found.statement
    assert (found.blobs, found.intact) == ({}, False)


def test_every_share_of_a_signatures_key_is_needed() -> None:
    keys = Keys()
    state = seal_signed(keys, SIGNED)
    parts = list(split_parts(state))
    shares = [at for at, part in enumerate(parts) if part.header.part == Part.SHARE]
    assert len(shares) == 2
    for left_out in shares:
        kept = join_parts(
            [part.header_bytes + part.nonce + part.box for at, part in enumerate(parts) if at != left_out]
        )
        with pytest.raises(Damaged):
            keys.open(kept)


# ------------------------------------------------------------------------------------------------- nothing can be moved


HEADER = Header(Algorithm.AES_256_GCM, Purpose.LEARNING, YEAR, Part.BODY, b"o" * 16, 1, 1)
OTHERS: dict[str, list[int] | list[bytes]] = {
    "purpose": [one for one in Purpose if one != Purpose.LEARNING],
    "year": [0, YEAR - 1, YEAR + 1],
    "part": [one for one in Part if one != Part.BODY],
    "owner": [b"p" * 16, NOBODY],
    "key_version": [0, 2],
    "schema": [0, 2],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in OTHERS.items() for value in values], ids=str
)
def test_a_part_whose_header_was_changed_does_not_open(field: str, value: Any) -> None:
    cipher = AESGCM(AESGCM.generate_key(256))
    sealed = seal_part(cipher, HEADER, STREAM, b"plain")
    assert open_part(cipher, parse_part(sealed), STREAM) == b"plain"
    moved = HEADER._replace(**{field: value}).pack() + sealed[HEADER_BYTES:]
    with pytest.raises(Damaged):
        open_part(cipher, parse_part(moved), STREAM)


@pytest.mark.parametrize("binding", [b"", STREAM[:-1], STREAM + b"\0", b"originator id 17"])
def test_a_part_does_not_open_in_another_event(binding: bytes) -> None:
    cipher = AESGCM(AESGCM.generate_key(256))
    with pytest.raises(Damaged):
        open_part(cipher, parse_part(seal_part(cipher, HEADER, STREAM, b"plain")), binding)


def test_a_part_with_any_byte_changed_does_not_open() -> None:
    cipher = AESGCM(AESGCM.generate_key(256))
    sealed = seal_part(cipher, HEADER, STREAM, b"plain")
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises((Damaged, MalformedRecord)):
            open_part(cipher, parse_part(changed), STREAM)


def test_a_part_that_was_cut_does_not_open() -> None:
    cipher = AESGCM(AESGCM.generate_key(256))
    sealed = seal_part(cipher, HEADER, STREAM, b"plain")
    for length in (
        HEADER_BYTES,
        HEADER_BYTES + 4,
        HEADER_BYTES + NONCE_BYTES,
        len(sealed) - TAG_BYTES,
        len(sealed) - 1,
    ):
        with pytest.raises((Damaged, MalformedRecord)):
            open_part(cipher, parse_part(sealed[:length]), STREAM)


def test_a_part_says_which_key_it_needs() -> None:
    part = parse_part(seal_part(AESGCM(bytes(32)), HEADER, STREAM, b""))
    assert key_of(part) == KeyId(b"o" * 16, Purpose.LEARNING, YEAR, 1)


@given(STATEMENTS)
def test_a_record_does_not_open_as_another_event(statement: dict[str, Any]) -> None:
    keys = Keys()
    with pytest.raises(Damaged):
        keys.open(keys.seal(statement), os.urandom(16))


def test_parts_of_two_records_do_not_mix() -> None:
    keys = Keys()
    one = minimal(actor=ANN, context={"instructor": BEA})
    first, second = (list(split_parts(keys.seal(one, stream))) for stream in (b"1" * 16, b"2" * 16))
    mixed = join_parts([part.header_bytes + part.nonce + part.box for part in (first[0], second[1])])
    for stream in (b"1" * 16, b"2" * 16):
        with pytest.raises(Damaged):
            keys.open(mixed, stream)


def test_a_record_without_a_body_is_damaged() -> None:
    keys = Keys()
    _, person_part = split_parts(keys.seal(minimal(actor=ANN, context={"instructor": BEA})))
    alone = join_parts([person_part.header_bytes + person_part.nonce + person_part.box])
    with pytest.raises(Damaged):
        keys.open(alone)


@given(st.binary(max_size=300))
def test_garbage_is_malformed_or_damaged(garbage: bytes) -> None:
    keys = Keys()
    for state in (garbage, join_parts([garbage]), join_parts([HEADER.pack() + garbage])):
        with pytest.raises((Damaged, MalformedRecord)):
            keys.open(state)
