"""Suppression: for some time after an erasure, the identifiers that led to somebody lead to nobody.

Otherwise content that posts late, or a client that repeats, would begin a new history of someone who has just been
forgotten. What is kept for it is a keyed hash of each identifier, under a pepper of the month in which it ends; with
the pepper the hashes become noise. Whoever comes back after that begins anew.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable

from lrs.blinding import KeyedHash
from lrs.vault_store import VaultStore
from schemas.people import sha1sum_identifier

SUPPRESSED_DAYS = 90
"""Longer than content and Kafka's clients repeat what was not acknowledged."""
PEPPER_BYTES = 32
_NAME = "suppression_pepper "

Unwrap = Callable[[bytes, bytes], bytes | bytearray]
Wrap = Callable[[bytes, bytes], bytes]


def suppression_peppers(store: VaultStore, unwrap: Unwrap) -> dict[int, bytes]:
    """Give the pepper of each month (year × 12 + month) in which something is suppressed."""
    return {
        int(name.removeprefix(_NAME)): bytes(unwrap(b"secret " + name.encode(), wrapped))
        for name, _, wrapped in store.rows("secrets_like", _NAME + "%")
    }


def suppressed_among(store: VaultStore, identifiers: Iterable[str], now_us: int, unwrap: Unwrap) -> set[str]:
    """Give those that lead to someone who was erased not long ago, by any of their forms."""
    peppers = suppression_peppers(store, unwrap).values()
    blinds: dict[bytes, str] = {}
    for identifier in identifiers:
        for form in (identifier, sha1sum_identifier(identifier)):
            if form is not None:
                blinds |= {KeyedHash(pepper).digest(form.encode()): identifier for pepper in peppers}
    return {blinds[bytes(blind)] for (blind,) in store.rows("suppressed", now_us, among=list(blinds))}


def suppress(
    store: VaultStore, identifiers: Iterable[str], until_us: int, epoch: int, wrap: Wrap, unwrap: Unwrap
) -> None:
    """Have identifiers lead to nobody until a time (µs); within the caller's transaction."""
    bucket = _bucket(until_us)
    name = f"{_NAME}{bucket}"
    if bucket not in suppression_peppers(store, unwrap):
        store.run("insert_secret", name, epoch, wrap(b"secret " + name.encode(), os.urandom(PEPPER_BYTES)))
    digest = KeyedHash(suppression_peppers(store, unwrap)[bucket]).digest
    store.run_many("suppress", [(digest(one.encode()), bucket, until_us) for one in identifiers])


def end_suppression(store: VaultStore, now_us: int) -> int:
    """Delete what is no longer suppressed, and the peppers of months that are over; give how many identifiers."""
    this_month = _bucket(now_us)
    ended = store.run("end_suppression", now_us)
    for name, _, _ in store.rows("secrets_like", _NAME + "%"):
        if int(name.removeprefix(_NAME)) < this_month:
            store.run("delete_secret", name)
    return ended


def _bucket(us: int) -> int:
    moment = datetime.datetime.fromtimestamp(us / 1_000_000, datetime.UTC)
    return moment.year * 12 + moment.month - 1
