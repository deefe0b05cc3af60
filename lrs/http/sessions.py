"""Sessions: how a person who reads pages shows a credential once, and then a cookie.

A *session* is a sealed cookie that names the credential by its blind name; nothing about it is kept, so any server of a
cluster can read it. It ends when its person signs out, when its credential is revoked, when it has not been used for
SESSION_IDLE_S, and in any case after SESSION_S. A server remembers the sessions that were ended on it, so that a copy
of such a cookie is worth nothing there; elsewhere it is worth nothing once it is idle.

Forms carry a token that other sites cannot know (cross-site request forgery): the one to sign in by a cookie of its
own, the one to sign out by the session. Failed attempts are counted by the key that was typed and by the address they
come from; over a bound there is a pause.
"""

from __future__ import annotations

import base64
import hmac
import secrets as random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from aiohttp import web
from cryptography.exceptions import InvalidTag

from lrs.blinding import KeyedHash
from lrs.credentials import Caller
from lrs.errors import NotAuthenticated
from lrs.http.app import Services
from lrs.http.call import authenticate
from schemas.envelope import NONCE_BYTES

SESSION_COOKIE = "griffel_session"
FORM_COOKIE = "griffel_form"
SESSION_S = 8 * 3_600
SESSION_IDLE_S = 3_600
SESSION_RENEW_S = 60
"""How old a cookie's last use may be before it is written anew."""
FAILURES_MAX = 5
ADDRESS_FAILURES_MAX = 50
"""For an address; a whole school may have one."""
LOCKED_S = 60
FAILURES_KEPT_MAX = 10_000
ENDED_KEPT_MAX = 10_000
COOKIE_CHARACTERS_MAX = 1_000
ID_BYTES = 16
_BINDING = b"griffel session 1"


class SignedIn(NamedTuple):
    """What a session's cookie says; times in seconds since 1970."""

    id: bytes
    blind: bytes
    began_s: int
    used_s: int


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks for a page or its data: their session is None where the request itself carried a credential."""

    caller: Caller
    session: SignedIn | None = None


class Failures:
    """Counts failed attempts by whoever made them, in bounded memory: the oldest are forgotten first."""

    def __init__(self, failures_max: int, clock: Callable[[], float]) -> None:
        self._failures_max = failures_max
        self._clock = clock
        self._known: dict[bytes, tuple[int, float]] = {}

    def wait_s(self, who: bytes) -> float:
        """Give how long they have to wait before another attempt is looked at; 0 where they need not."""
        count, last = self._known.get(who, (0, 0.0))
        return max(0.0, last + LOCKED_S - self._clock()) if count >= self._failures_max else 0.0

    def note(self, who: bytes) -> None:
        """Count a failure. Those from before a pause that is over are forgotten."""
        now = self._clock()
        count, last = self._known.pop(who, (0, now))
        self._known[who] = (1 if now - last > LOCKED_S else count + 1, now)
        while len(self._known) > FAILURES_KEPT_MAX:
            del self._known[next(iter(self._known))]

    def forget(self, who: bytes) -> None:
        """Begin anew: they have succeeded."""
        self._known.pop(who, None)


class Sessions:
    """Begins, reads, renews and ends sessions; and lets in, or not, who wants one."""

    def __init__(
        self,
        services: Services,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self._clock = clock
        self._by_key = Failures(FAILURES_MAX, monotonic)
        self._by_address = Failures(ADDRESS_FAILURES_MAX, monotonic)
        self._ended: dict[bytes, float] = {}

    # ── who asks ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def visitor(self, request: web.Request) -> Visitor:
        """Give who asks, by the request's Authorization header or by their session. Raises NotAuthenticated."""
        if "Authorization" in request.headers:
            return Visitor(await authenticate(request.headers, self._services.credentials, self._services.bearer))
        session = self._read(request.cookies.get(SESSION_COOKIE, ""))
        caller = await self._services.credentials.holder(session.blind) if session is not None else None
        if session is None or caller is None:
            raise NotAuthenticated
        return Visitor(caller, session)

    async def sign_in(self, key: str, secret: str, address: str) -> Caller | float:
        """Give who holds this key and secret, or the seconds to wait after too many failures.

        Raises NotAuthenticated where nobody does.
        """
        by_key, by_address = self._digest(b"key", key.encode()), self._digest(b"address", address.encode())
        if wait_s := max(self._by_key.wait_s(by_key), self._by_address.wait_s(by_address)):
            return wait_s
        caller = await self._services.credentials.caller(key, secret, f"\0{random.token_hex(ID_BYTES)}")
        if caller is None:
            self._by_key.note(by_key)
            self._by_address.note(by_address)
            raise NotAuthenticated("key or secret is wrong, or revoked")
        self._by_key.forget(by_key)
        return caller

    # ── cookies ──────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, caller: Caller) -> SignedIn:
        """Give a new session of a caller."""
        now = int(self._clock())
        return SignedIn(random.token_bytes(ID_BYTES), caller.blind, now, now)

    def end(self, session: SignedIn) -> None:
        """Take a session's cookie no more."""
        now = self._clock()
        self._ended = {one: ends for one, ends in self._ended.items() if ends > now}
        self._ended[session.id] = session.began_s + SESSION_S
        while len(self._ended) > ENDED_KEPT_MAX:
            del self._ended[next(iter(self._ended))]

    def write_cookie(self, response: web.StreamResponse, session: SignedIn, path: str, *, secure: bool) -> None:
        """Put a session into an answer. secure: whether the site is reached by https."""
        nonce = random.token_bytes(NONCE_BYTES)
        box = self._services.vault.secrets.cursor_key.encrypt(nonce, msgspec.msgpack.encode(session), _BINDING)
        value = base64.urlsafe_b64encode(nonce + box).decode().rstrip("=")
        left_s = session.began_s + SESSION_S - int(self._clock())
        response.set_cookie(
            SESSION_COOKIE,
            value,
            path=path,
            max_age=max(0, min(left_s, SESSION_IDLE_S)),
            httponly=True,
            secure=secure,
            samesite="Lax",
        )

    def renew_cookie(self, response: web.StreamResponse, session: SignedIn, path: str, *, secure: bool) -> None:
        """Put into an answer that the session was used now; seldom, so that few answers carry a cookie."""
        now = int(self._clock())
        if now - session.used_s >= SESSION_RENEW_S:
            self.write_cookie(response, session._replace(used_s=now), path, secure=secure)

    def _read(self, value: str) -> SignedIn | None:
        if not 0 < len(value) <= COOKIE_CHARACTERS_MAX:
            return None
        try:
            raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
            plain = self._services.vault.secrets.cursor_key.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _BINDING)
            session = msgspec.msgpack.decode(plain, type=SignedIn)
        except (ValueError, InvalidTag, msgspec.MsgspecError):
            return None
        now = self._clock()
        if now - session.used_s > SESSION_IDLE_S or now - session.began_s > SESSION_S or session.id in self._ended:
            return None
        return session

    # ── tokens of forms ──────────────────────────────────────────────────────────────────────────────────────────

    def form_token(self, purpose: bytes, secret: bytes) -> str:
        """Give the token of a form: only who holds the secret of its cookie or session can have it."""
        return self._digest(b"form " + purpose, secret).hex()

    def fits(self, token: str, purpose: bytes, secret: bytes) -> bool:
        """Say whether a token is that of this form."""
        return hmac.compare_digest(token.encode(), self.form_token(purpose, secret).encode())

    def _digest(self, kind: bytes, value: bytes) -> bytes:
        pepper = KeyedHash(self._services.vault.secrets.credential_pepper)
        return pepper.digest(b"page %s\0%s" % (kind, value))
