"""A small synchronous xAPI client, and the marks that tie a test to the requirements it proves."""

from __future__ import annotations

import email
import json as jsonlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSIONS = ("2.0.0", "1.0.3")

Json = dict[str, Any]

UNSET: Any = object()


def requirement(*numbers: str) -> pytest.MarkDecorator:
    """Mark a test, or one row of its table, with the numbers of the requirements it proves."""
    return pytest.mark.requirement(*numbers)


def only(version: str) -> pytest.MarkDecorator:
    """Run a test for one version of xAPI, where the two contradict each other."""
    return pytest.mark.parametrize("api", [version], indirect=True)


def row(numbers: str, name: str, *values: Any) -> Any:
    """One row of a table: requirement numbers (separated by blanks), what the row says, its values."""
    return pytest.param(*values, id=f"{name} [{numbers}]", marks=requirement(*numbers.split()))


class Api:
    """One version of xAPI spoken over one kept-alive connection.

    `params` may hold booleans, numbers, dicts and lists: they are written as xAPI writes them in a query.
    """

    def __init__(self, url: str, key: str, secret: str, version: str) -> None:
        self.url = url.rstrip("/")
        self.credential = (key, secret)
        self.version = version
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth = self.credential

    def call(
        self,
        method: str,
        resource: str,
        params: Mapping[str, Any] | None = None,
        *,
        json: Any = UNSET,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        version: str | None = UNSET,
    ) -> requests.Response:
        """Send one request. `version=None` leaves the version header out."""
        sent = {} if version is None else {"X-Experience-API-Version": self.version if version is UNSET else version}
        if json is not UNSET:
            data = jsonlib.dumps(json).encode()
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        query = {name: _in_query(value) for name, value in (params or {}).items()}
        url = f"{self.url}/{resource}"
        return self.session.request(method, url, params=query, data=data, headers=sent, timeout=30)

    def post(self, statements: Json | Sequence[Json], **options: Any) -> requests.Response:
        return self.call("POST", "statements", json=statements, **options)

    def get(self, **params: Any) -> requests.Response:
        return self.call("GET", "statements", params)

    def more(self, link: str) -> requests.Response:
        """Follow a `more` link, which is relative to the server's root (Data 2.5)."""
        headers = {"X-Experience-API-Version": self.version}
        return self.session.get(urljoin(self.url, link), headers=headers, timeout=30)

    def store(self, *statements: Json) -> list[str]:
        """Post statements as one batch, which must be accepted; their ids."""
        return must(200, self.post(list(statements))).json()

    def fetch(self, statement_id: str) -> Json:
        return must(200, self.get(statementId=statement_id)).json()

    def found(self, **params: Any) -> list[str]:
        """The ids that a query answers, in its order."""
        return [statement["id"] for statement in must(200, self.get(**params)).json()["statements"]]


def _in_query(value: Any) -> str:
    return value if isinstance(value, str) else jsonlib.dumps(value)


def must(status: int, response: requests.Response) -> requests.Response:
    """The response, which must have this status."""
    assert response.status_code == status, f"{response.status_code} instead of {status}: {response.text[:500]}"
    return response


def refused(api: Api, statement: Any) -> None:
    """The statement must be refused with 400 and an explanation."""
    response = must(400, api.post(statement))
    assert response.headers["Content-Type"].startswith("application/problem+json")
    assert response.json()["detail"]


def accepted(api: Api, statement: Json) -> Json:
    """The statement must be accepted and come back as it was sent; what came back."""
    [statement_id] = must(200, api.post(statement)).json()
    stored = api.fetch(statement_id)
    for name in statement.keys() - {"authority", "stored", "timestamp", "version"}:
        assert _comparable(stored[name]) == _comparable(statement[name])
    return stored


def _comparable(value: Any) -> Any:
    """What must not change between sending and reading: one context activity alone is the same as a list of one,
    and the members of a group have no order (Data 2.3.1, 2.4.6.2)."""
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if not isinstance(value, dict):
        return value
    comparable = {name: _comparable(item) for name, item in value.items()}
    if isinstance(activities := comparable.get("contextActivities"), dict):
        comparable["contextActivities"] = {
            kind: item if isinstance(item, list) else [item] for kind, item in activities.items()
        }
    if isinstance(members := comparable.get("member"), list):
        comparable["member"] = sorted(members, key=jsonlib.dumps)
    return comparable


def multipart(parts: Sequence[tuple[Mapping[str, str], bytes]], boundary: str = "griffel-part") -> bytes:
    """A multipart/mixed body of these parts (headers and content)."""
    lines = []
    for headers, content in parts:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        lines.append(b"--" + boundary.encode() + b"\r\n" + head + b"\r\n" + content + b"\r\n")
    return b"".join(lines) + b"--" + boundary.encode() + b"--\r\n"


def parts_of(response: requests.Response) -> list[tuple[dict[str, str], bytes]]:
    """The parts of a multipart answer: headers (names in lower case) and content."""
    head = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + response.content)
    assert message.is_multipart()
    return [
        ({name.lower(): value for name, value in part.items()}, part.get_payload(decode=True))  # type: ignore[union-attr]
        for part in message.get_payload()
    ]
