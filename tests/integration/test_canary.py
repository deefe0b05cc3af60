"""No value that was sent lies on any disk in plain form, and no refusal repeats one (tests/canary.py is the search).

One conversation is held with a server in each mode: everything xAPI lets a client say, with a canary in every place
that could be a person's, and everything it refuses. PostgreSQL is told to log every statement with its parameters.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import secrets
import sqlite3
import sys
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from tests.acceptance.cluster import PARTITIONS, await_view, command
from tests.canary import Canary, Hit, digests_of, files_under, forms_of, open_files, summary
from tests.canary_conversation import NOT_STORED, Answer, Conversation, Json, Speaker, Words
from tests.canary_refusals import BODY_BYTES_MAX, STATEMENTS_MAX, Refusals
from tests.conftest import without
from tests.copied_log import records, wait_until
from tests.integration.privacy_desk import begin_erasure, certificate_of
from tests.integration.privacy_desk import place as where
from tests.kafka_services import Kafka
from tests.sealed_copies import (
    Copies,
    blobs_of_folder,
    blobs_of_table,
    keys_left,
    open_all,
    roots_of,
    rows_of,
    rows_of_backup,
)
from tests.services import Griffel, Mode, Postgres, ServiceMissing

# ── the harness finds what it says it finds ───────────────────────────────────────────────────────────────────────────


def planted() -> list[tuple[str, Callable[[str], bytes]]]:
    """Ways in which a value may come to lie in a file, by name."""

    def in_base64(text: str, before: int, encode: Callable[[bytes], bytes]) -> bytes:
        return encode(b"\xfe" * before + text.encode() + b"\xff\xfe\xfd")

    ways: list[tuple[str, Callable[[str], bytes]]] = [
        ("raw", str.encode),
        ("upper", lambda text: text.upper().encode()),
        ("hex", lambda text: text.encode().hex().encode()),
        ("upper hex", lambda text: text.encode().hex().upper().encode()),
        ("percent-encoded", lambda text: "".join(f"%{one:02x}" for one in text.encode()).encode()),
        ("JSON-escaped", lambda text: "".join(f"\\u{ord(one):04x}" for one in text).encode()),
        ("UTF-16", lambda text: text.encode("utf-16")),
        ("UTF-16 big-endian", lambda text: text.encode("utf-16-be")),
        ("gzip", lambda text: gzip.compress(b"around " + text.encode() * 3)),
        ("zlib", lambda text: zlib.compress(b"around " + text.encode() * 3)),
        ("gzip in zlib", lambda text: zlib.compress(gzip.compress(text.encode()))),
        ("base64 in gzip", lambda text: gzip.compress(base64.b64encode(b"a" + text.encode()))),
    ]
    for before in range(3):
        ways.append((f"base64 at {before}", lambda text, at=before: in_base64(text, at, base64.b64encode)))
        ways.append((f"base64url at {before}", lambda text, at=before: in_base64(text, at, base64.urlsafe_b64encode)))
    for name in ("md5", "sha1", "sha256", "sha512"):
        hashed = lambda text, by=name: hashlib.new(by, text.encode(), usedforsecurity=False)  # noqa: E731
        ways.append((name, lambda text, of=hashed: of(text).digest()))
        ways.append((f"{name} in hex", lambda text, of=hashed: of(text).hexdigest().encode()))
        ways.append((f"{name} in base64", lambda text, of=hashed: base64.b64encode(b"n" + of(text).digest())))
        ways.append((f"{name} cut off", lambda text, of=hashed: of(text).digest()[:8]))
        ways.append((f"{name} as a number", lambda text, of=hashed: of(text).digest()[:8][::-1]))
    return ways


@pytest.mark.parametrize(("name", "write"), [pytest.param(*way, id=way[0]) for way in planted()])
def test_a_planted_canary_is_found_in_each_encoding(name, write, tmp_path):
    canary = Canary()
    word = canary.word("planted")
    canary.word("elsewhere")
    for place, distance in enumerate((0, 1, 5, (1 << 20) - 3, (1 << 20) - 8, (1 << 20) + 1)):
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / "file").write_bytes(secrets.token_bytes(distance) + write(word) + secrets.token_bytes(9))
        found = canary.scan(folder)
        assert {hit.position for hit in found} == {"planted"}, distance
        assert all(hit.where == str(folder / "file") for hit in found)


def test_each_kind_of_canary_is_found_by_each_of_its_forms():
    canary = Canary()
    canary.account("account")
    values = [canary.mbox("mbox"), canary.sha1sum("sha1sum"), canary.iri("iri"), canary.text("text")]
    values += [canary.uuid("uuid"), str(canary.number("number"))]
    for position in canary.values:
        for name, form in forms_of(canary.values[position]):
            assert position in {hit.position for hit in canary.find(b"[" + form + b"]")}, name
    for position, whole in (("mbox", values[0]), ("iri", values[2]), ("text", values[3]), ("uuid", values[4])):
        for name, form in digests_of(whole.encode()):
            assert position in {hit.position for hit in canary.find(b"[" + form + b"]")}, name
    assert {hit.position for hit in canary.find(uuid.UUID(values[4]).bytes)} == {"uuid"}


def test_a_canary_is_found_in_names_of_files_and_in_deleted_ones(tmp_path):
    canary = Canary()
    word = canary.word("planted")
    (tmp_path / f"of-{word}.txt").touch()
    assert {hit.where for hit in canary.scan(tmp_path)} == {f"the name of {tmp_path / f'of-{word}.txt'}"}
    if sys.platform == "linux":
        with (tmp_path / "temporary").open("w+b") as file:
            file.write(word.encode())
            file.flush()
            (tmp_path / "temporary").unlink()
            assert {hit.position for hit in canary.scan_open_files([os.getpid()])} == {"planted"}


def test_a_canary_is_found_in_rows_and_files_of_sqlite(tmp_path):
    canary = Canary()
    word = canary.word("planted")
    with closing(sqlite3.connect(tmp_path / "planted.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE kept (content BLOB)")
        connection.execute("INSERT INTO kept VALUES (?)", (secrets.token_bytes(4090) + word.encode(),))
        connection.commit()
        assert {Path(hit.where).name for hit in canary.scan(tmp_path)} <= {"planted.db-wal"}
        assert {hit.position for hit in canary.scan_sqlite(tmp_path / "planted.db")} == {"planted"}


def test_a_canary_is_found_in_rows_files_and_log_of_postgresql(logging_postgres):
    canary = Canary()
    word = canary.word("planted")
    url = logging_postgres.create_database(f"griffel_planted_{secrets.token_hex(4)}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (content TEXT)")
        connection.execute("INSERT INTO kept VALUES (%s)", [word * 1000])
        connection.execute("INSERT INTO kept VALUES (%s)", [word])
    checkpoint(logging_postgres)
    places = {hit.where for hit in canary.scan(logging_postgres.folder)}
    for part in ("/base/", "/pg_wal/", "postgres.log"):
        assert [place for place in places if part in place], part
    assert {hit.where for hit in canary.scan_postgres(url)} == {"kept in PostgreSQL"}


def test_nothing_is_found_where_nothing_is(tmp_path):
    canary = Canary()
    canary.mbox("mbox")
    canary.account("account")
    (tmp_path / "random").write_bytes(secrets.token_bytes(4 << 20))
    (tmp_path / "empty").touch()
    (tmp_path / "zeros").write_bytes(bytes(3 << 20))
    assert canary.scan(tmp_path) == set()


# ── where it is said ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Place:
    """One installation, everything it writes, and the conversation that was held with it."""

    server: Griffel
    canary: Canary
    conversation: Conversation
    postgres: Postgres | None

    @property
    def speaker(self) -> Speaker:
        return self.conversation.speaker

    @property
    def roots(self) -> list[Path]:
        return [self.server.folder, *([self.postgres.folder] if self.postgres else [])]

    def pids(self) -> list[int]:
        """The server's processes and, on Linux, their children."""
        assert self.server.process is not None
        found, waiting = [], [self.server.process.pid]
        while waiting:
            found.append(pid := waiting.pop())
            waiting += [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found

    def everything(self) -> set[Hit]:
        """What a search of all files, and of all rows of all databases, finds."""
        if self.postgres is not None:
            checkpoint(self.postgres)
        hits = self.canary.scan(*self.roots)
        hits |= self.canary.scan_sqlite(*[path for path in files_under(self.server.folder) if path.suffix == ".db"])
        if self.postgres is not None:
            hits |= self.canary.scan_postgres(self.server.database_url, self.server.keys_url)
        return hits


def checkpoint(postgres: Postgres) -> None:
    """Bring everything from PostgreSQL's memory to its files."""
    with psycopg.connect(postgres.admin_url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


@pytest.fixture(scope="module")
def logging_postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this module's own that does what an operator may turn on to look for a fault: it logs every
    statement, with every value.
    """
    try:
        postgres = Postgres(settings={"log_statement": "all", "log_parameter_max_length_on_error": "-1"})
    except ServiceMissing as reason:
        without(reason)
    postgres.start()
    yield postgres
    postgres.stop()


@pytest.fixture(scope="module")
def place(mode: Mode, make_lrs: Callable[..., Griffel], request: pytest.FixtureRequest) -> Iterator[Place]:
    """An installation with which the whole conversation was held; it still runs."""
    postgres: Postgres | None = None
    addresses: Json = {}
    if mode == "cluster":
        postgres = request.getfixturevalue("logging_postgres")
        addresses = {
            "database_url": postgres.create_database("griffel_canary_events"),
            "keys_url": postgres.create_database("griffel_canary_keys"),
        }
    limits = {"GRIFFEL_BODY_BYTES_MAX": str(BODY_BYTES_MAX), "GRIFFEL_STATEMENTS_MAX": str(STATEMENTS_MAX)}
    server = make_lrs(mode, settings=limits | {"GRIFFEL_LOG_LEVEL": "debug"}, **addresses)
    server.settings = {
        **server.settings,
        "HOME": str(server.folder / "home"),
        "XDG_DATA_HOME": str(server.folder / "home"),
    }
    canary = Canary()
    try:
        server.start()
        words = Words(canary)
        readers = server.credential("statements/read", "--label", canary.text(f"{NOT_STORED}reader's label"))
        named = json.dumps(words.person("authority", "account"))
        writers = server.credential("all", "--label", canary.text(f"{NOT_STORED}label"), "--authority", named)
        for who, (key, secret) in (("reader", readers), ("writer", writers)):
            canary.add(f"{who}'s key", key)
            canary.add(f"{who}'s secret", secret)
            canary.also_hashed(f"{who}'s key", f"{key}:{secret}", base64.b64encode(f"{key}:{secret}".encode()))
        conversation = Conversation(Speaker(server, canary), words)
        Refusals(conversation, conversation.hold()).provoke()
        yield Place(server, canary, conversation, postgres)
    finally:
        server.kill()


def test_what_was_sent_was_kept_and_is_given_back(place):
    """Without this the others would prove nothing."""
    found = {hit.position for hit in place.canary.find(place.conversation.given_back)}
    credentials = {"reader's key", "reader's secret", "writer's key", "writer's secret"}
    expected = {one for one in place.canary.values if not one.startswith(NOT_STORED)} - credentials
    assert len(expected) > 200
    assert sorted(expected - found) == []


def test_no_canary_is_on_disk_while_the_server_runs(place):
    assert summary(place.everything()) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="which files a process has open is asked of /proc")
def test_every_file_that_is_open_was_searched_and_deleted_ones_hold_no_canary(place):
    pids = place.pids()
    assert len(pids) >= 2, "the server and its writer"
    assert place.canary.scan_open_files(pids) == set()
    open_now = {name for pid in pids for _, name in open_files(pid) if not name.endswith(" (deleted)")}
    written = {name for name in open_now if _is_open_for_writing(pids, name)}
    roots = tuple(f"{root}/" for root in place.roots)
    assert written, "the log at least"
    assert [name for name in written if not name.startswith(roots)] == []


def _is_open_for_writing(pids: list[int], wanted: str) -> bool:
    for pid in pids:
        for number, name in open_files(pid):
            if name == wanted:
                flags = int(Path(f"/proc/{pid}/fdinfo/{number}").read_text().split("flags:")[1].split()[0], 8)
                if flags & os.O_ACCMODE != os.O_RDONLY:
                    return True
    return False


def test_what_is_wrong_is_refused_with_the_status_that_says_why(place):
    assert place.speaker.surprises == []


def test_no_refusal_repeats_what_was_sent(place):
    assert {one.status for one in refusals(place)} >= {400, 401, 403, 404, 405, 409, 412, 413, 415}
    repeated = {}
    for one in refusals(place):
        # Where a body is none of Griffel's problems, all of it is looked at.
        told = one.body.replace(pointer_of(one), b"")
        if found := place.canary.find(one.head + told):
            repeated[positions_of(found)] = f"{one.status} {told.decode()[:300]}"
    assert repeated == {}


def test_no_pointer_repeats_a_name_that_a_client_chose(place):
    """Keys of extensions and language maps, and properties that there are not, may be anything, a person's name too."""
    pointers = {pointer_of(one) for one in refusals(place)}
    assert len(pointers) > 10
    repeated = [(positions_of(found), one.decode()) for one in pointers if (found := place.canary.find(one))]
    assert sorted(repeated) == []


def refusals(place: Place) -> list[Answer]:
    return [one for one in place.speaker.answers if one.status >= 400]


def pointer_of(refusal: Answer) -> bytes:
    """The pointer of a problem as it stands in its body, empty where there is none."""
    with suppress(ValueError):
        return json.dumps(refusal.json.get("pointer", "")).encode()[1:-1]
    return b""


def positions_of(hits: set[Hit]) -> str:
    return " and ".join(sorted({hit.position for hit in hits}))


def test_headers_and_links_of_answers_tell_nothing(place):
    """Servers between here and the client write them down: a `more` above all."""
    hits = [summary(place.canary.find(one.head, one.asked)) for one in place.speaker.answers if one.status < 400]
    # A document comes back under the media type that it was sent with, which is the one thing of the client's here.
    kinds = {position for position in place.canary.values if position.endswith(", content type")}
    told = [place_of for found in hits for place_of in found.values() if not _only(place_of, kinds)]
    assert told == []
    assert len(place.conversation.links) >= 10
    assert summary({hit for link in place.conversation.links for hit in place.canary.find(link.encode(), link)}) == {}


def _only(found: list[str], positions: set[str]) -> bool:
    return all(any(one.startswith(f"{position}: ") for position in positions) for one in found)


def test_the_program_prints_nothing_that_was_sent(place):
    printed = place.server.log()
    assert "Griffel" in printed
    assert place.canary.find(printed.encode()) == set()


@pytest.fixture(scope="module")
def kafka_beside(place: Place, request: pytest.FixtureRequest) -> Iterator[Kafka | None]:
    """In a cluster, a Kafka with everything that the log has, and whoever computes views from it."""
    if place.server.mode == "embedded":
        yield None
        return
    try:
        kafka = Kafka()
    except ServiceMissing as reason:
        without(reason)
    kafka.start()
    server = place.server
    server.settings = {**server.settings, "GRIFFEL_KAFKA": kafka.bootstrap}
    server.command("topics", "create", "--partitions", str(PARTITIONS), "--replication", "1")
    try:
        with command(server, "relay"), command(server, "consume", "progress", "completions"):
            await_view(server)
            yield kafka
    finally:
        kafka.stop()


def no_canary_on(place: Place, kafka: Kafka) -> None:
    """Search what lies on Kafka, as records and as files."""
    copied = [record for found in records(kafka.bootstrap).values() for record in found]
    assert len(copied) > 30
    told = {(record.key, record.value, *record.headers) for record in copied}
    assert {hit for one in told for hit in place.canary.find(repr(one).encode())} == set()
    assert {hit for record in copied for hit in place.canary.find(record.value or b"")} == set()
    # The folders' names are the topic's; what the group and its members are called lies in Kafka's own topic.
    assert summary(place.canary.scan(*kafka.log_folders)) == {}


# ── and then somebody is forgotten ────────────────────────────────────────────────────────────────────────────────────

GONE = (
    *("full, actor", "full, instructor", "attaching, actor", "signed, instructor", "survey, actor"),
    *(f"grouped, actor, member {number}" for number in range(4)),
    *("grouped, object", "completing, actor", f"{NOT_STORED}document, agent"),
)
"""Who is erased: in every role, and of everything that is kept there is something of theirs."""


def test_nothing_that_was_sealed_opens_after_an_erasure_and_a_rotation(place, kafka_beside, tmp_path):
    """T-ERASE-3: whatever was copied before, with whatever is left. Then all is searched again, Kafka too."""
    server = place.server
    log, vault, views = rows_of(server)
    if kafka_beside is None:
        through = "SELECT through_position FROM view_position WHERE name = 'progress'"
        wait_until(lambda: views(through) == log("SELECT position FROM log_head"))
    server.command("backup", *where(server), "--to", str(tmp_path / "backup"))
    copied_log, copied_vault = rows_of_backup(server, tmp_path / "backup", place.postgres)
    copies = Copies()
    copies.add_log("running", log, views=views)
    copies.add_log("backup", copied_log)
    if server.mode == "embedded":
        copies.add_attachments("running", blobs_of_folder(server.data_dir / "attachments"))
        copies.add_attachments("backup", blobs_of_folder(tmp_path / "backup" / "attachments"))
    else:
        copies.add_attachments("running", blobs_of_table(log))
        copies.add_attachments("backup", blobs_of_table(copied_log))
        copies.add_segments(kafka_beside.log_folders)
    roots = roots_of(server)
    before = open_all(copies.places, keys_left(roots, copied_vault))
    copies.trace(before)

    begun = [begin_erasure(server, place.conversation.words.people[one]) for one in GONE]
    certificates = [certificate_of(server, one) for one in begun]
    theirs = copies.ended_with({bytes(row[0]) for row in vault("SELECT owner FROM erased")})
    assert theirs <= before.keys(), "this instrument opens what can be opened"
    kept = {"running: log", "running: documents", "running: attachments", "running: views"}
    kept |= {"backup: log", "backup: documents", "backup: attachments"}
    assert copies.places_of(theirs) == kept | ({"Kafka's segments"} if kafka_beside else set())
    if kafka_beside is not None:
        logged = {box for box in theirs if "running: log" in copies.places[box]}
        assert all("Kafka's segments" in copies.places[box] for box in logged)
    assert theirs & open_all(theirs, keys_left(roots, vault)).keys() == set()
    told = json.loads(server.command("keys", "rotate", *where(server), "--keep", "0", "--json").stdout)
    assert len(told["kept"]) == 1
    left = open_all(copies.places, keys_left(roots, vault, copied_vault))
    assert theirs & left.keys() == set(), "with the vault of the backup too"
    assert len(left) > 50
    assert before.keys() - theirs == left.keys(), "nobody else lost anything"
    assert place.canary.find(json.dumps(certificates).encode()) == set()
    if kafka_beside is not None:
        await_view(server)
        no_canary_on(place, kafka_beside)
    assert summary(place.everything()) == {}
    assert place.canary.find(server.log().encode()) == set()


def test_no_canary_is_on_disk_after_a_kill_a_restart_and_a_stop(place):
    """Last: it leaves the server stopped, its write-ahead logs folded in."""
    place.server.kill()
    assert summary(place.everything()) == {}
    place.server.start()
    told = place.speaker.say("GET", "statements", {"limit": 1}, expect=200)
    assert told.json["statements"]
    assert quote(place.server.key) not in place.server.log()
    assert place.server.stop() == 0
    assert summary(place.everything()) == {}
