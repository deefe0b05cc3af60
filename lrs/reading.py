"""Reading statements: by id, by filter, page by page.

A filter becomes terms, terms become positions, positions become records, records are opened as far as keys still
exist. A page ends with a cursor: sealed, bound to the credential, holding pseudonyms' and ids' hashes and positions,
never an identifier; it never expires (decision 33). xAPI Communication 2.1.3 and 2.1.4.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import InvalidTag

from lrs.activities import ActivityCatalogue
from lrs.credentials import Caller
from lrs.event_log import EventLog
from lrs.hiding import hidden_among
from lrs.key_vault import KeyVault
from lrs.keys import KeyId
from lrs.log_reader import StatementQuery
from lrs.scopes import Scope
from lrs.sealing import OpenedStatement, SealedStatement, open_statement
from projections.statement_index import RAREST_FIRST, Kind, term_number
from schemas.activities import Json, activities_of, in_language
from schemas.envelope import NONCE_BYTES
from schemas.errors import InvalidInput
from schemas.people import identifier_of, people_of

PAGE_STATEMENTS_DEFAULT = 100
PAGE_STATEMENTS_MAX = 500
EMPTY_PAGES_MAX = 20
NAMES_STATEMENTS_MAX = 20
OPEN_AT_ONCE = 50
"""How many statements are opened before the event loop gets a turn."""
_VERSION = b"\x01"


@dataclass(slots=True)
class StatementFilter:
    """What a client asks for. since and until are instants of `stored`; agent is a checked agent or group."""

    agent: Json | None = None
    verb: str | None = None
    activity: str | None = None
    registration: str | None = None
    related_agents: bool = False
    related_activities: bool = False
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    limit: int = 0
    ascending: bool = False
    format: str = "exact"
    attachments: bool = False
    languages: Sequence[str] = ()


class Cursor(msgspec.Struct, array_like=True):
    """Where a page ended and what the next is asked by. terms are (kind, 16 bytes); about is the agent's pseudonym."""

    caller: bytes
    terms: list[tuple[int, bytes]]
    after: int
    upto: int
    watermark_us: int
    limit: int
    ascending: bool
    format: str
    attachments: bool
    languages: list[str]
    about: bytes = b""


@dataclass(slots=True)
class Page:
    """Statements as they are answered, in order. more is the next page's cursor, empty at the end."""

    statements: list[Json]
    more: str
    watermark_us: int
    attachments: bool = False
    newest_us: int = 0
    blobs: dict[str, Json] = field(default_factory=dict)


class StatementReader:
    """Finds, opens and shapes statements for callers."""

    def __init__(self, log: EventLog, vault: KeyVault, catalogue: ActivityCatalogue) -> None:
        self._log = log
        self._vault = vault
        self._catalogue = catalogue

    # ── one statement ─────────────────────────────────────────────────────────────────────────────────────────────

    async def statement(
        self, statement_id: str, caller: Caller, *, voided: bool, shape: str = "exact", languages: Sequence[str] = ()
    ) -> OpenedStatement | None:
        """Give a statement by its id, if it is (not) voided, not erased, and the caller may see it."""
        rows = await self._log.find_statements([self._vault.blinding.statement(statement_id)])
        if not rows or rows[0][4] is not voided:
            return None
        opened = await self._open([SealedStatement.read(*rows[0][:4])], caller)
        visible = [one for one in opened if _may_see(caller, one)]
        if not visible:
            return None
        await self._shape(visible, shape, languages)
        return visible[0]

    # ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def first_page(self, asked: StatementFilter, caller: Caller) -> Page:
        """Answer a filter with its first page."""
        about = b""
        if asked.agent is not None and (identifier := identifier_of(asked.agent)):
            about = await self._vault.find_pseudonym(identifier) or b""
        terms = self._terms(asked, about)
        if terms is not None and not caller.may(Scope.STATEMENTS_READ, reading=True):
            identifier = identifier_of(caller.authority)
            mine = await self._vault.find_pseudonym(identifier) if identifier else None
            terms = None if mine is None else [*terms, (Kind.AGENT_RELATED, self._term(Kind.AGENT_RELATED, mine))]
        limit = min(asked.limit or PAGE_STATEMENTS_DEFAULT, PAGE_STATEMENTS_MAX)
        if terms is None:
            return Page([], "", await self._log.watermark(), asked.attachments)
        after = await self._log.position_stored_by(microseconds(asked.since)) if asked.since else 0
        upto = await self._log.position_stored_by(microseconds(asked.until)) if asked.until else _NO_END
        cursor = Cursor(
            caller.blind,
            terms,
            after,
            upto,
            0,
            limit,
            asked.ascending,
            asked.format,
            asked.attachments,
            list(asked.languages),
            about,
        )
        return await self._page(cursor, caller)

    async def next_page(self, token: str, caller: Caller) -> Page:
        """Answer a cursor. Raises InvalidInput when it is not one of ours, or another credential's."""
        cursor = self._unseal(token)
        if cursor.caller != caller.blind:
            raise InvalidInput("this `more` belongs to another credential", "")
        return await self._page(cursor, caller)

    async def _page(self, cursor: Cursor, caller: Caller) -> Page:
        if cursor.about and await self._hidden({cursor.about}, caller):
            return Page([], "", cursor.watermark_us or await self._log.watermark(), cursor.attachments)
        page, following = await self._read_page(cursor, caller)
        for _ in range(EMPTY_PAGES_MAX):
            if page.statements or following is None:
                break
            # An empty page with another behind it would tell that something is hidden here.
            page, following = await self._read_page(following, caller)
        if following is not None:
            page.more = self._seal(following)
        return page

    async def _read_page(self, cursor: Cursor, caller: Caller) -> tuple[Page, Cursor | None]:
        """Give what is found where a cursor points, without its `more`, and the cursor after it."""
        terms = tuple([term_number(term) for _, term in cursor.terms])
        query = StatementQuery(terms, cursor.after, cursor.upto, cursor.ascending, cursor.limit + 1)
        found, head = await self._log.positions(query)
        watermark_us = cursor.watermark_us or head.stored_us
        end = min(cursor.upto, head.position)
        following: Cursor | None = None
        if len(found) > cursor.limit:
            found = found[: cursor.limit]
            last = found[-1][0]
            after, upto = (last, end) if cursor.ascending else (cursor.after, last - 1)
            following = msgspec.structs.replace(cursor, after=after, upto=upto, watermark_us=watermark_us)
        rows = await self._log.statements_at([position for position, _ in found])
        opened = await self._open([SealedStatement.read(*rows[position]) for position, _ in found], caller)
        own = dict(found)
        visible = [
            one for one in opened if _may_see(caller, one) and (not own[one.position] or self._fits(one, cursor))
        ]
        await self._shape(visible, cursor.format, cursor.languages)
        blobs = {sha2: blob for one in visible for sha2, blob in one.blobs.items()} if cursor.attachments else {}
        newest_us = max((one.stored_us for one in visible), default=0)
        found_here = [one.statement for one in visible]
        return Page(found_here, "", watermark_us, cursor.attachments, newest_us, blobs), following

    async def names_of(self, pseudonym: bytes, caller: Caller) -> list[str]:
        """Give the names under which the newest statements know a learner, the newest first."""
        if not caller.may(Scope.STATEMENTS_READ, reading=True):
            return []
        term = term_number(self._term(Kind.AGENT, pseudonym))
        found, _ = await self._log.positions(StatementQuery((term,), 0, _NO_END, False, NAMES_STATEMENTS_MAX))
        rows = await self._log.statements_at([position for position, own in found if own])
        names: list[str] = []
        own = [SealedStatement.read(*rows[position]) for position, own in found if own]
        for opened in await self._open(own, caller):
            for naming in people_of(opened.statement).namings:
                name = naming.agent.get("name")
                if name and name not in names and await self._vault.find_pseudonym(naming.identifier) == pseudonym:
                    names.append(name)
        return names

    def _terms(self, asked: StatementFilter, about: bytes) -> list[tuple[int, bytes]] | None:
        """Give the filter's terms; None when nothing can match: nobody has that identifier."""
        values: dict[Kind, str | bytes] = {}
        if asked.agent is not None:
            if not about:
                return None
            values[Kind.AGENT_RELATED if asked.related_agents else Kind.AGENT] = about
        if asked.activity is not None:
            values[Kind.ACTIVITY_RELATED if asked.related_activities else Kind.ACTIVITY] = asked.activity
        if asked.verb is not None:
            values[Kind.VERB] = asked.verb
        if asked.registration is not None:
            values[Kind.REGISTRATION] = asked.registration.lower()
        return [(kind, self._term(kind, values[kind])) for kind in RAREST_FIRST if kind in values]

    def _term(self, kind: Kind, value: str | bytes) -> bytes:
        return self._vault.blinding.term(kind, value)

    def _fits(self, opened: OpenedStatement, cursor: Cursor) -> bool:
        """Settle what a 64-bit term cannot: that the statement really is about the asked verb, activity, registration.

        Agents are not looked at again: their pseudonyms are random, so nobody can choose one to collide.
        """
        statement = opened.statement
        for kind, term in cursor.terms:
            if kind == Kind.VERB:
                values = [statement["verb"]["id"]]
            elif kind == Kind.ACTIVITY:
                values = [statement["object"].get("id", "")]
            elif kind == Kind.ACTIVITY_RELATED:
                values = [activity["id"] for activity in activities_of(statement)]
            elif kind == Kind.REGISTRATION:
                values = [statement.get("context", {}).get("registration", "").lower()]
            else:
                continue
            if all(self._term(Kind(kind), value) != term for value in values):
                return False
        return True

    # ── opening and shaping ───────────────────────────────────────────────────────────────────────────────────────

    async def hides(self, person: bytes, caller: Caller) -> bool:
        """Say whether a caller sees nothing of somebody."""
        return bool(await self._hidden({person}, caller))

    async def _hidden(self, people: Iterable[bytes], caller: Caller) -> frozenset[bytes]:
        """Give those of whom a caller sees nothing: restricted, or withdrawn from the caller's purpose.

        To others they are as if erased (decision 11); to themselves they are not hidden.
        """
        asked = list(people)
        if not asked:
            return frozenset()
        hidden = hidden_among(await self._log.person_states(asked), caller.purpose)
        if hidden and (identifier := identifier_of(caller.authority)):
            hidden -= {await self._vault.find_pseudonym(identifier) or b""}
        return hidden

    async def _open(self, sealed: Sequence[SealedStatement], caller: Caller) -> list[OpenedStatement]:
        """Open what can be opened, in order; statements whose principals are all erased, or hidden, are left out."""
        ciphers = {}
        missing: list[KeyId] = []
        for one in sealed:
            for key in one.key_ids():
                if key not in ciphers:
                    ciphers[key] = cipher = self._vault.opening_key(key)
                    if cipher is None:
                        missing.append(key)
        if missing:
            ciphers |= await self._vault.for_opening(missing)
        if hidden := await self._hidden({key.owner for key in ciphers}, caller):
            ciphers |= {key: None for key in ciphers if key.owner in hidden}
        opened: list[OpenedStatement] = []
        for start in range(0, len(sealed), OPEN_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            for one in sealed[start : start + OPEN_AT_ONCE]:
                found = open_statement(one, ciphers, self._vault.secrets.placeholder_pepper)
                if found is not None:
                    _complete(found)
                    opened.append(found)
        return opened

    async def _shape(self, opened: Iterable[OpenedStatement], shape: str, languages: Sequence[str]) -> None:
        """Put statements into the asked format, in place (xAPI Communication 2.1.3, `format`)."""
        statements = [one.statement for one in opened]
        if shape == "ids":
            for statement in statements:
                _only_ids(statement)
        elif shape == "canonical":
            ids = dict.fromkeys(activity["id"] for statement in statements for activity in activities_of(statement))
            definitions = await self._catalogue.definitions(ids)
            for statement in statements:
                for activity in activities_of(statement):
                    merged = definitions[activity["id"]] or activity.get("definition")
                    if merged is not None:
                        activity["definition"] = in_language(merged, languages)
                for verb in _verbs_of(statement):
                    if "display" in verb:
                        verb["display"] = in_language({"name": verb["display"]}, languages)["name"]

    # ── cursors ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _seal(self, cursor: Cursor) -> str:
        nonce = os.urandom(NONCE_BYTES)
        box = self._vault.secrets.cursor_key.encrypt(nonce, msgspec.msgpack.encode(cursor), _VERSION)
        return base64.urlsafe_b64encode(_VERSION + nonce + box).decode().rstrip("=")

    def _unseal(self, token: str) -> Cursor:
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            plain = self._vault.secrets.cursor_key.decrypt(raw[1 : 1 + NONCE_BYTES], raw[1 + NONCE_BYTES :], raw[:1])
            return msgspec.msgpack.decode(plain, type=Cursor)
        except (InvalidTag, binascii.Error, ValueError, msgspec.MsgspecError) as error:
            raise InvalidInput("this `more` was not made by this store; ask the query again", "") from error


_NO_END = 2**63 - 1


def timestamp(us: int) -> str:
    """Give an instant as xAPI writes it, with microseconds, in UTC."""
    return (_EPOCH_HERE + datetime.timedelta(microseconds=us)).isoformat(timespec="microseconds") + "Z"


def microseconds(moment: datetime.datetime) -> int:
    """Give an instant as µs since 1970."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_EPOCH_HERE = _EPOCH.replace(tzinfo=None)


def _complete(opened: OpenedStatement) -> None:
    """Fill in what the store says about a statement."""
    statement = opened.statement
    statement["stored"] = stored = timestamp(opened.stored_us)
    statement.setdefault("timestamp", stored)


def _may_see(caller: Caller, opened: OpenedStatement) -> bool:
    if caller.may(Scope.STATEMENTS_READ, reading=True):
        return True
    return caller.may(Scope.STATEMENTS_READ_MINE) and opened.statement.get("authority") == caller.authority


def _verbs_of(statement: Json) -> list[Json]:
    target = statement["object"]
    return [statement["verb"], target["verb"]] if target.get("objectType") == "SubStatement" else [statement["verb"]]


def _only_ids(statement: Json) -> None:
    """Keep of agents, groups, activities and verbs only what identifies them."""
    for activity in activities_of(statement):
        activity.pop("definition", None)
        activity.pop("objectType", None)
    for verb in _verbs_of(statement):
        verb.pop("display", None)
    target = statement["object"]
    for part in (statement, target) if target.get("objectType") == "SubStatement" else (statement,):
        for key in ("actor", "authority"):
            if key in part:
                part[key] = _bare(part[key])
        if part["object"].get("objectType") in ("Agent", "Group"):
            part["object"] = _bare(part["object"])
        context = part.get("context", {})
        for key in ("instructor", "team"):
            if key in context:
                context[key] = _bare(context[key])
        for entry in context.get("contextAgents", ()):
            entry["agent"] = _bare(entry["agent"])
        for entry in context.get("contextGroups", ()):
            entry["group"] = _bare(entry["group"])


def _bare(agent: Json) -> Json:
    kept = {key: value for key, value in agent.items() if key != "name"}
    if "member" in kept:
        if identifier_of(agent) is not None:
            del kept["member"]
        else:
            kept["member"] = [_bare(member) for member in kept["member"]]
    return kept
