"""`griffel demo`, `import` and `export` against running servers, in each mode."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from lrs.cli.demo import demo
from lrs.cli.export import export
from lrs.cli.import_statements import import_statements
from lrs.demo.term import Term, TermSettings
from tests.unit.lrs.demo_recount import assert_true

Json = dict[str, Any]

BOUND_S = 60
DEMO = ["--learners", "8", "--courses", "3", "--weeks", "4", "--seed", "11"]
SETTINGS = TermSettings(seed=11, learners=8, courses=3, weeks=4)


def access(lrs: Any, flag: str) -> list[str]:
    return [flag, lrs.url, "--key", lrs.key, "--secret", lrs.secret, "--quiet"]


def run(command: Any, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def exported(lrs: Any, *filters: object) -> list[Json]:
    result = run(export, "-", *access(lrs, "--from"), *filters)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def invented(course: str, count: int) -> list[Json]:
    """Statements of one course that no other test has."""
    return [
        {
            "id": str(uuid.uuid4()),
            "actor": {"account": {"homePage": "https://school.example", "name": f"transfer-{number}"}},
            "verb": {"id": "http://adlnet.gov/expapi/verbs/experienced"},
            "object": {"id": f"{course}/pages/{number}"},
            "context": {"contextActivities": {"parent": [{"id": course}]}},
            "timestamp": "2026-09-07T08:00:00.000Z",
        }
        for number in range(count)
    ]


def new_course() -> str:
    return f"https://school.example/courses/{uuid.uuid4()}"


def written(path: Path, statements: list[Json]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in statements))
    return path


def test_a_played_term_is_what_the_server_then_has_and_playing_again_adds_nothing(fresh_lrs):
    term = Term(SETTINGS)
    posted = {one["id"]: one for one in (json.loads(body) for _, body in term.play())}
    voided = {one["object"]["id"] for one in posted.values() if one["verb"]["id"].endswith("/voided")}
    first = run(demo, *access(fresh_lrs, "--to"), *DEMO, "--json")
    assert first.exit_code == 0, first.stderr
    truth = json.loads(first.stdout)
    assert truth == term.truth()
    stored = exported(fresh_lrs)
    assert {one["id"] for one in stored} == set(posted) - voided
    assert len(stored) == truth["statements"]["visible"]
    assert_true(truth, stored)
    for one in stored:
        assert one["verb"]["id"] == posted[one["id"]]["verb"]["id"]
        assert one.get("result") == posted[one["id"]].get("result")

    again = run(demo, *access(fresh_lrs, "--to"), *DEMO, "--json", "--batch", "37")
    assert again.exit_code == 0, again.stderr
    assert {one["id"]: one["stored"] for one in exported(fresh_lrs)} == {one["id"]: one["stored"] for one in stored}


def test_an_export_can_be_imported_with_its_attachments(fresh_lrs, lrs, tmp_path):
    course, data = new_course(), b"our work \x00\r\n--"
    sha2 = hashlib.sha256(data).hexdigest()
    statements = invented(course, 12)
    statements[7]["attachments"] = [
        {
            "usageType": "https://school.example/work",
            "display": {"en": "work"},
            "contentType": "application/octet-stream",
            "length": len(data),
            "sha2": sha2,
        }
    ]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / sha2).write_bytes(data)
    source = written(tmp_path / "in.ndjson", statements)
    posted = run(import_statements, source, *access(lrs, "--to"), "--attachments", tmp_path / "in", "--batch", 5)
    assert posted.exit_code == 0, posted.stderr

    filters = ("--activity", course, "--related-activities", "--page", 5)
    out, state = tmp_path / "out.ndjson", tmp_path / "out.state"
    wrote = run(export, out, *access(lrs, "--from"), *filters, "--attachments", tmp_path / "out", "--resume", state)
    assert wrote.exit_code == 0, wrote.stderr
    assert (tmp_path / "out" / sha2).read_bytes() == data
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == [
        one["id"] for one in exported(lrs, *filters)
    ]

    copied = run(import_statements, out, *access(fresh_lrs, "--to"), "--attachments", tmp_path / "out")
    assert copied.exit_code == 0, copied.stderr
    assert {one["id"] for one in exported(fresh_lrs)} == {one["id"] for one in statements}


def test_another_store_is_copied_and_what_is_new_in_it_follows(fresh_lrs, lrs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = invented(new_course(), 25), invented(new_course(), 5)
    assert run(import_statements, written(tmp_path / "1", first), *access(fresh_lrs, "--to")).exit_code == 0
    copy = [fresh_lrs.url, *access(lrs, "--to"), "--source-key", fresh_lrs.key, "--source-secret", fresh_lrs.secret]
    result = run(import_statements, *copy, "--batch", 10, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["accepted"] == 25
    assert run(import_statements, written(tmp_path / "2", second), *access(fresh_lrs, "--to")).exit_code == 0
    assert run(import_statements, *copy).exit_code == 0
    there = {one["id"] for one in exported(lrs)}
    assert there >= {one["id"] for one in first + second}


def test_bad_statements_are_told_by_line_and_place_and_the_good_ones_are_in(lrs, tmp_path):
    course = new_course()
    statements = invented(course, 40)
    del statements[4]["actor"]
    statements[17]["verb"]["id"] = "completed"
    statements[39]["result"] = {"score": {"scaled": 7}}
    source = written(tmp_path / "mixed.ndjson", statements)
    result = run(import_statements, source, *access(lrs, "--to"), "--batch", 20)
    assert result.exit_code == 1, result.stderr
    report = (tmp_path / "mixed.ndjson.rejects.ndjson").read_text()
    rows = [json.loads(line) for line in report.splitlines()]
    assert [(row["line"], row["status"]) for row in rows] == [(5, 400), (18, 400), (40, 400)]
    assert rows[1]["pointer"] == "/verb/id"
    assert rows[2]["pointer"] == "/result/score/scaled"
    assert "transfer-" not in report
    good = {one["id"] for number, one in enumerate(statements) if number not in {4, 17, 39}}
    assert {one["id"] for one in exported(lrs, "--activity", course, "--related-activities")} == good


def test_an_import_that_is_killed_goes_on_and_stores_everything_once(lrs, tmp_path):
    course = new_course()
    statements = [{name: value for name, value in one.items() if name != "id"} for one in invented(course, 1500)]
    source = written(tmp_path / "long.ndjson", statements)
    state = tmp_path / "long.ndjson.import-state.json"
    arguments = [sys.executable, "-m", "lrs", "import", str(source), *access(lrs, "--to"), "--batch", "10"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + BOUND_S
    while not state.exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    _, said = killed.communicate(timeout=BOUND_S)
    assert killed.returncode == -signal.SIGKILL, said.decode()
    reached = json.loads(state.read_text())["place"]["line"]
    assert 0 < reached < 1500

    result = run(import_statements, source, *access(lrs, "--to"), "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["statements"] == 1500 - reached
    stored = exported(lrs, "--activity", course, "--related-activities")
    assert sorted(one["actor"]["account"]["name"] for one in stored) == sorted(f"transfer-{n}" for n in range(1500))
