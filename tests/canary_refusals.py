"""What a server refuses: a canary in everything that is wrong, of every kind, before and after it is understood."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.canary import Canary
from tests.canary_conversation import NOT_STORED, SIGNATURE, VERBS, Conversation, Json, Speaker, jws, multipart

BODY_BYTES_MAX = 64 * 1024
STATEMENTS_MAX = 20


@dataclass
class Refusals:
    """Says what is to be refused, after a conversation was held whose statements are `told`."""

    conversation: Conversation
    told: Mapping[str, Json]

    @property
    def speaker(self) -> Speaker:
        return self.conversation.speaker

    @property
    def canary(self) -> Canary:
        return self.conversation.canary

    def provoke(self) -> None:
        self.be_refused(self.told)
        self.be_refused_forms()
        self.be_refused_documents()
        self.be_refused_by_the_protocol()

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
        say("GET", self.conversation.links[0], Authorization=stolen, expect=400)

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

    def be_refused_forms(self) -> None:
        in_form = self.conversation.in_form
        refused = {"statementId": "x", "content": self.canary.word(f"{NOT_STORED}form, content")}
        in_form("PUT", "statements", refused, expect=400)
        unknown = {self.canary.word(f"{NOT_STORED}form, field"): self.canary.word(f"{NOT_STORED}form, value")}
        in_form("GET", "statements", unknown, expect=400)
        method = self.canary.word(f"{NOT_STORED}form, method")
        in_form(method, "statements", {}, expect=400)


def _signing_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
