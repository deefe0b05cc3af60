"""No value that was sent lies on any disk in plain form, and no refusal repeats one (tests/canary.py is the search).

One conversation is held with a server in each mode: everything xAPI lets a client say, with a canary in every place
that could be a person's, and everything it refuses. PostgreSQL is told to log every statement with its parameters.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import json
import os
import secrets
import socket
import sqlite3
import sys
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.canary import Canary, Hit, digests_of, files_under, forms_of, open_files, summary
from tests.conftest import without
from tests.services import Griffel, Mode, Postgres, ServiceMissing

Json = dict[str, Any]

BODY_BYTES_MAX = 64 * 1024
STATEMENTS_MAX = 20
VERBS = "http://adlnet.gov/expapi/verbs/"
SIGNATURE = "http://adlnet.gov/expapi/attachments/signature"
NOT_STORED = "sent only: "
"""Begins the name of a position that no answer gives back: headers, refused statements, queries."""


# ── the harness finds what it says it finds ───────────────────────────────────────────────────────────────────────────


def planted() -> list[tuple[str, Callable[[str], bytes]]]:
    """Ways in which a value may come to lie in a file, by name."""

    def in_base64(text: str, before: int, encode: Callable[[bytes], bytes]) -> bytes:
        return encode(b"\xfe" * before + text.encode() + b"\xff\xfe\xfd")

    ways: list[tuple[str, Callable[[str], bytes]]] = [
        ("raw", str.encode),
        ("upper", lambda text: text.upper().encode()),
        ("hex", lambda text: text.encode().hex().encode()),
        ("upper hex", lambda text: text.encode().hex().upper().encode()),
        ("percent-encoded", lambda text: "".join(f"%{one:02x}" for one in text.encode()).encode()),
        ("JSON-escaped", lambda text: "".join(f"\\u{ord(one):04x}" for one in text).encode()),
        ("UTF-16", lambda text: text.encode("utf-16")),
        ("UTF-16 big-endian", lambda text: text.encode("utf-16-be")),
        ("gzip", lambda text: gzip.compress(b"around " + text.encode() * 3)),
        ("zlib", lambda text: zlib.compress(b"around " + text.encode() * 3)),
        ("gzip in zlib", lambda text: zlib.compress(gzip.compress(text.encode()))),
        ("base64 in gzip", lambda text: gzip.compress(base64.b64encode(b"a" + text.encode()))),
    ]
    for before in range(3):
        ways.append((f"base64 at {before}", lambda text, at=before: in_base64(text, at, base64.b64encode)))
        ways.append((f"base64url at {before}", lambda text, at=before: in_base64(text, at, base64.urlsafe_b64encode)))
    for name in ("md5", "sha1", "sha256", "sha512"):
        hashed = lambda text, by=name: hashlib.new(by, text.encode(), usedforsecurity=False)  # noqa: E731
        ways.append((name, lambda text, of=hashed: of(text).digest()))
        ways.append((f"{name} in hex", lambda text, of=hashed: of(text).hexdigest().encode()))
        ways.append((f"{name} in base64", lambda text, of=hashed: base64.b64encode(b"n" + of(text).digest())))
        ways.append((f"{name} cut off", lambda text, of=hashed: of(text).digest()[:8]))
        ways.append((f"{name} as a number", lambda text, of=hashed: of(text).digest()[:8][::-1]))
    return ways


@pytest.mark.parametrize(("name", "write"), [pytest.param(*way, id=way[0]) for way in planted()])
def test_a_planted_canary_is_found_in_each_encoding(name, write, tmp_path):
    canary = Canary()
    word = canary.word("planted")
    canary.word("elsewhere")
    for place, distance in enumerate((0, 1, 5, (1 << 20) - 3, (1 << 20) - 8, (1 << 20) + 1)):
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / "file").write_bytes(secrets.token_bytes(distance) + write(word) + secrets.token_bytes(9))
        found = canary.scan(folder)
        assert {hit.position for hit in found} == {"planted"}, distance
        assert all(hit.where == str(folder / "file") for hit in found)


def test_each_kind_of_canary_is_found_by_each_of_its_forms():
    canary = Canary()
    canary.account("account")
    values = [canary.mbox("mbox"), canary.sha1sum("sha1sum"), canary.iri("iri"), canary.text("text")]
    values += [canary.uuid("uuid"), str(canary.number("number"))]
    for position in canary.values:
        for name, form in forms_of(canary.values[position]):
            assert position in {hit.position for hit in canary.find(b"[" + form + b"]")}, name
    for position, whole in (("mbox", values[0]), ("iri", values[2]), ("text", values[3]), ("uuid", values[4])):
        for name, form in digests_of(whole.encode()):
            assert position in {hit.position for hit in canary.find(b"[" + form + b"]")}, name
    assert {hit.position for hit in canary.find(uuid.UUID(values[4]).bytes)} == {"uuid"}


def test_a_canary_is_found_in_names_of_files_and_in_deleted_ones(tmp_path):
    canary = Canary()
    word = canary.word("planted")
    (tmp_path / f"of-{word}.txt").touch()
    assert {hit.where for hit in canary.scan(tmp_path)} == {f"the name of {tmp_path / f'of-{word}.txt'}"}
    if sys.platform == "linux":
        with (tmp_path / "temporary").open("w+b") as file:
            file.write(word.encode())
            file.flush()
            (tmp_path / "temporary").unlink()
            assert {hit.position for hit in canary.scan_open_files([os.getpid()])} == {"planted"}


def test_a_canary_is_found_in_rows_and_files_of_sqlite(tmp_path):
    canary = Canary()
    word = canary.word("planted")
    with closing(sqlite3.connect(tmp_path / "planted.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE kept (content BLOB)")
        connection.execute("INSERT INTO kept VALUES (?)", (secrets.token_bytes(4090) + word.encode(),))
        connection.commit()
        assert {Path(hit.where).name for hit in canary.scan(tmp_path)} <= {"planted.db-wal"}
        assert {hit.position for hit in canary.scan_sqlite(tmp_path / "planted.db")} == {"planted"}


def test_a_canary_is_found_in_rows_files_and_log_of_postgresql(logging_postgres):
    canary = Canary()
    word = canary.word("planted")
    url = logging_postgres.create_database(f"griffel_planted_{secrets.token_hex(4)}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (content TEXT)")
        connection.execute("INSERT INTO kept VALUES (%s)", [word * 1000])
        connection.execute("INSERT INTO kept VALUES (%s)", [word])
    checkpoint(logging_postgres)
    places = {hit.where for hit in canary.scan(logging_postgres.folder)}
    for part in ("/base/", "/pg_wal/", "postgres.log"):
        assert [place for place in places if part in place], part
    assert {hit.where for hit in canary.scan_postgres(url)} == {"kept in PostgreSQL"}


def test_nothing_is_found_where_nothing_is(tmp_path):
    canary = Canary()
    canary.mbox("mbox")
    canary.account("account")
    (tmp_path / "random").write_bytes(secrets.token_bytes(4 << 20))
    (tmp_path / "empty").touch()
    (tmp_path / "zeros").write_bytes(bytes(3 << 20))
    assert canary.scan(tmp_path) == set()


# ── speaking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Answer:
    """What came back: `asked` is for the reader of a failure."""

    asked: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def head(self) -> bytes:
        return "\n".join(f"{name}: {value}" for name, value in self.headers.items()).encode()


@dataclass
class Speaker:
    """Speaks to a server, with canaries in the headers that any client may send, and keeps every answer."""

    server: Griffel
    canary: Canary
    answers: list[Answer] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    address: str = "127.0.0.1"

    def __post_init__(self) -> None:
        canary = self.canary
        self.headers = {
            name: canary.word(f"{NOT_STORED}header {name}")
            for name in ("User-Agent", "Cookie", "From", "X-Forwarded-User", "X-Request-Id", "Accept", "Origin")
        }
        self.headers["Referer"] = canary.iri(f"{NOT_STORED}header Referer")
        self.headers["Accept-Language"] = f"en-x-{canary.word(f'{NOT_STORED}header Accept-Language', 8)}, en;q=0.5"
        self.headers["X-Forwarded-For"] = f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::17"
        canary.add(f"{NOT_STORED}header X-Forwarded-For", self.headers["X-Forwarded-For"])
        with suppress(OSError), socket.create_server((unusual := _loopback_address(), 0)):
            self.address = canary.add(f"{NOT_STORED}client address", unusual)

    def say(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        sent: Any = None,
        body: bytes | None = None,
        version: str = "2.0.0",
        expect: int,
        **headers: str | None,
    ) -> Answer:
        """Ask for `path` under /xapi; `sent` is a body as JSON; headers are named with _ for -, None leaves one out."""
        said = {**self.headers, **self.server.headers(version)}
        if sent is not None:
            body = json.dumps(sent).encode()
            said["Content-Type"] = "application/json"
        for name, value in headers.items():
            spelt = name.replace("_", "-")
            said.pop(spelt, None)
            if value is not None:
                said[spelt] = value
        query = {
            name: json.dumps(one) if isinstance(one, (dict, bool)) else one for name, one in (params or {}).items()
        }
        target = path if path.startswith("/") else f"/xapi/{path}"
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.server.port, timeout=30, source_address=(self.address, 0)
        )
        try:
            connection.request(method, target + (f"?{urlencode(query)}" if query else ""), body, said)
            response = connection.getresponse()
            answer = Answer(f"{method} {path}", response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()
        self.answers.append(answer)
        if answer.status != expect:
            surprise = f"{answer.asked} was answered {answer.status}, not {expect}: {answer.body[:500]!r}"
            # One that should have been refused has a test of its own; without what should be stored nothing goes on.
            assert expect >= 400, surprise
            self.surprises.append(surprise)
        return answer

    def say_raw(self, asked: str, request: bytes) -> Answer:
        """Send bytes that no client library would send, and read until the server closes."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=10) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            content = b""
            with suppress(ConnectionError):
                while piece := connection.recv(65536):
                    content += piece
        line = content.split(b"\r\n", 1)[0].split(b" ")
        status = int(line[1]) if len(line) > 1 else 0
        self.answers.append(Answer(asked, status, {}, content))
        return self.answers[-1]


def _loopback_address() -> str:
    return f"127.{100 + secrets.randbelow(100)}.{100 + secrets.randbelow(100)}.{100 + secrets.randbelow(100)}"


def multipart(statements: Any, *contents: bytes, boundary: str = "", **part_headers: str) -> tuple[bytes, str]:
    """A multipart/mixed body and its Content-Type."""
    boundary = boundary or secrets.token_hex(16)
    parts = [b"Content-Type: application/json\r\n\r\n" + json.dumps(statements).encode()]
    for content in contents:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Transfer-Encoding": "binary",
            "X-Experience-API-Hash": hashlib.sha256(content).hexdigest(),
        } | {name.replace("_", "-"): value for name, value in part_headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        parts.append(head.encode() + b"\r\n" + content)
    marks = f"--{boundary}".encode()
    body = b"".join(marks + b"\r\n" + part + b"\r\n" for part in parts) + marks + b"--\r\n"
    return body, f'multipart/mixed; boundary="{boundary}"'


# ── what is said ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Words:
    """Parts of statements with a canary in every place."""

    canary: Canary

    def person(self, where: str, kind: str) -> Json:
        canary, position = self.canary, f"{where}, {kind}"
        value: Any = {
            "mbox": canary.mbox,
            "mbox_sha1sum": canary.sha1sum,
            "openid": canary.iri,
            "account": canary.account,
        }[kind](position)
        return {"objectType": "Agent", "name": canary.text(f"{where}, name"), kind: value}

    def group(self, where: str, *kinds: str, **identity: Any) -> Json:
        members = [self.person(f"{where}, member {number}", kind) for number, kind in enumerate(kinds)]
        return {"objectType": "Group", "name": self.canary.text(f"{where}, name"), "member": members, **identity}

    def language_map(self, where: str) -> Json:
        tag = f"nl-x-{self.canary.word(f'{where}, language tag', 8)}"
        return {
            tag: self.canary.text(f"{where}, text in a language of its own"),
            "en": self.canary.text(f"{where}, text"),
        }

    def extensions(self, where: str) -> Json:
        canary = self.canary
        inner = {canary.word(f"{where}, extension's inner key"): [canary.text(f"{where}, extension's inner value")]}
        return {canary.iri(f"{where}, extension key"): inner}

    def verb(self, where: str) -> Json:
        return {
            "id": self.canary.iri(f"{where}, verb id", "verbs"),
            "display": self.language_map(f"{where}, verb display"),
        }

    def activity(self, where: str, **definition: Any) -> Json:
        canary = self.canary
        made: dict[str, Callable[[], Any]] = {
            "name": lambda: self.language_map(f"{where}, activity name"),
            "description": lambda: self.language_map(f"{where}, activity description"),
            "type": lambda: canary.iri(f"{where}, activity type"),
            "moreInfo": lambda: canary.iri(f"{where}, activity moreInfo"),
            "extensions": lambda: self.extensions(f"{where}, activity"),
        }
        activity_id = canary.iri(f"{where}, activity id", "users")
        return {"objectType": "Activity", "id": activity_id, "definition": _completed(definition, made)}

    def question(self, where: str, **definition: Any) -> Json:
        canary = self.canary
        choice = canary.word(f"{where}, choice id")
        asked = {
            "type": "http://adlnet.gov/expapi/activities/cmi.interaction",
            "interactionType": "choice",
            "choices": [{"id": choice, "description": self.language_map(f"{where}, choice")}],
            "correctResponsesPattern": [choice],
        }
        return self.activity(where, **(asked | definition))

    def result(self, where: str) -> Json:
        canary = self.canary
        return {
            "score": {"scaled": 0.5, "raw": canary.number(f"{where}, score"), "min": 0, "max": 2e9},
            "success": True,
            "completion": True,
            "duration": "PT4H35M59.14S",
            "response": canary.text(f"{where}, response"),
            "extensions": self.extensions(f"{where}, result"),
        }

    def context(self, where: str, *, of_two: bool = True) -> Json:
        canary = self.canary
        told = {
            "registration": canary.uuid(f"{where}, registration"),
            "instructor": self.person(f"{where}, instructor", "mbox"),
            "team": self.group(
                f"{where}, team", "account", mbox_sha1sum=canary.sha1sum(f"{where}, team, mbox_sha1sum")
            ),
            "revision": canary.text(f"{where}, revision"),
            "platform": canary.text(f"{where}, platform"),
            "language": f"fy-x-{canary.word(f'{where}, context language', 8)}",
            "statement": {"objectType": "StatementRef", "id": canary.uuid(f"{where}, context statement")},
            "extensions": self.extensions(f"{where}, context"),
            "contextActivities": {
                kind: [self.activity(f"{where}, {kind}")] for kind in ("parent", "grouping", "category", "other")
            },
        }
        if of_two:
            types = [canary.iri(f"{where}, relevant type")]
            told["contextAgents"] = [
                {
                    "objectType": "contextAgent",
                    "agent": self.person(f"{where}, contextAgent", "openid"),
                    "relevantTypes": types,
                }
            ]
            told["contextGroups"] = [
                {
                    "objectType": "contextGroup",
                    "group": self.group(f"{where}, contextGroup", "mbox", "openid"),
                    "relevantTypes": [canary.iri(f"{where}, relevant type of a group")],
                }
            ]
        return told

    def statement(self, where: str, kind: str, **parts: Any) -> Json:
        made: dict[str, Callable[[], Any]] = {
            "id": lambda: self.canary.uuid(f"{where}, statement id"),
            "actor": lambda: self.person(f"{where}, actor", kind),
            "verb": lambda: self.verb(where),
            "object": lambda: self.activity(where),
        }
        return _completed(parts, made)

    def attachment(self, where: str, content: bytes, **more: Any) -> Json:
        canary = self.canary
        made: dict[str, Callable[[], Any]] = {
            "usageType": lambda: canary.iri(f"{where}, usageType"),
            "display": lambda: self.language_map(f"{where}, display"),
            "description": lambda: self.language_map(f"{where}, description"),
            "contentType": lambda: f"text/x-{canary.word(f'{where}, contentType')}",
            "length": lambda: len(content),
            "sha2": lambda: hashlib.sha256(content).hexdigest(),
        }
        return _completed(more, made)


def _completed(parts: Json, made: Mapping[str, Callable[[], Any]]) -> Json:
    """The parts, and what is missing made: a canary that is not sent is not made."""
    return parts | {name: make() for name, make in made.items() if name not in parts}


def jws(payload: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """A compact signature over a payload, without a certificate."""
    head, body = (base64.urlsafe_b64encode(one).rstrip(b"=") for one in (b'{"alg":"RS256"}', payload))
    signature = key.sign(head + b"." + body, padding.PKCS1v15(), hashes.SHA256())
    return head + b"." + body + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")


@dataclass
class Conversation:
    """Everything that is said to one server, in order."""

    speaker: Speaker
    words: Words
    given_back: bytes = b""
    links: list[str] = field(default_factory=list)

    @property
    def canary(self) -> Canary:
        return self.words.canary

    def hold(self) -> None:
        statements = self.post_statements()
        self.post_attachments()
        self.use_form_syntax()
        self.query(statements)
        self.keep_documents()
        self.be_refused(statements)
        self.be_refused_documents()
        self.be_refused_by_the_protocol()

    def read(self, path: str, params: Mapping[str, Any] | None = None, **options: Any) -> Answer:
        answer = self.speaker.say("GET", path, params, expect=200, **options)
        self.given_back += answer.body
        return answer

    # ── accepted ──────────────────────────────────────────────────────────────────────────────────────────────────

    def post_statements(self) -> dict[str, Json]:
        words, say, canary = self.words, self.speaker.say, self.canary
        full = words.statement("full", "mbox", context=words.context("full"), result=words.result("full"))
        full["timestamp"] = "2024-05-06T07:08:09.123Z"
        say("POST", "statements", sent=full, expect=200)
        members = ("mbox", "mbox_sha1sum", "openid", "account")
        grouped = words.statement(
            "grouped",
            "mbox",
            actor=words.group("grouped, actor", *members),
            object=words.person("grouped, object", "openid"),
        )
        identified = words.statement(
            "identified",
            "mbox",
            actor=words.group("identified, actor", "mbox", account=canary.account("identified, actor, account")),
            object={
                "objectType": "SubStatement",
                "actor": words.person("sub-statement, actor", "account"),
                "verb": words.verb("sub-statement"),
                "object": words.question("sub-statement"),
                "result": words.result("sub-statement"),
                "context": words.context("sub-statement"),
            },
        )
        survey = words.statement(
            "survey",
            "account",
            verb={"id": VERBS + "answered"},
            object=words.question("survey", type="http://adlnet.gov/expapi/activities/survey"),
            result=words.result("survey"),
        )
        say("POST", "statements", sent=[grouped, identified, survey], expect=200)
        about = words.statement("put", "openid", object={"objectType": "StatementRef", "id": full["id"]})
        say("PUT", "statements", {"statementId": about["id"]}, sent=about, expect=204)
        voided = words.statement("voided", "mbox_sha1sum")
        say("POST", "statements", sent=voided, expect=200)
        reference = {"objectType": "StatementRef", "id": voided["id"]}
        voiding = words.statement("voiding", "mbox", verb={"id": VERBS + "voided"}, object=reference)
        say("POST", "statements", sent=voiding, expect=200)
        old = words.statement("of 1.0.3", "mbox", context=words.context("of 1.0.3", of_two=False))
        say("POST", "statements", sent=old, version="1.0.3", expect=200)
        say("POST", "statements", sent=full, expect=200)  # the same again, which is compared
        return {"full": full, "grouped": grouped, "identified": identified, "survey": survey, "voided": voided}

    def post_attachments(self) -> None:
        words, say, canary = self.words, self.speaker.say, self.canary
        small, large = canary.bytes("attachment, content"), canary.bytes("attachment, large content", 150_000)
        entries = [
            words.attachment("attachment", small),
            words.attachment("large attachment", large),
            words.attachment("linked attachment", b"x", fileUrl=canary.iri("attachment, fileUrl")),
        ]
        statement = words.statement("attaching", "mbox", attachments=entries)
        name = canary.word(f"{NOT_STORED}attachment, file name")
        disposition = f'attachment; filename="{name}.pdf"'
        body, kind = multipart(statement, small, large, Content_Disposition=disposition)
        say("POST", "statements", body=body, Content_Type=kind, expect=200)
        signed = words.statement("signed", "mbox", context=words.context("signed"))
        signature = jws(json.dumps(signed).encode(), rsa.generate_private_key(public_exponent=65537, key_size=2048))
        canary.add("signed, signature", signature[-40:-8].decode())
        canary.also_hashed("signed, signature", signature)
        entry = words.attachment("signature", signature, usageType=SIGNATURE, contentType="application/octet-stream")
        body, kind = multipart(signed | {"attachments": [entry]}, signature)
        say("POST", "statements", body=body, Content_Type=kind, expect=200)
        self.read("statements", {"statementId": statement["id"], "attachments": True})
        self.read("statements", {"statementId": signed["id"], "attachments": True})

    def use_form_syntax(self) -> None:
        statement = self.words.statement("in a form", "account")
        form = {
            "statementId": statement["id"],
            "Authorization": self.speaker.server.authorization,
            "X-Experience-API-Version": "1.0.3",
            "Content-Type": "application/json",
            "content": json.dumps(statement),
        }
        self.in_form("PUT", "statements", form, expect=204)
        asked = {"agent": json.dumps(statement["actor"]), "verb": statement["verb"]["id"]}
        self.in_form("GET", "statements", asked, expect=200)
        refused = {"statementId": "x", "content": self.canary.word(f"{NOT_STORED}form, content")}
        self.in_form("PUT", "statements", refused, expect=400)
        unknown = {self.canary.word(f"{NOT_STORED}form, field"): self.canary.word(f"{NOT_STORED}form, value")}
        self.in_form("GET", "statements", unknown, expect=400)
        method = self.canary.word(f"{NOT_STORED}form, method")
        self.in_form(method, "statements", {}, expect=400)

    def in_form(self, method: str, path: str, fields: Mapping[str, str], expect: int) -> Answer:
        return self.speaker.say(
            "POST",
            path,
            {"method": method},
            body=urlencode(fields).encode(),
            version="1.0.3",
            Content_Type="application/x-www-form-urlencoded",
            expect=expect,
        )

    def query(self, told: Mapping[str, Json]) -> None:
        full, grouped = told["full"], told["grouped"]
        actor = {name: full["actor"][name] for name in ("mbox",)}
        filters: list[Json] = [
            {"agent": actor, "limit": 1},
            {"agent": actor, "related_agents": True, "limit": 1, "ascending": True},
            {"verb": full["verb"]["id"], "limit": 1},
            {"activity": full["object"]["id"], "related_activities": True, "limit": 1},
            {"registration": full["context"]["registration"], "limit": 1},
            {"agent": {"account": grouped["actor"]["member"][3]["account"]}},
            {"agent": {"mbox": self.canary.mbox(f"{NOT_STORED}query, agent nobody knows")}},
            {"verb": self.canary.iri(f"{NOT_STORED}query, verb nobody knows")},
        ]
        for asked in filters:
            for shape in ("exact", "ids", "canonical"):
                self.page(self.read("statements", {**asked, "format": shape}))
        answer = self.page(self.read("statements", {"limit": 3, "attachments": False}))
        while answer is not None:
            answer = self.page(answer)
        self.read("statements", {"voidedStatementId": told["voided"]["id"]})
        self.read("agents", {"agent": grouped["actor"]["member"][0]})
        for place in (full["object"], told["survey"]["object"]):
            self.read("activities", {"activityId": place["id"]})

    def page(self, answer: Answer) -> Answer | None:
        """The page that a page leads to."""
        more = answer.json["more"]
        if not more:
            return None
        self.links.append(more)
        return self.read(more)

    def keep_documents(self) -> None:
        canary, words, say = self.canary, self.words, self.speaker.say
        agent = words.person(f"{NOT_STORED}document, agent", "account")
        activity = canary.iri(f"{NOT_STORED}document, activity")
        registration = canary.uuid(f"{NOT_STORED}document, registration")
        places: list[tuple[str, str, Json]] = [
            ("activities/state", "stateId", {"activityId": activity, "agent": agent, "registration": registration}),
            ("activities/profile", "profileId", {"activityId": activity}),
            ("agents/profile", "profileId", {"agent": agent}),
        ]
        for path, name, place in places:
            document = {canary.word(f"{path}, key"): canary.text(f"{path}, value")}
            at = {**place, name: canary.word(f"{path}, id")}
            say("PUT", path, at, sent=document, If_None_Match="*", expect=204)
            held = self.read(path, at)
            more = {canary.word(f"{path}, merged key"): canary.text(f"{path}, merged value")}
            say("POST", path, at, sent=more, If_Match=held.headers["ETag"], expect=204)
            self.read(path, at)
            raw = {**place, name: canary.word(f"{path}, id of raw document")}
            kind = f"application/x-{canary.word(f'{NOT_STORED}{path}, content type')}"
            content = canary.bytes(f"{path}, raw content", 30_000)
            say("PUT", path, raw, body=content, Content_Type=kind, If_None_Match="*", expect=204)
            self.read(path, raw)
            self.read(path, place)
            gone = {**place, name: canary.word(f"{NOT_STORED}{path}, id of deleted document")}
            content = canary.bytes(f"{NOT_STORED}{path}, deleted content")
            say("PUT", path, gone, body=content, Content_Type="text/plain", If_None_Match="*", expect=204)
            say("DELETE", path, gone, expect=204)

    # ── refused ───────────────────────────────────────────────────────────────────────────────────────────────────

    def refused(self, what: str) -> str:
        return self.canary.word(f"{NOT_STORED}refused, {what}")

    def refusable(self, **parts: Any) -> Json:
        """A statement with nothing wrong but the parts given, and nothing personal but what they hold."""
        plain = {"mbox": "mailto:plain@school.example"}
        return {
            "actor": plain,
            "verb": {"id": VERBS + "experienced"},
            "object": {"id": "https://school.example/a"},
        } | parts

    def be_refused(self, told: Mapping[str, Json]) -> None:
        say, refused, refusable = self.speaker.say, self.refused, self.refusable
        wrong: list[Any] = [
            refusable(actor={"mbox": refused("mbox")}),
            refusable(
                actor={"mbox": f"mailto:{refused('two identifiers')}@school.example", "openid": "https://a.example"}
            ),
            refusable(actor={"mbox_sha1sum": refused("sha1sum")}),
            refusable(actor={"openid": refused("openid")}),
            refusable(actor={"account": {"homePage": refused("homePage"), "name": "a"}}),
            refusable(actor={"account": {"homePage": "https://a.example", "name": 7, refused("account key"): 1}}),
            refusable(actor={"objectType": refused("objectType"), "mbox": "mailto:a@school.example"}),
            refusable(actor={"mbox": "mailto:a@school.example", "name": [refused("name")]}),
            refusable(verb={"id": refused("verb")}),
            refusable(verb={"id": VERBS + "experienced", "display": {refused("language tag"): "a"}}),
            refusable(object={"id": refused("activity")}),
            refusable(object={"id": "https://a.example", "definition": {refused("definition key"): 1}}),
            refusable(object={"id": "https://a.example", "definition": {"extensions": {refused("extension key"): 1}}}),
            refusable(result={"duration": refused("duration")}),
            refusable(result={"score": {"raw": refused("score")}}),
            refusable(result={"response": {refused("response"): 1}}),
            refusable(result={"extensions": {"https://a.example": 1, refused("result extension"): 2}}),
            refusable(context={"registration": refused("registration")}),
            refusable(context={"language": refused("context language")}),
            refusable(context={"contextActivities": {refused("context kind"): []}}),
            refusable(id=refused("statement id")),
            refusable(timestamp=refused("timestamp")),
            refusable(version=refused("version")),
            refusable(attachments=[{"usageType": refused("usageType"), refused("attachment key"): 1}]),
            refusable(**{refused("property"): refused("property's value")}),
            [refusable(), refusable(), refusable(**{refused("property in a batch"): 1})],
            refused("a text for a statement"),
            [refusable()] * 2 + [refused("a text in a batch")],
        ]
        for statement in wrong:
            say("POST", "statements", sent=statement, expect=400)
        twice = f'{{"actor": 1, "{(key := refused("duplicate key"))}": 1, "{key}": 2}}'.encode()
        for body in (
            twice,
            f'{{"{refused("broken JSON")}": '.encode(),
            f'{{"a": NaN, "b": "{refused("NaN")}"}}'.encode(),
            f'{{"a": "\\ud800 {refused("lone surrogate")}"}}'.encode(),
            refused("not JSON").encode(),
            refused("not UTF-8").encode() + b"\xff\xfe",
        ):
            say("POST", "statements", body=body, Content_Type="application/json", expect=400)
        deep = b'{"a":' + b"[" * 500 + f'"{refused("deep")}"'.encode() + b"]" * 500 + b"}"
        say("POST", "statements", body=deep, Content_Type="application/json", expect=413)
        # 401 and 403
        other = f"{refused('key of nobody')}:{refused('secret of nobody')}"
        basic = base64.b64encode(other.encode()).decode()
        self.canary.add(f"{NOT_STORED}refused, Authorization", basic)
        personal = self.refusable(actor={"mbox": self.canary.mbox(f"{NOT_STORED}refused, actor without rights")})
        for authorization in (f"Basic {basic}", f"Bearer {refused('token')}", f"Basic {refused('not base64')}", None):
            say("POST", "statements", sent=personal, Authorization=authorization, expect=401)
        key, secret = self.reader
        narrow = "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()
        say("POST", "statements", sent=personal, Authorization=narrow, expect=403)
        # 404, 405
        say(
            "GET",
            "statements",
            {"statementId": self.canary.uuid(f"{NOT_STORED}refused, unknown statement")},
            expect=404,
        )
        say("GET", f"/{refused('path')}", expect=404)
        say("GET", f"/xapi/{refused('path under xapi')}", {refused("parameter there"): "1"}, expect=404)
        say("DELETE", "statements", {"statementId": refused("DELETE")}, expect=405)
        # 409
        full = told["full"]
        changed = {**full, "result": {"response": self.canary.text(f"{NOT_STORED}refused, conflicting response")}}
        say("POST", "statements", sent=changed, expect=409)
        say("PUT", "statements", {"statementId": full["id"]}, sent=changed, expect=409)
        # 413
        long = refusable(result={"response": refused("too long") + "x" * BODY_BYTES_MAX})
        say("POST", "statements", sent=long, expect=413)
        many = [refusable(actor={"mbox": f"mailto:{refused('too many')}@school.example"})] * (STATEMENTS_MAX + 1)
        say("POST", "statements", sent=many, expect=413)
        # 415, and types and codings in general
        packed = gzip.compress(json.dumps(refusable(result={"response": refused("gzip")})).encode())
        say("POST", "statements", body=packed, Content_Type="application/json", Content_Encoding="gzip", expect=415)
        kind = f"application/json; charset={refused('charset')}"
        say("POST", "statements", body=b"{}", Content_Type=kind, expect=415)
        say("POST", "statements", body=b"{}", Content_Encoding=refused("coding"), expect=415)
        say("POST", "statements", body=b"{}", Content_Type=f"text/{refused('media type')}", expect=400)
        say("POST", "statements", sent=refusable(), version=refused("version header"), expect=400)
        self.be_refused_attachments()
        self.be_refused_queries()

    def be_refused_attachments(self) -> None:
        say, refused, canary = self.speaker.say, self.refused, self.canary
        content = canary.bytes(f"{NOT_STORED}refused, attachment")
        entry = {
            "usageType": "https://school.example/usage",
            "display": {"en": "a"},
            "contentType": "text/plain",
            "length": len(content),
            "sha2": hashlib.sha256(content).hexdigest(),
        }
        attaching = self.refusable(attachments=[entry])
        other = canary.bytes(f"{NOT_STORED}refused, other attachment")
        declared = {"X_Experience_API_Hash": entry["sha2"]}
        for body, kind in (
            multipart(attaching, other),
            multipart(attaching, other, **declared),
            multipart(attaching),
            multipart(attaching, content, X_Experience_API_Hash=refused("hash header")),
            multipart(attaching, content, Content_Transfer_Encoding=refused("transfer encoding")),
            multipart(refused("no statement"), content),
            (multipart(attaching, content)[0], f"multipart/mixed; boundary={refused('boundary')}"),
            (multipart(attaching, content)[0][:-200], "multipart/mixed; boundary=a"),
            (b"--a\r\n" + refused("part header").encode() + b"\r\n\r\n{}\r\n--a--\r\n", "multipart/mixed; boundary=a"),
        ):
            say("POST", "statements", body=body, Content_Type=kind, expect=400)
        name = refused("signed name")
        forged = jws(json.dumps(self.refusable(result={"response": name})).encode(), _signing_key())
        for signature in (forged, refused("no signature").encode(), forged[:-5] + b"?????"):
            changed = {"sha2": hashlib.sha256(signature).hexdigest(), "length": len(signature)}
            kept = {"usageType": SIGNATURE, "contentType": "application/octet-stream"}
            body, kind = multipart(self.refusable(attachments=[entry | changed | kept]), signature)
            say("POST", "statements", body=body, Content_Type=kind, expect=400)

    def be_refused_queries(self) -> None:
        say, refused = self.speaker.say, self.refused
        agents = [
            refused("agent"),
            json.dumps({"mbox": refused("agent's mbox")}),
            json.dumps({"mbox": "mailto:a@school.example", refused("agent's key"): 1}),
            f'{{"mbox": "mailto:{refused("broken agent")}@school.example"',
        ]
        for agent in agents:
            say("GET", "statements", {"agent": agent}, expect=400)
            say("GET", "agents", {"agent": agent}, expect=400)
        for name in (
            "verb",
            "activity",
            "registration",
            "since",
            "until",
            "limit",
            "format",
            "ascending",
            "statementId",
        ):
            say("GET", "statements", {name: refused(f"parameter {name}")}, expect=400)
        say("GET", "statements", {refused("name of a parameter"): refused("its value")}, expect=400)
        say("GET", f"statements/more/{refused('more')}", expect=400)
        say("GET", "activities", {"activityId": refused("activityId")}, expect=400)
        stolen = "Basic " + base64.b64encode(":".join(self.reader).encode()).decode()
        say("GET", self.links[0], Authorization=stolen, expect=400)

    def be_refused_documents(self) -> None:
        say, refused, canary = self.speaker.say, self.refused, self.canary
        agent = {"mbox": canary.mbox(f"{NOT_STORED}refused, document's agent")}
        place = {"activityId": canary.iri(f"{NOT_STORED}refused, document's activity"), "agent": agent}
        at = {**place, "stateId": refused("state id")}
        path = "activities/state"
        say("GET", path, at, expect=404)
        say("PUT", path, at, sent={refused("document"): 1}, If_Match=f'"{refused("ETag")}"', expect=412)
        say("PUT", path, at, sent={"a": 1}, If_None_Match="*", expect=204)
        say("PUT", path, at, sent={refused("second document"): 1}, If_None_Match="*", expect=412)
        say("PUT", path, at, sent={refused("unconditional document"): 1}, expect=409)
        say("POST", path, at, sent=[refused("list to merge")], expect=400)
        say("POST", path, at, body=refused("text to merge").encode(), Content_Type="text/plain", expect=400)
        broken = f'{{"{refused("broken document")}'.encode()
        say("PUT", path, at, body=broken, Content_Type="application/json", expect=400)
        say("PUT", path, at, body=refused("large").encode() + bytes(BODY_BYTES_MAX), expect=413)
        say("PUT", path, {**at, "registration": refused("document's registration")}, sent={}, expect=400)
        say("PUT", path, {**at, "agent": refused("document's agent as text")}, sent={}, expect=400)
        say("GET", path, {**place, "since": refused("since")}, expect=400)
        say("DELETE", "agents/profile", {"agent": agent, refused("profile parameter"): 1}, expect=400)

    def be_refused_by_the_protocol(self) -> None:
        """Requests that are no HTTP, which the server answers before any resource sees them."""
        raw, refused = self.speaker.say_raw, self.refused
        host = b"Host: a\r\n"
        end = b"Connection: close\r\n\r\n"
        word = refused
        requests = {
            "a header line without a colon": b"GET /xapi/about HTTP/1.1\r\n"
            + host
            + word("no colon").encode()
            + b"\r\n"
            + end,
            "a header name with a space": b"GET /xapi/about HTTP/1.1\r\n"
            + host
            + word("spaced").encode()
            + b" : a\r\n"
            + end,
            "a method of its own": word("method").upper().encode() + b" /xapi/about HTTP/1.1\r\n" + host + end,
            "a method that is no token": b"G@" + word("odd method").encode() + b"[ / HTTP/1.1\r\n" + host + end,
            "a version of its own": b"GET / HTTP/" + word("HTTP version").encode() + b"\r\n" + host + end,
            "a line alone": word("line").encode() + b"\r\n\r\n",
            "control characters": b"GET /xapi/about HTTP/1.1\r\nA: \x01" + word("control").encode() + b"\r\n" + end,
            "a long target": b"GET /" + word("target").encode() * 2000 + b" HTTP/1.1\r\n" + host + end,
            "a long header": b"GET / HTTP/1.1\r\nA: " + word("long header").encode() * 2000 + b"\r\n" + host + end,
            "many headers": b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(5000)) + host + end,
            "a length that is none": b"POST /xapi/statements HTTP/1.1\r\nContent-Length: "
            + word("length").encode()
            + b"\r\n"
            + host
            + end,
            "two lengths": b"POST /xapi/statements HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n"
            + host
            + end
            + word("two lengths").encode(),
            "a chunk that is none": b"POST /xapi/statements HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
            + self.authorized()
            + host
            + end
            + word("chunk").encode()
            + b"\r\n",
            "a target with bad escapes": b"GET /xapi/statements?agent=%zz%"
            + word("escapes").encode()
            + b" HTTP/1.1\r\n"
            + host
            + end,
            "a target that is a URL": b"GET http://" + word("authority").encode() + b":x/y HTTP/1.1\r\n" + host + end,
            "an expectation": b"POST /xapi/statements HTTP/1.1\r\nExpect: "
            + word("expect").encode()
            + b"\r\n"
            + host
            + end,
        }
        for asked, request in requests.items():
            answer = raw(asked, request)
            if answer.status >= 500:
                self.speaker.surprises.append(f"{asked} was answered {answer.status}: {answer.body[:300]!r}")

    def authorized(self) -> bytes:
        headers = self.speaker.server.headers() | {"Content-Type": "application/json"}
        return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()

    @property
    def reader(self) -> tuple[str, str]:
        return self.canary.values["reader's key"], self.canary.values["reader's secret"]


def _signing_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


# ── where it is said ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Place:
    """One installation, everything it writes, and the conversation that was held with it."""

    server: Griffel
    canary: Canary
    conversation: Conversation
    postgres: Postgres | None

    @property
    def speaker(self) -> Speaker:
        return self.conversation.speaker

    @property
    def roots(self) -> list[Path]:
        return [self.server.folder, *([self.postgres.folder] if self.postgres else [])]

    def pids(self) -> list[int]:
        """The server's processes and, on Linux, their children."""
        assert self.server.process is not None
        found, waiting = [], [self.server.process.pid]
        while waiting:
            found.append(pid := waiting.pop())
            waiting += [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found

    def everything(self) -> set[Hit]:
        """What a search of all files, and of all rows of all databases, finds."""
        if self.postgres is not None:
            checkpoint(self.postgres)
        hits = self.canary.scan(*self.roots)
        hits |= self.canary.scan_sqlite(*[path for path in files_under(self.server.folder) if path.suffix == ".db"])
        if self.postgres is not None:
            hits |= self.canary.scan_postgres(self.server.database_url, self.server.keys_url)
        return hits


def checkpoint(postgres: Postgres) -> None:
    """Bring everything from PostgreSQL's memory to its files."""
    with psycopg.connect(postgres.admin_url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


@pytest.fixture(scope="module")
def logging_postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this module's own that does what an operator may turn on to look for a fault: it logs every
    statement, with every value.
    """
    try:
        postgres = Postgres(settings={"log_statement": "all", "log_parameter_max_length_on_error": "-1"})
    except ServiceMissing as reason:
        without(reason)
    postgres.start()
    yield postgres
    postgres.stop()


@pytest.fixture(scope="module")
def place(mode: Mode, make_lrs: Callable[..., Griffel], request: pytest.FixtureRequest) -> Iterator[Place]:
    """An installation with which the whole conversation was held; it still runs."""
    postgres: Postgres | None = None
    addresses: Json = {}
    if mode == "cluster":
        postgres = request.getfixturevalue("logging_postgres")
        addresses = {
            "database_url": postgres.create_database("griffel_canary_events"),
            "keys_url": postgres.create_database("griffel_canary_keys"),
        }
    limits = {"GRIFFEL_BODY_BYTES_MAX": str(BODY_BYTES_MAX), "GRIFFEL_STATEMENTS_MAX": str(STATEMENTS_MAX)}
    server = make_lrs(mode, settings=limits | {"GRIFFEL_LOG_LEVEL": "debug"}, **addresses)
    server.settings = {
        **server.settings,
        "HOME": str(server.folder / "home"),
        "XDG_DATA_HOME": str(server.folder / "home"),
    }
    canary = Canary()
    try:
        server.start()
        words = Words(canary)
        readers = server.credential("statements/read", "--label", canary.text(f"{NOT_STORED}reader's label"))
        named = json.dumps(words.person("authority", "account"))
        writers = server.credential("all", "--label", canary.text(f"{NOT_STORED}label"), "--authority", named)
        for who, (key, secret) in (("reader", readers), ("writer", writers)):
            canary.add(f"{who}'s key", key)
            canary.add(f"{who}'s secret", secret)
            canary.also_hashed(f"{who}'s key", f"{key}:{secret}", base64.b64encode(f"{key}:{secret}".encode()))
        conversation = Conversation(Speaker(server, canary), words)
        conversation.hold()
        yield Place(server, canary, conversation, postgres)
    finally:
        server.kill()


def test_what_was_sent_was_kept_and_is_given_back(place):
    """Without this the others would prove nothing."""
    found = {hit.position for hit in place.canary.find(place.conversation.given_back)}
    credentials = {"reader's key", "reader's secret", "writer's key", "writer's secret"}
    expected = {one for one in place.canary.values if not one.startswith(NOT_STORED)} - credentials
    assert len(expected) > 200
    assert sorted(expected - found) == []


def test_no_canary_is_on_disk_while_the_server_runs(place):
    assert summary(place.everything()) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="which files a process has open is asked of /proc")
def test_every_file_that_is_open_was_searched_and_deleted_ones_hold_no_canary(place):
    pids = place.pids()
    assert len(pids) >= 2, "the server and its writer"
    assert place.canary.scan_open_files(pids) == set()
    open_now = {name for pid in pids for _, name in open_files(pid) if not name.endswith(" (deleted)")}
    written = {name for name in open_now if _is_open_for_writing(pids, name)}
    roots = tuple(f"{root}/" for root in place.roots)
    assert written, "the log at least"
    assert [name for name in written if not name.startswith(roots)] == []


def _is_open_for_writing(pids: list[int], wanted: str) -> bool:
    for pid in pids:
        for number, name in open_files(pid):
            if name == wanted:
                flags = int(Path(f"/proc/{pid}/fdinfo/{number}").read_text().split("flags:")[1].split()[0], 8)
                if flags & os.O_ACCMODE != os.O_RDONLY:
                    return True
    return False


def test_what_is_wrong_is_refused_with_the_status_that_says_why(place):
    assert place.speaker.surprises == []


def test_no_refusal_repeats_what_was_sent(place):
    assert {one.status for one in refusals(place)} >= {400, 401, 403, 404, 405, 409, 412, 413, 415}
    repeated = {}
    for one in refusals(place):
        # Where a body is none of Griffel's problems, all of it is looked at.
        told = one.body.replace(pointer_of(one), b"")
        if found := place.canary.find(one.head + told):
            repeated[positions_of(found)] = f"{one.status} {told.decode()[:300]}"
    assert repeated == {}


def test_no_pointer_repeats_a_name_that_a_client_chose(place):
    """Keys of extensions and language maps, and properties that there are not, may be anything, a person's name too."""
    pointers = {pointer_of(one) for one in refusals(place)}
    assert len(pointers) > 10
    repeated = [(positions_of(found), one.decode()) for one in pointers if (found := place.canary.find(one))]
    assert sorted(repeated) == []


def refusals(place: Place) -> list[Answer]:
    return [one for one in place.speaker.answers if one.status >= 400]


def pointer_of(refusal: Answer) -> bytes:
    """The pointer of a problem as it stands in its body, empty where there is none."""
    with suppress(ValueError):
        return json.dumps(refusal.json.get("pointer", "")).encode()[1:-1]
    return b""


def positions_of(hits: set[Hit]) -> str:
    return " and ".join(sorted({hit.position for hit in hits}))


def test_headers_and_links_of_answers_tell_nothing(place):
    """Servers between here and the client write them down: a `more` above all."""
    hits = [summary(place.canary.find(one.head, one.asked)) for one in place.speaker.answers if one.status < 400]
    # A document comes back under the media type that it was sent with, which is the one thing of the client's here.
    kinds = {position for position in place.canary.values if position.endswith(", content type")}
    told = [place_of for found in hits for place_of in found.values() if not _only(place_of, kinds)]
    assert told == []
    assert len(place.conversation.links) >= 10
    assert summary({hit for link in place.conversation.links for hit in place.canary.find(link.encode(), link)}) == {}


def _only(found: list[str], positions: set[str]) -> bool:
    return all(any(one.startswith(f"{position}: ") for position in positions) for one in found)


def test_the_program_prints_nothing_that_was_sent(place):
    printed = place.server.log()
    assert "Griffel" in printed
    assert place.canary.find(printed.encode()) == set()


def test_no_canary_is_on_disk_after_a_kill_a_restart_and_a_stop(place):
    """Last: it leaves the server stopped, its write-ahead logs folded in."""
    place.server.kill()
    assert summary(place.everything()) == {}
    place.server.start()
    told = place.speaker.say("GET", "statements", {"limit": 1}, expect=200)
    assert told.json["statements"]
    assert quote(place.server.key) not in place.server.log()
    assert place.server.stop() == 0
    assert summary(place.everything()) == {}
