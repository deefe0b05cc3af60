"""Real Apache Kafka for tests: brokers (KRaft) that a test may start, stop, kill and start again.

The jars come by Maven, once, into a cache folder ($XDG_CACHE_HOME/griffel or ~/.cache/griffel); Java 17 runs them.
`ExternalKafka` is a Kafka that already runs, named by GRIFFEL_TEST_KAFKA (host:port,…), where topics may be made and
deleted.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tests.services import ServiceFailed, ServiceMissing, free_port, tail

KAFKA = "4.1.1"
LOG4J = "2.24.3"
MAVEN_BOUND_S = 300
START_BOUND_S = 120
STOP_BOUND_S = 40
POLL_S = 0.1
HEAP = "-Xmx384m"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>griffel</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>{LOG4J}</version>
    </dependency>
  </dependencies>
</project>
"""

LOGGING = """<Configuration status="warn"><Appenders><Console name="out"><PatternLayout pattern="%d %p %c{1}: %m%n"/>
</Console></Appenders><Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""


def cache_folder() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "griffel" / f"kafka-{KAFKA}"


def what_is_missing() -> str:
    """What to type before Kafka can run here; nothing when it can."""
    missing = [] if shutil.which("java") else ["openjdk-17-jre-headless"]
    if not (cache_folder() / "complete").exists() and not shutil.which("mvn"):
        missing.append("maven")
    return f"sudo apt-get install -y {' '.join(missing)}" if missing else ""


def jars() -> Path:
    """The folder of the jars; fetched when they are not there yet. Raises ServiceMissing, ServiceFailed."""
    if missing := what_is_missing():
        raise ServiceMissing(f"Apache Kafka: type  {missing}")
    folder = cache_folder()
    if (folder / "complete").exists():
        return folder / "jars"
    folder.mkdir(parents=True, exist_ok=True)
    # Fetched beside it and put in place whole: two runs at once, or one that is interrupted, leave nothing half done.
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        fetched = Path(name)
        (fetched / "pom.xml").write_text(POM)
        said = subprocess.run(
            ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={fetched / 'jars'}"],
            cwd=fetched,
            capture_output=True,
            text=True,
            check=False,
            timeout=MAVEN_BOUND_S,
        )
        if said.returncode:
            raise ServiceFailed(f"Maven could not fetch Apache Kafka:\n{said.stdout[-2000:]}{said.stderr[-2000:]}")
        if not (folder / "complete").exists():
            shutil.rmtree(folder / "jars", ignore_errors=True)
            (fetched / "jars").rename(folder / "jars")
            (folder / "complete").touch()
    return folder / "jars"


def report() -> str:
    """One line: which Kafka tests will use, or, where it is missing, what to type."""
    if address := os.environ.get("GRIFFEL_TEST_KAFKA"):
        return f"Kafka: the one at {address}, as GRIFFEL_TEST_KAFKA says"
    if missing := what_is_missing():
        return f"Kafka: MISSING. Type: {missing}"
    how = "from the cache" if (cache_folder() / "complete").exists() else "which Maven will fetch first"
    return f"Kafka: Apache Kafka {KAFKA}, {how}"


class ExternalKafka:
    """A Kafka that somebody else runs; its brokers cannot be killed, and its topics of ours are deleted."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Leave it without our topics."""
        self.delete_topics()

    def delete_topics(self) -> None:
        """Delete every topic and consumer group of ours, as if it were new."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=START_BOUND_S * 1000)
        try:
            ours = [name for name in admin.list_topics() if name.startswith("griffel")]
            if ours:
                admin.delete_topics(ours)
            deadline = time.monotonic() + START_BOUND_S
            while set(ours) & set(admin.list_topics()):
                if time.monotonic() > deadline:
                    raise ServiceFailed("Kafka did not delete the topics")
                time.sleep(POLL_S)
        finally:
            admin.close()


class KafkaBroker:
    """One broker, which is a controller as well."""

    def __init__(self, cluster: Kafka, number: int) -> None:
        self.number = number
        self.port = free_port()
        self.controller_port = free_port()
        self.folder = cluster.folder / f"broker-{number}"
        self.logs = self.folder / "logs"
        """Where the broker keeps records: what a test may look through."""
        self.output = self.folder / "output.log"
        self._cluster = cluster
        self._process: subprocess.Popen[bytes] | None = None

    def format(self, voters: str) -> None:
        self.folder.mkdir()
        copies = min(3, len(self._cluster.brokers))
        settings = {
            "process.roles": "broker,controller",
            "node.id": self.number,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.logs,
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": 1,
            "broker.session.timeout.ms": 6000,
        }
        text = "".join([f"{name}={value}\n" for name, value in settings.items()])
        (self.folder / "server.properties").write_text(text)
        (self.folder / "log4j2.xml").write_text(LOGGING)
        said = subprocess.run(
            [*self._java(), "kafka.tools.StorageTool", "format", "-t", self._cluster.id, "-c", "server.properties"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_BOUND_S,
        )
        if said.returncode:
            raise ServiceFailed(f"Kafka's storage could not be formatted:\n{said.stdout}{said.stderr}")

    def launch(self) -> None:
        """Start, or start again, without waiting."""
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*self._java(), "kafka.Kafka", "server.properties"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL; its data stays as a crash leaves it."""
        self._end(signal.SIGKILL)

    def halt(self) -> None:
        """Stop it as an operator would, and keep its data."""
        self._end(signal.SIGTERM)

    @property
    def died(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _end(self, request: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(request)
        try:
            self._process.wait(STOP_BOUND_S)
        except subprocess.TimeoutExpired:
            # With no other controller left there is nobody to hand over to, and a broker then waits for long.
            self._process.kill()
            self._process.wait(STOP_BOUND_S)
        self._process = None

    def _java(self) -> list[str]:
        options = [HEAP, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.configurationFile=log4j2.xml"]
        return ["java", *options, "-cp", f"{self._cluster.jars}/*"]


class Kafka(ExternalKafka):
    """A throw-away cluster of one or three brokers, in a folder of its own under the temporary folder."""

    def __init__(self, brokers: int = 1) -> None:
        self.jars = jars()
        # Kafka's tools take an id that begins with a hyphen for an option.
        self.id = "k" + urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()[1:]
        self.folder = Path(tempfile.mkdtemp(prefix="griffel-kafka-"))
        self.brokers: list[KafkaBroker] = []
        self.brokers = [KafkaBroker(self, number + 1) for number in range(brokers)]
        super().__init__(",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers))

    @property
    def log_folders(self) -> list[Path]:
        """Where the brokers keep records."""
        return [broker.logs for broker in self.brokers]

    def start(self) -> None:
        """Start, or start again on the same ports and data, and return when every broker answers."""
        atexit.register(self.stop)
        voters = ",".join(f"{broker.number}@127.0.0.1:{broker.controller_port}" for broker in self.brokers)
        for broker in self.brokers:
            if not broker.folder.exists():
                broker.format(voters)
            broker.launch()
        self.wait(len(self.brokers))

    def wait(self, brokers: int) -> None:
        """Return when so many brokers are up and answer."""
        deadline = time.monotonic() + START_BOUND_S
        while time.monotonic() < deadline and not any(broker.died for broker in self.brokers):
            with contextlib.suppress(OSError, KafkaError):
                # The client is not asked before somebody listens: each of its tries that fails costs a second.
                for broker in self.brokers[:brokers]:
                    socket.create_connection(("127.0.0.1", broker.port), timeout=1).close()
                admin = KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=2000)
                try:
                    if len(admin.describe_cluster()["brokers"]) >= brokers:
                        return
                finally:
                    admin.close()
            time.sleep(POLL_S)
        logs = "".join(tail(broker.output) for broker in self.brokers)
        raise ServiceFailed(f"Kafka did not start:\n{logs}")

    def halt(self) -> None:
        """Stop every broker and keep the data, for another `start`."""
        for broker in self.brokers:
            broker.halt()

    def kill(self) -> None:
        """SIGKILL to every broker."""
        for broker in self.brokers:
            broker.kill()

    def stop(self) -> None:
        """Stop it and remove its data."""
        self.kill()
        atexit.unregister(self.stop)
        shutil.rmtree(self.folder, ignore_errors=True)


def kafka_from_environment() -> ExternalKafka:
    """The Kafka that GRIFFEL_TEST_KAFKA names, else a throw-away one with one broker; not yet started."""
    if address := os.environ.get("GRIFFEL_TEST_KAFKA"):
        return ExternalKafka(address)
    return Kafka()
