"""`griffel doctor` beside real servers: a clean store is clean, what is planted is named by its place."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import secrets
import sqlite3
import subprocess
import sys
from dataclasses import replace

import psycopg
import pytest
import requests
from kafka import KafkaProducer
from psycopg import sql

from schemas.topics import EVENTS
from tests.benchmarks.statements import statements
from tests.copied_log import relay_process, relayed, wait_until
from tests.services import COMMAND_BOUND_S, Griffel


def doctor(server: Griffel, given: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as an operator would; what it prints never holds a value."""
    said = subprocess.run(
        [sys.executable, "-m", "lrs", "doctor", "--data", str(server.data_dir), *arguments],
        env=server.environment | environment,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_BOUND_S,
    )
    for value in given.split("\n"):
        if len(value) > 3:
            assert value.removeprefix("mailto:").lower() not in (said.stdout + said.stderr).lower()
    return said


def found(server: Griffel, given: str, *arguments: str) -> dict:
    said = doctor(server, given, "--json", *arguments)
    assert said.returncode in (0, 1, 3), said.stderr
    answer = json.loads(said.stdout)
    assert said.returncode == (1 if answer["found"] else 3 if answer["unread"] else 0)
    return answer


def wherever(answer: dict) -> set[tuple[str, str, int, str]]:
    return {(one["store"], one["where"], one["line"], one["form"]) for one in answer["found"]}


@pytest.fixture
def person() -> str:
    return f"mailto:{secrets.token_hex(8)}@school.example"


def send(server: Griffel, person: str) -> None:
    """A statement about somebody, with an attachment that names them."""
    content = f"signed by {person}".encode() * 100
    sha2 = hashlib.sha256(content).hexdigest()
    statement = statements(1)[0] | {"actor": {"mbox": person, "name": f"Name of {person}"}}
    statement["attachments"] = [
        {
            "usageType": "http://example.com/usage",
            "display": {"en": "a letter"},
            "contentType": "text/plain",
            "length": len(content),
            "sha2": sha2,
        }
    ]
    body = b"\r\n".join(
        [
            b"--border\r\nContent-Type: application/json\r\n\r\n" + json.dumps(statement).encode(),
            b"--border\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: binary\r\n"
            b"X-Experience-API-Hash: " + sha2.encode() + b"\r\n\r\n" + content,
            b"--border--\r\n",
        ]
    )
    kind = {"Content-Type": "multipart/mixed; boundary=border"}
    answer = requests.post(f"{server.url}/statements", data=body, headers=server.headers() | kind, timeout=30)
    assert answer.status_code == 200, answer.text


def test_a_store_of_statements_is_clean_while_the_server_runs_and_after(fresh_lrs, mode, person):
    fresh_lrs.credential("all")
    send(fresh_lrs, person)
    looks = [found(fresh_lrs, f"{person}\nName of {person}\n")]
    fresh_lrs.stop()
    looks.append(found(fresh_lrs, f"{person}\nName of {person}\n"))
    for answer in looks:
        assert answer["found"] == []
        if mode == "cluster":
            assert [one["why"] for one in answer["unread"]] == ["GRIFFEL_KAFKA is not set, so Kafka was not looked at"]
            rows = {one["store"]: one["rows"] for one in answer["scanned"]}
            assert rows["log's database"] > 0
            assert rows["vault's database"] > 0
        else:
            assert answer["unread"] == []
            assert answer["scanned"][0]["bytes"] > 10_000


def test_what_is_planted_in_files_is_found(make_lrs, person):
    server = make_lrs("embedded").start()
    server.credential("all")
    send(server, person)
    bare = person.removeprefix("mailto:")
    attachment = next(path for path in (server.data_dir / "attachments").rglob("*") if path.is_file())
    name = attachment.relative_to(server.data_dir).as_posix()
    attachment.write_bytes(attachment.read_bytes() + bare.encode())
    folder = server.data_dir / "planted"
    folder.mkdir()
    (folder / "term.csv.gz").write_bytes(gzip.compress(b"who\r\n" + bare.upper().encode()))
    (folder / bare).write_bytes(b"")
    (folder / "to-the-attachments").symlink_to(server.data_dir / "attachments")
    digest = hashlib.sha1(person.encode(), usedforsecurity=False).hexdigest()
    connection = sqlite3.connect(folder / "notes.db")
    connection.execute("CREATE TABLE notes (number INTEGER, note TEXT)")
    # Where the value begins in the row decides where it is cut by the pages; one of these is cut.
    connection.executemany(
        "INSERT INTO notes VALUES (?, ?)",
        [(at, "x" * (8000 + 20 * at) + digest + "y" * (9000 - 20 * at)) for at in range(210)],
    )
    connection.commit()
    connection.close()
    answer = found(server, f"Somebody Else\n{person}\n")
    server.stop()
    assert answer["unread"] == []
    assert wherever(answer) == {
        ("data folder", name, 2, "as it is"),
        ("data folder", "planted/term.csv.gz, unpacked", 2, "as it is"),
        ("data folder", "a name: file planted/(a name that holds a value)", 2, "as it is"),
        ("data folder", "planted/notes.db", 2, "SHA-1 in hex"),
        ("data folder", "planted/notes.db, table notes, column note", 2, "SHA-1 in hex"),
    }
    times = {one["where"]: one["times"] for one in answer["found"]}
    assert times["planted/notes.db, table notes, column note"] == 210
    assert times["planted/notes.db"] < 210
    told = doctor(server, f"Somebody Else\n{person}\n")
    assert told.returncode == 1
    assert "planted/notes.db" in told.stdout
    assert "Of 2 values, 1 were found" in told.stdout


def test_what_is_planted_in_postgresql_is_found(make_lrs, person):
    server = make_lrs("cluster").start()
    server.credential("all")
    bare = person.removeprefix("mailto:")
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE planted (number INTEGER, note TEXT, packed BYTEA)")
        connection.execute("INSERT INTO planted VALUES (1, %s, NULL)", [f"{'a' * 50_000} {bare}"])
        connection.execute("INSERT INTO planted VALUES (2, NULL, %s)", [gzip.compress(person.encode())])
        connection.execute("CREATE TABLE shut AS SELECT 1 AS number")
        connection.execute("REVOKE SELECT ON shut FROM CURRENT_USER")
        connection.execute(sql.SQL("COMMENT ON TABLE planted IS {}").format(sql.Literal(f"for {bare}")))
    with psycopg.connect(server.keys_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA other")
        connection.execute(sql.SQL("CREATE TABLE other.{} (note JSONB)").format(sql.Identifier(f"of_{bare}")))
    with psycopg.connect(server.keys_url, application_name=bare[:16]):
        answer = found(server, f"{person}\n{bare[:16]}")
    server.stop()
    places = {(store, where, form) for store, where, line, form in wherever(answer) if line == 1}
    assert places == {
        ("log's database", "table planted, column note", "as it is"),
        ("log's database", "table planted, column packed, unpacked", "as it is"),
        ("log's database", "a name: remark", "as it is"),
        ("vault's database", "a name: table", "as it is"),
    }
    unread = {(one["store"], one["where"], one["why"]) for one in answer["unread"]}
    assert ("log's database", "table shut", "no right to read it") in unread
    assert ("vault's database", "a name: application", 2, "as it is") in wherever(answer)


def test_what_is_planted_on_kafka_is_found(make_lrs, kafka, person, tmp_path):
    server = replace(make_lrs("cluster"), settings={"GRIFFEL_KAFKA": kafka.bootstrap}).start()
    server.credential("all")
    send(server, person)
    bare = person.removeprefix("mailto:")
    unmade = doctor(server, person)
    assert unmade.returncode == 3, unmade.stdout
    assert EVENTS in unmade.stdout
    with relay_process(tmp_path / "relay", server.database_url, kafka.bootstrap) as relay:
        made = relay.command("topics", "create", "--partitions", "2", "--replication", "1")
        assert made.returncode == 0, made.stderr
        relay.start()
        wait_until(lambda: (relayed(server.database_url) or 0) > 0)
        assert relay.stop() == 0
    clean = found(server, f"{person}\n")
    assert clean["found"] == clean["unread"] == []
    on_kafka = next(one for one in clean["scanned"] if one["store"] == "Kafka")
    assert on_kafka["rows"] > 0
    for packing, part in (("gzip", 0), ("zstd", 1)):
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, compression_type=packing)
        text = bare.encode()
        producer.send(EVENTS, key=text, value=b"x" * 5000 + text, headers=[("who", text)], partition=part).get(30)
        producer.close()
    answer = found(server, f"{person}\n")
    server.stop()
    assert wherever(answer) == {
        ("Kafka", f"{EVENTS}, partition {partition}, in the record's {part}", 1, "as it is")
        for partition in (0, 1)
        for part in ("key", "value", "headers")
    }
    gone = doctor(server, person, GRIFFEL_KAFKA="127.0.0.1:1")
    assert gone.returncode == 3, gone.stdout
    assert "Kafka does not answer" in " ".join(gone.stdout.split())


def test_a_database_that_is_away_is_told_as_not_looked_at(make_lrs, tmp_path, person):
    server = replace(make_lrs("embedded"), mode="cluster", data_dir=tmp_path)
    away = {"GRIFFEL_DATABASE_URL": "postgresql://a@127.0.0.1:1/a", "GRIFFEL_KEYS_URL": "postgresql://a@127.0.0.1:1/b"}
    said = doctor(server, person, "--json", **away)
    assert said.returncode == 3
    assert [one["why"] for one in json.loads(said.stdout)["unread"]][:2] == ["PostgreSQL cannot be reached"] * 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_the_right_to_read_it_is_told_as_not_looked_at(make_lrs, tmp_path, person):
    server = replace(make_lrs("embedded"), data_dir=tmp_path)
    (tmp_path / "shut").write_bytes(b"anything")
    (tmp_path / "shut").chmod(0)
    answer = found(server, person)
    assert [(one["where"], one["why"]) for one in answer["unread"]] == [("shut", "no right to read it")]


def test_a_damaged_file_is_told_as_not_looked_at(make_lrs, tmp_path, person):
    server = replace(make_lrs("embedded"), data_dir=tmp_path)
    (tmp_path / "half.gz").write_bytes(gzip.compress(os.urandom(3 << 20))[: 2 << 20])
    (tmp_path / "half.db").write_bytes(b"SQLite format 3\0" + os.urandom(8192))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round").symlink_to(tmp_path)
    answer = found(server, person)
    assert [one["where"] for one in answer["unread"]] == ["half.db", "half.gz"]


def test_a_folder_that_is_named_also_is_looked_through(make_lrs, tmp_path, person):
    server = replace(make_lrs("embedded"), data_dir=tmp_path / "data")
    (tmp_path / "data").mkdir()
    (tmp_path / "access.log").write_text(f"GET /xapi/statements?agent={person}")
    answer = found(server, person, "--also", str(tmp_path / "access.log"))
    assert wherever(answer) == {("--also, no. 1", "access.log", 1, "as it is")}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "griffel doctor"),
        ("\n\n", "one a line"),
        ("Somebody Else\nAda\n", "line 2 is shorter"),
    ],
)
def test_a_wrong_input_is_a_wrong_command_line(make_lrs, tmp_path, given, told):
    said = doctor(replace(make_lrs("embedded"), data_dir=tmp_path), given)
    assert said.returncode == 2
    assert told in said.stderr
    assert re.search(r"\bAda\b", said.stderr.replace("Ada Lovelace", "")) is None


def test_the_setup_of_a_new_server_is_told_and_mended(make_lrs, tmp_path):
    server = make_lrs("embedded").start()
    server.stop()
    keys = server.data_dir / "keys"
    next(keys.glob("*.key")).chmod(0o644)
    server.data_dir.chmod(0o755)

    def findings(**environment: str) -> dict[str, dict]:
        said = doctor(server, "", "--setup", "--json", **environment)
        assert said.returncode in (0, 1, 3), said.stderr
        return {one["name"]: one for one in json.loads(said.stdout)["findings"]}

    first = findings()
    assert first["data folder"]["good"] is False
    assert f"chmod 0700 {server.data_dir}" in first["data folder"]["advice"]
    assert first["folder of the root keys"]["good"] is True
    assert first["root key files"]["good"] is False
    assert first["root keys"]["good"] is False
    assert "keep-keys-apart.md" in first["root keys"]["advice"]
    assert {"swap", "core dumps"} <= set(first)

    server.data_dir.chmod(0o700)
    keys.rename(tmp_path / "keys")
    next((tmp_path / "keys").glob("*.key")).chmod(0o600)
    mended = findings(GRIFFEL_KEYS_DIR=str(tmp_path / "keys"))
    assert [mended[name]["good"] for name in ("data folder", "folder of the root keys", "root key files")] == [True] * 3
    assert mended["root keys"]["good"] is True

    held = findings(GRIFFEL_MASTER_KEY="A" * 43 + "=")
    assert held["root key"]["good"] is False
    assert "backups do not die" in held["root key"]["advice"]
    assert doctor(server, "", "--setup").returncode == 1
