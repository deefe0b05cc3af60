"""What all tests share: the running services, the two modes, and what stops a test that blocks or lasts too long."""

from __future__ import annotations

import importlib
import inspect
import os
import secrets
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import sync_playwright

from tests import kafka_services, key_services, services
from tests.kafka_services import ExternalKafka, Kafka
from tests.key_services import OpenBao, SoftHsm
from tests.services import Griffel, Mode, Postgres, PostgresDatabases, ServiceMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

MODES: tuple[Mode, ...] = ("embedded", "cluster")
BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
UNIT_TESTS = Path(__file__).parent / "unit"
PACKAGES = ("lrs", "consumers", "projections", "schemas")


# How long anything takes says how busy the machine is, not what the program does.
settings.register_profile("griffel", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("griffel")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mode", choices=[*MODES, "both"], default="both", help="run server tests in one mode only")


def pytest_configure() -> None:
    # Whoever ends a run that hangs sends SIGTERM; the services that the run started must end with it.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended by SIGTERM", returncode=128 + signal.SIGTERM))


def pytest_report_header() -> list[str]:
    missing = "a failure (CI=true)" if in_ci() else "skipped"
    lines = [*services.report(), kafka_services.report(), *key_services.report()]
    return [f"services (what is missing is {missing}):", *(f"  {line}" for line in lines)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "mode" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--mode")
        marked = metafunc.definition.get_closest_marker("before_storage")
        modes = (MODES[:1] if marked else MODES) if chosen == "both" else (chosen,)
        metafunc.parametrize("mode", modes, indirect=True, scope="session")


def in_ci() -> bool:
    return os.environ.get("CI") == "true"


def without(reason: object) -> NoReturn:
    """A test cannot run because a service is missing: a failure where everything must run, elsewhere skipped, aloud."""
    if in_ci():
        pytest.fail(f"missing: {reason}", pytrace=False)
    pytest.skip(f"missing: {reason}")


@pytest.fixture(scope="session")
def mode(request: pytest.FixtureRequest) -> Mode:
    """Each of the modes that --mode allows, one after the other."""
    return request.param


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresDatabases]:
    """One PostgreSQL for the whole run; leave it running."""
    try:
        server = services.postgres_from_environment()
    except ServiceMissing as reason:
        without(reason)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL for one test alone, which may kill it."""
    try:
        server = Postgres()
    except ServiceMissing as reason:
        without(reason)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_kafka() -> Iterator[ExternalKafka]:
    """One Kafka for the whole run; leave it running."""
    try:
        server = kafka_services.kafka_from_environment()
    except ServiceMissing as reason:
        without(reason)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def kafka(shared_kafka: ExternalKafka) -> ExternalKafka:
    """That Kafka without any topic of ours."""
    shared_kafka.delete_topics()
    return shared_kafka


@pytest.fixture
def own_kafka(request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """A Kafka for one test alone, which may kill it; parametrize it indirectly with a number of brokers, else one."""
    try:
        server = Kafka(getattr(request, "param", 1))
    except ServiceMissing as reason:
        without(reason)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def openbao() -> Iterator[OpenBao]:
    """One OpenBao for the whole run, with a transit engine; whoever halts or seals it starts it again."""
    try:
        server = OpenBao()
    except ServiceMissing as reason:
        without(reason)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def softhsm() -> Iterator[SoftHsm]:
    """SoftHSM with one token, `griffel`: this process finds it too, from its first look on."""
    try:
        hsm = SoftHsm()
    except ServiceMissing as reason:
        without(reason)
    hsm.add_token("griffel")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in hsm.environment.items():
            patch.setenv(name, value)
        yield hsm
    hsm.stop()


@pytest.fixture
def postgres_url(postgres: PostgresDatabases) -> Iterator[Callable[[], str]]:
    """Makes an empty database for one test at each call, and gives its address."""
    made: list[str] = []

    def make() -> str:
        made.append(f"griffel_test_{secrets.token_hex(6)}")
        return postgres.create_database(made[-1])

    yield make
    for name in made:
        postgres.drop_database(name)


@pytest.fixture(scope="session")
def make_lrs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Griffel]]:
    """Makes servers, not yet started: `make_lrs(mode, settings={…}, arguments=[…], database_url=…, keys_url=…)`.

    In cluster mode, with no addresses given, each has two new databases. All are stopped when the run ends; a test that
    makes one for itself stops it before.
    """
    made: list[Griffel] = []

    def make(mode: Mode = "embedded", **arguments: object) -> Griffel:
        if mode == "cluster" and "database_url" not in arguments:
            postgres: PostgresDatabases = request.getfixturevalue("postgres")
            name = f"griffel_test_{secrets.token_hex(6)}"
            arguments |= {
                "database_url": postgres.create_database(f"{name}_events"),
                "keys_url": postgres.create_database(f"{name}_keys"),
            }
        server = Griffel(tmp_path_factory.mktemp("griffel"), mode, **arguments)
        made.append(server)
        return server

    yield make
    for server in made:
        server.kill()


@pytest.fixture(scope="session")
def lrs(mode: Mode, make_lrs: Callable[..., Griffel]) -> Iterator[Griffel]:
    """One running server for each mode, shared by all tests that only add to it, with a credential for everything."""
    with services.running(make_lrs(mode)) as server:
        yield server


@pytest.fixture
def fresh_lrs(mode: Mode, make_lrs: Callable[..., Griffel]) -> Iterator[Griffel]:
    """A running, empty server for one test alone, in each mode; the test may kill it and start it again."""
    with services.running(make_lrs(mode)) as server:
        yield server


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    return services.find_chromium() or without("Chromium: type  sudo apt-get install -y chromium")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser for a module's tests; each opens contexts of its own."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=BROWSER_ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def javascript_client() -> tuple[str, Path]:
    """The path of Node.js and the folder whose node_modules has @xapi/xapi."""
    found = services.find_javascript_client()
    return found or without("@xapi/xapi: type  npm install --prefix tests/integration/js")


@pytest.fixture(autouse=True)
def _nothing_blocks_the_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """In unit tests of async code, a blocking call from Griffel's own modules raises.

    Only there: tests with real services wait for processes in the same thread, which is blocking and right.
    """
    is_unit = UNIT_TESTS in request.path.parents
    if not (is_unit and inspect.iscoroutinefunction(getattr(request, "function", None))):
        yield
        return
    blockbuster = importlib.import_module("blockbuster")
    with blockbuster.blockbuster_ctx(list(PACKAGES)):
        yield
