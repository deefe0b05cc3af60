"""A client of an xAPI endpoint, for the commands that speak to a server over HTTP.

What can go wrong, as one tree:

    EndpointError
    ├── Refused         the endpoint will not take these statements, whatever is tried (400, 403, 409, 413 …)
    ├── NotWelcome      the credential is missing or wrong (401)
    ├── Unreachable     no answer, or busy, for as long as patience lasted
    ├── Failed          the endpoint failed inside (500)
    └── NotAnEndpoint   an answer that no xAPI endpoint gives: a redirection, a web page, a list of ids too short
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import aiohttp
import orjson

from lrs.cli.multipart import Attachment, multipart_body, read_page

Json = dict[str, Any]

CONNECT_S_MAX: Final = 10.0
SILENCE_S_MAX: Final = 120.0
FIRST_CONTACT_S_MAX: Final = 15.0
PAGE_BYTES_MAX: Final = 512 * 1024 * 1024
WAIT_S_MAX: Final = 60.0
BUSY: Final = frozenset({408, 425, 429, 502, 503, 504})
REFUSALS: Final = frozenset({400, 403, 409, 413, 415, 422})
VERSIONS: Final = ("2.0.0", "1.0.3")
DETAIL_CHARACTERS_MAX: Final = 500


class EndpointError(Exception):
    """Speaking to the endpoint failed."""


class Refused(EndpointError):
    """The endpoint refused the request; sending it again as it is would change nothing.

    Attributes:
        status: the HTTP status.
        detail: the problem's own sentence where the answer was problem+json, else the status in words. The free text
            of other answers is left out, since it may repeat what was sent.
        pointer: the JSON pointer to the place in the request's body, None where the answer named none.
    """

    def __init__(self, status: int, detail: str, pointer: str | None) -> None:
        super().__init__(f"{status}: {detail}" + (f" (at {pointer})" if pointer else ""))
        self.status = status
        self.detail = detail
        self.pointer = pointer


class NotWelcome(EndpointError):
    """The endpoint did not accept the credential."""


class Unreachable(EndpointError):
    """The endpoint gave no answer, or was busy, for as long as patience lasted."""


class Failed(EndpointError):
    """The endpoint failed inside; what was sent may be stored or not."""


class NotAnEndpoint(EndpointError):
    """What answers at this address is not an xAPI endpoint."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an xAPI endpoint is and who asks.

    Attributes:
        url: the address without a slash at its end, as content would be given it: `http://127.0.0.1:8080/xapi`.
        key: the credential's key, None to ask without one.
        secret: the credential's secret.
    """

    url: str
    key: str | None = None
    secret: str | None = field(default=None, repr=False)

    @property
    def origin(self) -> tuple[str, str | None, int | None]:
        """Give scheme, host and port."""
        parts = urlsplit(self.url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def endpoint_url(text: str) -> str:
    """Bring an endpoint's address into its one form; a ValueError says what is wrong with it."""
    parts = urlsplit(text.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("an endpoint is an http or https address, such as http://127.0.0.1:8080/xapi")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a key and secret do not belong in the address; use the options or environment variables")
    if parts.query or parts.fragment:
        raise ValueError("an endpoint's address has no ? or # part")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/statements')}"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a statement query.

    Attributes:
        statements: parsed, in the order of the answer.
        attachments: by sha2; empty unless they were asked for.
        consistent_through: the X-Experience-API-Consistent-Through header, empty where the endpoint sends none.
        last: whether no page follows.
    """

    statements: list[Json]
    attachments: dict[str, Attachment]
    consistent_through: str
    last: bool


class XapiClient:
    """Posts and reads statements; waits and tries again where that can help.

    Every request made here may be repeated without harm: statements are posted with their ids, and a store answers a
    statement that it has with success (xAPI Communication 2.1.2).

    Args:
        session: an aiohttp session; the caller closes it.
        endpoint: where and who.
        version: the X-Experience-API-Version to speak.
        patience_s: for how long one request is repeated before `Unreachable`, seconds.
        sleep: waits so many seconds.
        spread: gives a number between 0 and 1, so that clients who were sent away together do not return together.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: Endpoint,
        *,
        version: str = VERSIONS[0],
        patience_s: float = 600.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        spread: Callable[[], float] = lambda: secrets.randbelow(1000) / 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self.endpoint = endpoint
        self.version = version
        self._patience_s = patience_s
        self._sleep = sleep
        self._spread = spread
        self._clock = clock
        self.waits = 0
        """How often a request had to wait and be repeated."""

    async def agree_on_version(self) -> str:
        """Ask the about resource which versions it speaks, take the newest in common, and keep to it.

        An endpoint that does not say is taken to speak 1.0.3. xAPI Communication 2.8.
        """
        try:
            _, body = await self._send("GET", self.endpoint.url + "/about", patience_s=FIRST_CONTACT_S_MAX)
            spoken = orjson.loads(body)["version"]
        except (Refused, NotAnEndpoint, orjson.JSONDecodeError, KeyError, TypeError):
            spoken = []
        families = {str(version)[:4] for version in spoken} if isinstance(spoken, list) else set()
        self.version = next((version for version in VERSIONS if version[:4] in families), VERSIONS[-1])
        return self.version

    async def post_statements(self, statements: Iterable[bytes], attachments: Iterable[Attachment] = ()) -> list[str]:
        """Post statements as one batch, all or nothing, and give their ids.

        Args:
            statements: each as JSON.
            attachments: data of their attachments; with any, the body is multipart/mixed.

        Raises:
            Refused: nothing of this batch was stored.
            NotWelcome, Unreachable, NotAnEndpoint: see there; after Unreachable the batch may be stored or not.
        """
        parts = list(statements)
        body, content_type = b"[" + b",".join(parts) + b"]", "application/json"
        if data := list(attachments):
            body, content_type = multipart_body(body, data)
        _, answer = await self._send(
            "POST", self.endpoint.url + "/statements", body=body, headers={"Content-Type": content_type}
        )
        try:
            ids = orjson.loads(answer)
        except orjson.JSONDecodeError:
            ids = None
        if not isinstance(ids, list) or len(ids) != len(parts):
            raise NotAnEndpoint("The endpoint did not answer with the ids of the statements: is the address right?")
        return ids

    async def pages(self, query: Mapping[str, str], *, attachments: bool = False) -> AsyncIterator[Page]:
        """Read statements page by page, following `more` (xAPI Communication 2.1.3).

        Args:
            query: the parameters of the first request, `limit` for the size of a page.
            attachments: ask for the data of attachments too.
        """
        asked = dict(query) | ({"attachments": "true"} if attachments else {})
        address, parameters = self.endpoint.url + "/statements", asked
        while True:
            headers, body = await self._send("GET", address, parameters=parameters)
            try:
                document, parts = read_page(headers.get("Content-Type", ""), body)
                statements, more = document["statements"], document.get("more") or ""
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise NotAnEndpoint(
                    "The endpoint did not answer with a list of statements: is the address right?"
                ) from error
            through = headers.get("X-Experience-API-Consistent-Through", "")
            yield Page(statements, parts, through, not more)
            if not more:
                return
            address, parameters = self._followed(more), {}

    def _followed(self, more: str) -> str:
        """Give the address of the next page; one on another host would be handed the credential."""
        address = urljoin(self.endpoint.url + "/", more)
        if Endpoint(address).origin != self.endpoint.origin:
            raise NotAnEndpoint("The endpoint's next page is on another host, which is not followed.")
        return address

    async def _send(
        self,
        method: str,
        address: str,
        *,
        parameters: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        patience_s: float | None = None,
    ) -> tuple[Mapping[str, str], bytes]:
        """Send one request until it is answered, refused, or patience is at its end."""
        told = {"X-Experience-API-Version": self.version, **(headers or {})}
        if self.endpoint.key is not None:
            pair = f"{self.endpoint.key}:{self.endpoint.secret or ''}".encode()
            told["Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")
        until = self._clock() + (self._patience_s if patience_s is None else min(patience_s, self._patience_s))
        for attempt in itertools.count():  # patience ends it
            try:
                async with self._session.request(
                    method, address, params=parameters, data=body, headers=told, allow_redirects=False
                ) as response:
                    answer = await _read_within(response, PAGE_BYTES_MAX)
                    if response.status not in BUSY:
                        _check(self.endpoint.url, response.status, response.content_type, answer)
                        return response.headers, answer
                    asked_s, reason = retry_after_s(response.headers.get("Retry-After")), f"it says {response.status}"
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
                asked_s, reason = None, f"no answer ({type(error).__name__})"
            except aiohttp.ClientError as error:
                raise NotAnEndpoint(
                    f"What answers there does not speak HTTP as expected ({type(error).__name__})."
                ) from error
            wait_s = self._wait_s(attempt, asked_s)
            if self._clock() + wait_s > until:
                raise Unreachable(f"{self.endpoint.url} cannot be used: {reason}. It was tried {attempt + 1} times.")
            self.waits += 1
            await self._sleep(wait_s)
        raise AssertionError  # the count has no end

    def _wait_s(self, attempt: int, asked_s: float | None) -> float:
        """How long to wait: as long as was asked, else doubling; never above a bound; some jitter on top."""
        wait_s = asked_s if asked_s is not None else 0.25 * 2 ** min(attempt, 10)
        wait_s = min(wait_s, WAIT_S_MAX)
        return wait_s + self._spread() * max(0.1, 0.25 * wait_s)


@asynccontextmanager
async def xapi_client(
    endpoint: Endpoint, *, version: str | None = None, patience_s: float = 600.0, connections_max: int = 64
) -> AsyncIterator[XapiClient]:
    """Open a client with a session of its own; without a version, agree on one with the endpoint."""
    timeout = aiohttp.ClientTimeout(
        total=None, connect=CONNECT_S_MAX, sock_connect=CONNECT_S_MAX, sock_read=SILENCE_S_MAX
    )
    connector = aiohttp.TCPConnector(limit=connections_max)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        client = XapiClient(session, endpoint, version=version or VERSIONS[0], patience_s=patience_s)
        if version is None:
            await client.agree_on_version()
        yield client


def retry_after_s(header: str | None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Read Retry-After, in seconds or as a date (RFC 9110, 10.2.3); None where it is absent or cannot be read."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:  # noqa: PLR2004 - longer is no time to wait
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now()).total_seconds())


async def _read_within(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_chunked(1 << 18):
        size += len(part)
        if size > bytes_max:
            raise NotAnEndpoint(f"One answer is larger than {bytes_max:,} bytes: ask for smaller pages.")
        parts.append(part)
    return b"".join(parts)


def _check(url: str, status: int, content_type: str, body: bytes) -> None:
    """Raise what a status stands for; return where it is a success."""
    if 200 <= status < 300:  # noqa: PLR2004 - the class of successes
        return
    if status == 401:  # noqa: PLR2004
        raise NotWelcome(f"{url} does not accept this key and secret.")
    if 300 <= status < 400:  # noqa: PLR2004
        raise NotAnEndpoint(
            f"The endpoint answers {status}, a redirection, which is not followed. Give the new address."
        )
    detail, pointer = _problem(content_type, body)
    if status in REFUSALS:
        raise Refused(status, detail or HTTPStatus(status).phrase, pointer)
    if status >= 500:  # noqa: PLR2004
        raise Failed(f"The endpoint failed inside ({status}). Its own log says why.")
    raise NotAnEndpoint(f"The endpoint answers {status}{': ' + detail if detail else ''}. Is the address right?")


def _problem(content_type: str, body: bytes) -> tuple[str | None, str | None]:
    """Take detail and pointer out of a problem+json body (RFC 9457); None for each where there is none."""
    if content_type != "application/problem+json":
        return None, None
    try:
        problem = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, None
    if not isinstance(problem, dict):
        return None, None
    detail, pointer = problem.get("detail") or problem.get("title"), problem.get("pointer")
    return (
        detail[:DETAIL_CHARACTERS_MAX] if isinstance(detail, str) else None,
        pointer[:DETAIL_CHARACTERS_MAX] if isinstance(pointer, str) else None,
    )
