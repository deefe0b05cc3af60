"""The conversation in which canaries are sent: all that xAPI lets a client say, one wherever something personal may be.

`Speaker` speaks HTTP and keeps every answer, `Words` makes parts of statements, `Conversation` says them. What is
refused is in tests/canary_refusals.py.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.canary import Canary
from tests.services import Griffel

Json = dict[str, Any]

VERBS = "http://adlnet.gov/expapi/verbs/"
SIGNATURE = "http://adlnet.gov/expapi/attachments/signature"
NOT_STORED = "sent only: "
"""Begins the name of a position that no answer gives back: headers, refused statements, queries."""


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
    people: dict[str, Json] = field(default_factory=dict)
    """Everybody who was named, by where."""

    def person(self, where: str, kind: str) -> Json:
        canary, position = self.canary, f"{where}, {kind}"
        value: Any = {
            "mbox": canary.mbox,
            "mbox_sha1sum": canary.sha1sum,
            "openid": canary.iri,
            "account": canary.account,
        }[kind](position)
        self.people[where] = {"objectType": "Agent", kind: value}
        return {**self.people[where], "name": canary.text(f"{where}, name")}

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
    """Everything that one server is told and asked, in order; given_back and links are what its answers held."""

    speaker: Speaker
    words: Words
    given_back: bytes = b""
    links: list[str] = field(default_factory=list)

    @property
    def canary(self) -> Canary:
        return self.words.canary

    def hold(self) -> dict[str, Json]:
        """Say everything; give the statements that were stored, by name."""
        statements = self.post_statements()
        self.post_attachments()
        self.use_form_syntax()
        self.query(statements)
        self.keep_documents()
        return statements

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
        course = words.activity("completing", type="http://adlnet.gov/expapi/activities/course")
        completing = words.statement("completing", "account", verb={"id": VERBS + "completed"}, object=course)
        say("POST", "statements", sent=completing, expect=200)
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
