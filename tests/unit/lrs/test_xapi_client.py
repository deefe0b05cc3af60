"""The client of an xAPI endpoint: waiting, giving up, following pages, and what it never says."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import aiohttp
import pytest

from lrs.cli.multipart import Attachment, multipart_body, read_page
from lrs.cli.xapi_client import (
    WAIT_S_MAX,
    Endpoint,
    Failed,
    NotAnEndpoint,
    NotWelcome,
    Refused,
    Unreachable,
    XapiClient,
    endpoint_url,
    retry_after_s,
    xapi_client,
)
from tests.unit.lrs.fake_endpoint import KEY, SECRET, FakeEndpoint, statement


@pytest.fixture
def fake():
    with FakeEndpoint() as endpoint:
        yield endpoint


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


def ask(fake: FakeEndpoint, work, clock: Clock | None = None, *, patience_s: float = 600, spread: float = 0.5):
    clock = clock or Clock()

    async def main():
        async with aiohttp.ClientSession() as session:
            client = XapiClient(
                session,
                Endpoint(fake.url, KEY, SECRET),
                patience_s=patience_s,
                sleep=clock.sleep,
                spread=lambda: spread,
                clock=lambda: clock.now,
            )
            return await work(client)

    return asyncio.run(main())


def post_one(client: XapiClient):
    return client.post_statements([json.dumps(statement(1)).encode()])


def test_it_waits_as_long_as_it_is_told_and_a_little_more(fake):
    fake.answers_first = [(429, {"Retry-After": "7"}), (503, {"Retry-After": "2"})]
    clock = Clock()
    assert ask(fake, post_one, clock) == [statement(1)["id"]]
    assert clock.sleeps == [7 + 0.5 * 0.25 * 7, 2 + 0.5 * 0.25 * 2]


def test_without_a_time_it_waits_longer_each_time(fake):
    fake.answers_first = [(503, {})] * 5
    clock = Clock()
    ask(fake, post_one, clock, spread=0)
    assert clock.sleeps == [0.25, 0.5, 1, 2, 4]


def test_no_wait_is_longer_than_its_bound(fake):
    fake.answers_first = [(503, {"Retry-After": "86400"}), (429, {"Retry-After": "Fri, 31 Dec 2999 23:59:59 GMT"})]
    clock = Clock()
    ask(fake, post_one, clock, spread=1)
    assert max(clock.sleeps) <= 1.25 * WAIT_S_MAX


def test_patience_ends(fake):
    fake.answers_first = [(503, {"Retry-After": "20"})] * 10
    clock = Clock()
    with pytest.raises(Unreachable, match="503"):
        ask(fake, post_one, clock, patience_s=50)
    assert clock.now <= 50
    assert fake.statements == {}


def test_a_server_that_is_away_is_waited_for():
    with FakeEndpoint() as gone:
        pass
    clock = Clock()
    with pytest.raises(Unreachable, match="no answer"):
        ask(gone, post_one, clock, patience_s=5)
    assert len(clock.sleeps) > 1


@pytest.mark.parametrize(
    ("status", "error"), [(400, Refused), (403, Refused), (409, Refused), (413, Refused), (500, Failed)]
)
def test_what_waiting_cannot_mend_is_not_repeated(fake, status, error):
    fake.answers_first = [(status, {})]
    clock = Clock()
    with pytest.raises(error):
        ask(fake, post_one, clock)
    assert clock.sleeps == []


@pytest.mark.parametrize(("status", "error"), [(301, NotAnEndpoint), (302, NotAnEndpoint), (404, NotAnEndpoint)])
def test_a_redirection_is_not_followed_with_the_credential(fake, status, error):
    fake.answers_first = [(status, {"Location": "http://127.0.0.1:1/"})]
    with pytest.raises(error):
        ask(fake, post_one)


def test_a_page_on_another_host_is_not_followed_with_the_credential(fake):
    for number in range(3):
        fake.store(statement(number))
    fake.more_prefix = "http://localhost:1"

    async def read(client: XapiClient) -> list[int]:
        return [len(page.statements) async for page in client.pages({"limit": "2"})]

    with pytest.raises(NotAnEndpoint, match="another host"):
        ask(fake, read)


@pytest.mark.parametrize(
    ("spoken", "chosen"),
    [
        (("2.0.0", "1.0.3"), "2.0.0"),
        (("1.0.0", "1.0.1"), "1.0.3"),
        (("2.0.1",), "2.0.0"),
        (("0.95",), "1.0.3"),
        ((), "1.0.3"),
    ],
)
def test_the_newest_version_in_common_is_spoken(fake, spoken, chosen):
    fake.versions = spoken
    assert ask(fake, lambda client: client.agree_on_version()) == chosen


def test_a_refusal_repeats_nothing_but_the_problem(fake):
    fake.refuse = lambda _: (400, "/actor", "An actor needs one identifier.")
    with pytest.raises(Refused) as caught:
        ask(fake, post_one)
    assert (caught.value.status, caught.value.pointer) == (400, "/0/actor")
    assert str(caught.value) == "400: An actor needs one identifier. (at /0/actor)"


def test_the_secret_is_in_no_text_about_the_endpoint():
    assert "hunter2" not in repr(Endpoint("http://a/xapi", "k", "hunter2"))


def test_a_wrong_secret_is_not_repeated_for_ever(fake):
    async def main() -> None:
        async with xapi_client(Endpoint(fake.url, KEY, "wrong"), version="2.0.0") as client:
            await post_one(client)

    with pytest.raises(NotWelcome):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8080/xapi", "http://127.0.0.1:8080/xapi"),
        (" https://lrs.example/xapi/ ", "https://lrs.example/xapi"),
        ("https://lrs.example/data/xAPI/statements", "https://lrs.example/data/xAPI"),
    ],
)
def test_an_endpoint_has_one_form(text, url):
    assert endpoint_url(text) == url


@pytest.mark.parametrize(
    "text", ["", "lrs.example/xapi", "ftp://lrs.example", "http://me:hunter2@a/xapi", "http://a/?b"]
)
def test_what_is_no_endpoint_is_refused_unrepeated(text):
    with pytest.raises(ValueError, match=r"endpoint|key and secret") as caught:
        endpoint_url(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 0 ", 0),
        ("Mon, 07 Sep 2026 08:00:30 GMT", 30),
        ("Mon, 07 Sep 2026 07:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(header, seconds):
    assert retry_after_s(header, now=lambda: datetime(2026, 9, 7, 8, 0, tzinfo=UTC)) == seconds


def test_a_multipart_body_is_read_as_it_was_written():
    parts = [Attachment("a" * 64, "text/plain", b"\r\n--x\r\n"), Attachment("b" * 64, "image/png", b"")]
    body, content_type = multipart_body(b'{"statements": []}', [*parts, parts[0]])
    document, attachments = read_page(content_type, body)
    assert document == {"statements": []}
    assert attachments == {one.sha2: one for one in parts}


def test_a_content_type_cannot_add_a_header_of_its_own():
    body, _ = multipart_body(b"[]", [Attachment("a" * 64, "text/plain\r\nX-Experience-API-Hash: b", b"")])
    assert body.count(b"\r\nX-Experience-API-Hash:") == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"more": ""}'])
def test_what_is_no_statement_result_is_not_taken_for_an_empty_one(fake, body):
    async def read(client: XapiClient) -> None:
        async def answer(*_: object, **__: object) -> tuple[dict[str, str], bytes]:
            return {"Content-Type": "application/json"}, body

        client._send = answer
        async for _ in client.pages({}):
            pass

    with pytest.raises(NotAnEndpoint):
        ask(fake, read)
