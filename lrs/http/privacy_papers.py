"""What the privacy desk gives in writing, as pages to print: certificates of erasure, receipts of consent.

A page says in the reader's language what the signed paper says; the paper itself stands below, to be kept and checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aiohttp import web

from lrs.http.pages import render_page
from lrs.privacy_desk import DONE
from lrs.purposes import Register
from schemas.consent import WITHDRAWN
from schemas.envelope import Purpose
from schemas.times import parse_timestamp

KEYS_PATH = "/privacy/keys"
_PAPER = {"keys_path": KEYS_PATH, "languages": ()}
"""What every paper is given: it is in the language of whoever asked for it, and has no address in another one."""

Json = dict[str, Any]


def certificate_page(request: web.Request, told: Json, register: Register) -> web.Response:
    """Render how an erasure stands, as the desk tells it."""
    certificate = told.get("certificate")
    content: Mapping[str, Any] = {"told": told, "is_done": told["state"] == DONE}
    if certificate is not None:
        content = {
            **content,
            "certificate": certificate,
            "requested": _moment(certificate["requested_at"]),
            "destroyed": _moment(certificate["keys_destroyed_at"]),
            "completed": _moment(certificate["completed_at"]),
            "backups_die": _moment(certificate["backups_die_at"]) if certificate["backups_die_at"] else None,
            "keys": _names(certificate["keys_destroyed"], register),
        }
    return render_page(request, "certificate.html.j2", {**content, **_PAPER})


def receipt_page(request: web.Request, told: Json, register: Register) -> web.Response:
    """Render a decision about consent, as the desk tells it."""
    record = told["record"]
    content = {
        "record": record,
        "receipt": told["receipt"],
        "withdrawn": record["state"] == WITHDRAWN,
        "said": _moment(record["event_time"]),
        "names": {one.id: one.names for one in register}[record["purpose"]],
    }
    return render_page(request, "receipt.html.j2", {**content, **_PAPER})


def _moment(instant: str) -> datetime:
    return parse_timestamp(instant, "2.0.0")


def _names(keys: Mapping[str, int], register: Register) -> list[tuple[Mapping[str, str], int]]:
    """Give the number of keys by what they were for, in words per language; without a purpose of ours, by its id."""
    named: dict[str, Mapping[str, str]] = {}
    for one in register:
        if one.key_class is not None:
            named.setdefault(Purpose(one.key_class).name.lower(), one.names)
    return [(named.get(name, {"en": name, "nl": name}), count) for name, count in keys.items()]
