"""What every key provider owes, over files, the environment, a real OpenBao and a real PKCS#11 token (SoftHSM)."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lrs.config import Settings
from lrs.errors import Busy, Damaged, GriffelError, KeysAway, Misconfigured
from lrs.key_providers import EnvironmentKey, FileKeys, KeyProvider, OpenBaoKeys, Pkcs11Keys
from lrs.places import key_provider
from tests.key_services import OpenBao, SoftHsm
from tests.secured_kafka import Certificates

KINDS = ("file", "environment", "openbao", "pkcs11")
KEY = bytes(range(32))


# What reads it has it on standard input, unwraps and wipes it, and waits to be looked at.
UNWRAPPING = """
import gc, sys
from pathlib import Path
from lrs.key_providers import EnvironmentKey, FileKeys, OpenBaoKeys, Pkcs11Keys

provider = eval(sys.stdin.readline())
key = provider.unwrap(1, bytes.fromhex(sys.stdin.readline()))
key[:] = bytes(len(key))
del key
gc.collect()
print("wiped", flush=True)
sys.stdin.readline()
"""


@dataclass
class Holder:
    """One provider's side of the contract."""

    expression: str
    """What another process makes one of."""
    another: Callable[[], KeyProvider]
    """An instance for another installation, whose roots lie at the same service."""
    away: Callable[[], AbstractContextManager[Any]] | None = None
    not_let_in: Callable[[], KeyProvider] | None = None
    secret: str = ""
    """What `not_let_in` gives instead of token or PIN."""

    def make(self) -> KeyProvider:
        """Another instance over the same roots."""
        return eval(self.expression)  # noqa: S307  our own words, from the fixture


def prefixes() -> tuple[str, str]:
    return f"g{secrets.token_hex(6)}", f"h{secrets.token_hex(6)}"


@pytest.fixture(params=KINDS)
def holder(request: pytest.FixtureRequest, tmp_path: Path) -> Holder:
    own, others = prefixes()
    if request.param == "file":
        return Holder(f"FileKeys(Path({str(tmp_path)!r}) / 'keys')", lambda: FileKeys(tmp_path / "others"))
    if request.param == "environment":
        one, other = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
        return Holder(f"EnvironmentKey({one!r})", lambda: EnvironmentKey(other))
    if request.param == "openbao":
        openbao: OpenBao = request.getfixturevalue("openbao")
        token, other = openbao.token(own), openbao.token(others)
        return Holder(
            f"OpenBaoKeys({openbao.url!r}, {token!r}, prefix={own!r})",
            lambda: OpenBaoKeys(openbao.url, other, prefix=others),
            away=openbao.halted,
            not_let_in=lambda: OpenBaoKeys(openbao.url, "canary-of-a-token", prefix=own),
            secret="canary-of-a-token",
        )
    softhsm: SoftHsm = request.getfixturevalue("softhsm")
    return Holder(
        f"Pkcs11Keys(Path({str(softhsm.module)!r}), 'griffel', {softhsm.pin!r}, {own!r})",
        lambda: Pkcs11Keys(softhsm.module, "griffel", softhsm.pin, others),
        away=softhsm.unplugged,
        not_let_in=lambda: Pkcs11Keys(softhsm.module, "griffel", "9182-canary", own),
        secret="9182-canary",
    )


# ── the contract ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_wrapped_is_unwrapped_also_by_the_next_process(holder: Holder) -> None:
    wrapped = holder.make().wrap(1, bytearray(KEY))
    assert KEY not in wrapped
    assert base64.b64encode(KEY) not in wrapped
    for provider in (holder.make(), holder.make()):
        key = provider.unwrap(1, wrapped)
        assert isinstance(key, bytearray), "whoever used it wipes it"
        assert key == KEY


def test_each_wrapping_is_another_under_the_same_root(holder: Holder) -> None:
    provider = holder.make()
    first, second = provider.wrap(1, KEY), provider.wrap(1, KEY)
    assert first != second
    assert provider.unwrap(1, first) == provider.unwrap(1, second) == KEY


def test_a_key_of_another_epoch_does_not_fit(holder: Holder) -> None:
    provider = holder.make()
    wrapped = [provider.wrap(1, KEY), provider.wrap(2, KEY)]
    for epoch in (1, 2):
        with pytest.raises(Damaged, match="does not fit"):
            provider.unwrap(epoch, wrapped[2 - epoch])
        assert provider.unwrap(epoch, wrapped[epoch - 1]) == KEY


def test_a_key_of_another_installation_does_not_fit(holder: Holder) -> None:
    wrapped, other = holder.make().wrap(1, KEY), holder.another()
    other.wrap(1, KEY)
    with pytest.raises(Damaged, match="does not fit"):
        other.unwrap(1, wrapped)


def test_whatever_byte_is_damaged_it_is_noticed(holder: Holder) -> None:
    provider = holder.make()
    wrapped = provider.wrap(1, KEY)
    altered = [wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :] for at in range(0, len(wrapped), 5)]
    for one in [*altered, wrapped[:-1], wrapped + b"\0", wrapped[:20], wrapped[:1], b"", b"\xff" * 90]:
        with pytest.raises(Damaged):
            provider.unwrap(1, one)
    assert provider.unwrap(1, wrapped) == KEY


def test_a_destroyed_root_is_gone_and_the_others_stay(holder: Holder) -> None:
    provider = holder.make()
    first, second, others = provider.wrap(1, KEY), provider.wrap(2, KEY), holder.another().wrap(1, KEY)
    provider.destroy(1)
    provider.destroy(1)
    holder.make().destroy(1)
    provider.destroy(77)
    if provider.can_destroy:
        for one in (provider, holder.make()):
            with pytest.raises(Misconfigured, match="missing"):
                one.unwrap(1, first)
        provider.wrap(1, KEY)
        with pytest.raises(Damaged):
            provider.unwrap(1, first)
    else:
        assert provider.unwrap(1, first) == KEY
    assert provider.unwrap(2, second) == KEY
    assert holder.another().unwrap(1, others) == KEY


@pytest.mark.parametrize("holder", ["file", "openbao", "pkcs11"], indirect=True)
def test_a_root_that_never_was_is_missing(holder: Holder) -> None:
    wrapped = holder.make().wrap(1, KEY)
    provider = holder.make()
    with pytest.raises(Misconfigured, match="missing"):
        provider.unwrap(9, wrapped)


def test_servers_that_start_at_once_can_read_what_any_of_them_wrapped(holder: Holder) -> None:
    with ThreadPoolExecutor(4) as threads:
        wrapped = list(threads.map(lambda _: holder.make().wrap(1, KEY), range(4)))
    assert [holder.make().unwrap(1, one) for one in wrapped] == [KEY] * 4


@pytest.mark.parametrize("holder", ["openbao", "pkcs11"], indirect=True)
def test_a_provider_that_is_away_is_busy_and_works_again_once_it_is_back(holder: Holder) -> None:
    assert holder.away is not None
    provider = holder.make()
    wrapped = provider.wrap(1, KEY)
    with holder.away():
        for one in (provider, holder.make()):
            for ask in (lambda: one.unwrap(1, wrapped), lambda: one.wrap(1, KEY), lambda: one.destroy(1)):  # noqa: B023
                with pytest.raises(KeysAway) as busy:
                    ask()
                assert isinstance(busy.value, Busy)
    assert provider.unwrap(1, wrapped) == KEY


@pytest.mark.parametrize("holder", ["openbao", "pkcs11"], indirect=True)
def test_whoever_is_not_let_in_is_told_so_without_the_secret(holder: Holder) -> None:
    assert holder.not_let_in is not None
    wrapped = holder.make().wrap(1, KEY)
    provider = holder.not_let_in()
    for ask in (lambda: provider.unwrap(1, wrapped), lambda: provider.wrap(1, KEY), lambda: provider.destroy(1)):
        with pytest.raises(Misconfigured, match="GRIFFEL_") as refused:
            ask()
        told = [str(refused.value), repr(refused.value), repr(provider)]
        cause = refused.value.__cause__
        while cause is not None:
            told.append(repr(cause))
            cause = cause.__cause__
        assert not [one for one in told if holder.secret in one]
    assert holder.make().unwrap(1, wrapped) == KEY


def memory_of(process: int) -> bytes:
    """Give what a process has in memory that it may write to."""
    parts = []
    with Path(f"/proc/{process}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            begins, ends = (int(one, 16) for one in line.split()[0].split("-"))
            with contextlib.suppress(OSError):  # some mappings are the kernel's own
                if "rw" in line.split()[1]:
                    memory.seek(begins)
                    parts.append(memory.read(ends - begins))
    return b"".join(parts)


@pytest.mark.skipif(sys.platform != "linux", reason="another process's memory is read as Linux shows it")
def test_a_key_that_was_wiped_is_nowhere_in_memory(holder: Holder) -> None:
    key = os.urandom(32)
    wrapped = holder.make().wrap(1, key)
    process = subprocess.Popen(
        [sys.executable, "-c", UNWRAPPING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process, process.stdin:
        process.stdin.write(f"{holder.expression}\n{wrapped.hex()}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "wiped\n"
        memory = memory_of(process.pid)
    assert b"FileKeys" in memory, "nothing was read"
    assert [form for form in (key, base64.b64encode(key), key.hex().encode()) if form in memory] == []


# ── OpenBao ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_in_openbao_cannot_be_taken_out_of_it(openbao: OpenBao) -> None:
    prefix, _ = prefixes()
    OpenBaoKeys(openbao.url, openbao.token(prefix), prefix=prefix).wrap(1, KEY)
    name = f"{prefix}-epoch-1"
    made = openbao.ask("GET", f"transit/keys/{name}")["data"]
    assert (made["type"], made["exportable"], made["allow_plaintext_backup"]) == ("aes256-gcm96", False, False)
    assert openbao.status("GET", f"transit/export/encryption-key/{name}") == 400
    assert openbao.status("GET", f"transit/backup/{name}") >= 400


def test_a_key_in_openbao_that_can_be_exported_is_refused(openbao: OpenBao) -> None:
    prefix, _ = prefixes()
    openbao.ask("POST", f"transit/keys/{prefix}-epoch-1", {"exportable": True})
    with pytest.raises(Misconfigured, match="exported"):
        OpenBaoKeys(openbao.url, openbao.root, prefix=prefix).wrap(1, KEY)


def test_a_policy_that_lacks_a_line_is_named_with_the_line(openbao: OpenBao) -> None:
    prefix, _ = prefixes()
    openbao.ask(
        "PUT", f"sys/policies/acl/{prefix}", {"policy": f'path "transit/keys/{prefix}-*" {{ policy = "read" }}'}
    )
    token = openbao.ask("POST", "auth/token/create", {"policies": [prefix]})["auth"]["client_token"]
    with pytest.raises(Misconfigured) as refused:
        OpenBaoKeys(openbao.url, token, prefix=prefix).wrap(1, KEY)
    assert f'path "transit/encrypt/{prefix}-epoch-*" {{ capabilities = ["update"] }}' in refused.value.detail
    assert token not in refused.value.detail


def test_no_engine_is_no_proof_that_a_key_was_destroyed(openbao: OpenBao) -> None:
    provider = OpenBaoKeys(openbao.url, openbao.root, mount="elsewhere")
    for ask in (lambda: provider.destroy(1), lambda: provider.wrap(1, KEY), lambda: provider.unwrap(1, b"\0\0")):
        with pytest.raises(Misconfigured, match="bao secrets enable -path=elsewhere transit"):
            ask()


def test_a_soft_deleted_key_in_openbao_is_called_so(openbao: OpenBao) -> None:
    prefix, _ = prefixes()
    provider = OpenBaoKeys(openbao.url, openbao.root, prefix=prefix)
    wrapped = provider.wrap(1, KEY)
    openbao.ask("DELETE", f"transit/keys/{prefix}-epoch-1/soft-delete")
    with pytest.raises(Misconfigured, match="soft-deleted"):
        provider.unwrap(1, wrapped)
    provider.destroy(1)
    with pytest.raises(Misconfigured, match="missing"):
        provider.unwrap(1, wrapped)


def test_a_sealed_openbao_is_away(openbao: OpenBao) -> None:
    provider = OpenBaoKeys(openbao.url, openbao.root, prefix=prefixes()[0])
    wrapped = provider.wrap(1, KEY)
    with openbao.sealed(), pytest.raises(KeysAway, match="sealed"):
        provider.unwrap(1, wrapped)
    assert provider.unwrap(1, wrapped) == KEY


def test_a_token_in_a_file_is_read_each_time(openbao: OpenBao, tmp_path: Path) -> None:
    prefix, _ = prefixes()
    file = tmp_path / "token"
    provider = OpenBaoKeys(openbao.url, file, prefix=prefix)
    with pytest.raises(Misconfigured, match="GRIFFEL_OPENBAO_TOKEN_FILE"):
        provider.wrap(1, KEY)
    file.write_text("run-out\n")
    with pytest.raises(Misconfigured, match="denies"):
        provider.wrap(1, KEY)
    file.write_text(openbao.token(prefix) + "\n")
    assert provider.unwrap(1, provider.wrap(1, KEY)) == KEY


def test_openbao_is_spoken_to_by_tls_and_only_where_its_certificate_fits(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    openbao = OpenBao(tls=(certificates.server, certificates.server))
    openbao.start()
    try:
        provider = OpenBaoKeys(openbao.url, openbao.root, ca_file=certificates.authority)
        assert provider.unwrap(1, provider.wrap(1, KEY)) == KEY
        assert provider._tls is not None
        provider._tls.verify_flags |= ssl.VERIFY_X509_STRICT  # as newer Pythons do by themselves
        assert provider.unwrap(1, provider.wrap(1, KEY)) == KEY
        with pytest.raises(Misconfigured, match="GRIFFEL_OPENBAO_CA_FILE"):
            OpenBaoKeys(openbao.url, openbao.root).wrap(1, KEY)
        with pytest.raises(Misconfigured, match="GRIFFEL_OPENBAO_CA_FILE"):
            OpenBaoKeys(openbao.url, openbao.root, ca_file=tmp_path / "no such file")
    finally:
        openbao.stop()


@pytest.mark.parametrize(
    "url",
    ["", "bao", "ftp://bao", "https://", "https://bao:port", "http://bao.internal:8200", "https://me:canary@bao"],
)
def test_an_address_that_cannot_be_openbaos_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="GRIFFEL_OPENBAO_URL") as refused:
        OpenBaoKeys(url, "token")
    assert "canary" not in refused.value.detail


@pytest.mark.parametrize("token", ["two\r\nlines", "é"])
def test_a_token_that_is_none_is_refused_before_it_is_sent(token: str) -> None:
    with pytest.raises(Misconfigured, match="GRIFFEL_OPENBAO_TOKEN") as refused:
        OpenBaoKeys("http://127.0.0.1:1", token).wrap(1, KEY)
    assert token not in refused.value.detail


# ── PKCS#11 ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def logged_in(softhsm: SoftHsm) -> Iterator[Any]:
    pkcs11 = pytest.importorskip("pkcs11")
    with (
        pkcs11.lib(str(softhsm.module)).get_token(token_label="griffel").open(rw=True, user_pin=softhsm.pin) as session
    ):
        yield session


def test_a_key_on_a_token_cannot_be_taken_off_it(softhsm: SoftHsm) -> None:
    pkcs11 = pytest.importorskip("pkcs11")
    prefix, _ = prefixes()
    Pkcs11Keys(softhsm.module, "griffel", softhsm.pin, prefix).wrap(3, KEY)
    with logged_in(softhsm) as session:
        (key,) = session.get_objects({pkcs11.Attribute.LABEL: f"{prefix}-epoch-3"})
        names = ("TOKEN", "PRIVATE", "SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE")
        assert [name for name in names if not key[pkcs11.Attribute[name]]] == []
        assert not key[pkcs11.Attribute.EXTRACTABLE]
        assert key.key_length == 256
        with pytest.raises(pkcs11.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]


def test_a_key_on_a_token_that_can_leave_it_is_refused(softhsm: SoftHsm) -> None:
    pkcs11 = pytest.importorskip("pkcs11")
    prefix, _ = prefixes()
    with logged_in(softhsm) as session:
        template = {pkcs11.Attribute.EXTRACTABLE: True}
        session.generate_key(pkcs11.KeyType.AES, 256, label=f"{prefix}-epoch-1", store=True, template=template)
    with pytest.raises(Misconfigured, match="can leave"):
        Pkcs11Keys(softhsm.module, "griffel", softhsm.pin, prefix).wrap(1, KEY)


def test_two_keys_of_one_label_are_told_apart_and_destroyed_together(softhsm: SoftHsm) -> None:
    pkcs11 = pytest.importorskip("pkcs11")
    prefix, _ = prefixes()
    provider = Pkcs11Keys(softhsm.module, "griffel", softhsm.pin, prefix)
    wrapped = provider.wrap(1, KEY)
    for number in (0, 255):
        with logged_in(softhsm) as session:
            session.generate_key(
                pkcs11.KeyType.AES, 256, id=bytes([number]) * 16, label=f"{prefix}-epoch-1", store=True
            )
        assert provider.unwrap(1, wrapped) == KEY
    provider.destroy(1)
    with logged_in(softhsm) as session:
        assert list(session.get_objects({pkcs11.Attribute.LABEL: f"{prefix}-epoch-1"})) == []


def test_a_pin_in_a_file_is_taken(softhsm: SoftHsm, tmp_path: Path) -> None:
    prefix, _ = prefixes()
    (tmp_path / "pin").write_text(softhsm.pin + "\n")
    provider = Pkcs11Keys(softhsm.module, "griffel", tmp_path / "pin", prefix)
    assert provider.unwrap(1, provider.wrap(1, KEY)) == KEY


def test_a_library_that_is_none_and_a_label_that_no_token_has_are_named(softhsm: SoftHsm, tmp_path: Path) -> None:
    no_library = tmp_path / "library.so"
    with pytest.raises(Misconfigured, match="GRIFFEL_PKCS11_MODULE names a file that is not there"):
        Pkcs11Keys(no_library, "griffel", "1234").wrap(1, KEY)
    no_library.write_text("no library")
    with pytest.raises(Misconfigured, match="GRIFFEL_PKCS11_MODULE is not"):
        Pkcs11Keys(no_library, "griffel", "1234").wrap(1, KEY)
    with pytest.raises(KeysAway, match="GRIFFEL_PKCS11_TOKEN"):
        Pkcs11Keys(softhsm.module, "unheard of", softhsm.pin).wrap(1, KEY)


# ── which provider ────────────────────────────────────────────────────────────────────────────────────────────────────

MASTER_KEY = base64.b64encode(KEY).decode()
BAO = {"key_provider": "openbao", "openbao_url": "https://bao.internal", "openbao_token": "canary"}
HSM = {"key_provider": "pkcs11", "pkcs11_module": Path("/x.so"), "pkcs11_token": "griffel", "pkcs11_pin": "canary"}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "file"),
        ({"master_key": MASTER_KEY}, "environment"),
        ({"key_provider": "file"}, "file"),
        ({"key_provider": "environment", "master_key": MASTER_KEY}, "environment"),
        (BAO, "openbao"),
        (HSM, "pkcs11"),
    ],
)
def test_the_settings_choose_the_provider(given: dict[str, Any], name: str) -> None:
    assert key_provider(Settings(**given)).name == name


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"openbao_url": "https://bao.internal"}, "GRIFFEL_KEY_PROVIDER=openbao"),
        ({"pkcs11_module": Path("/x.so")}, "GRIFFEL_KEY_PROVIDER=pkcs11"),
        ({"key_provider": "file", "master_key": MASTER_KEY}, "GRIFFEL_KEY_PROVIDER=environment"),
        ({**BAO, "master_key": MASTER_KEY}, "GRIFFEL_MASTER_KEY is set"),
        ({"key_provider": "environment"}, "GRIFFEL_MASTER_KEY"),
        ({**BAO, "openbao_url": ""}, "GRIFFEL_OPENBAO_URL"),
        ({**BAO, "openbao_token": ""}, "GRIFFEL_OPENBAO_TOKEN_FILE"),
        ({**BAO, "openbao_token_file": Path("/token")}, "GRIFFEL_OPENBAO_TOKEN_FILE"),
        ({**BAO, "openbao_mount": "a//b"}, "GRIFFEL_OPENBAO_MOUNT"),
        ({**BAO, "keys_prefix": "a/b"}, "GRIFFEL_KEYS_PREFIX"),
        ({**HSM, "keys_prefix": ""}, "GRIFFEL_KEYS_PREFIX"),
        ({**HSM, "pkcs11_module": None}, "GRIFFEL_PKCS11_MODULE"),
        ({**HSM, "pkcs11_token": ""}, "GRIFFEL_PKCS11_TOKEN"),
        ({**HSM, "pkcs11_pin": ""}, "GRIFFEL_PKCS11_PIN_FILE"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_with_the_mend(given: dict[str, Any], named: str) -> None:
    with pytest.raises(GriffelError) as refused:
        key_provider(Settings(**given))
    assert named in refused.value.detail
    assert "canary" not in refused.value.detail


def test_without_its_library_a_token_is_refused_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pkcs11", None)
    with pytest.raises(Misconfigured, match=r"pip install 'griffel\[pkcs11\]'"):
        key_provider(Settings(**HSM))
