"""`griffel import`, seen from the endpoint it posts to and the files it leaves."""

from __future__ import annotations

import gzip
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lrs.cli.import_statements import import_statements
from tests.unit.lrs.fake_endpoint import FakeEndpoint, attachment, attachment_entry, statement


def ndjson(path: Path, statements: list[Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in statements))
    return path


def run_import(target: FakeEndpoint, source: object, *more: str, stdin: bytes | None = None) -> Result:
    arguments = [str(source), "--to", target.url, *target.options, "--quiet", *more]
    return CliRunner().invoke(import_statements, arguments, input=stdin)


def summary(result: Result) -> dict[str, Any]:
    return json.loads(result.stdout)


@pytest.fixture
def target():
    with FakeEndpoint() as endpoint:
        yield endpoint


def test_every_line_is_stored_in_batches(target, tmp_path):
    source = ndjson(tmp_path / "all.ndjson", [statement(number) for number in range(250)])
    result = run_import(target, source, "--batch", "100", "--json")
    assert result.exit_code == 0, result.output
    assert len(target.statements) == 250
    assert sorted(len(post) for post in target.posts) == [50, 100, 100]
    told = summary(result)
    assert (told["statements"], told["accepted"], told["rejected"], told["rejects_report"]) == (250, 250, 0, None)


@pytest.mark.parametrize("form", ["plain", "gzip", "array", "array in gzip", "with a byte order mark", "crlf"])
def test_each_form_of_file_gives_the_same_statements(target, tmp_path, form):
    statements = [statement(number) for number in range(5)]
    lines = "".join(json.dumps(one) + "\n" for one in statements).encode()
    array = b" " + json.dumps(statements, indent=2).encode()
    data = {
        "plain": lines.rstrip(),
        "gzip": gzip.compress(lines),
        "array": array,
        "array in gzip": gzip.compress(array),
        "with a byte order mark": b"\xef\xbb\xbf" + lines,
        "crlf": lines.replace(b"\n", b"\r\n\r\n"),
    }[form]
    source = tmp_path / "source"
    source.write_bytes(data)
    assert run_import(target, source).exit_code == 0
    assert [one for post in target.posts for one in post] == statements


@pytest.mark.parametrize("damage", ["cut short", "a wrong byte"])
def test_damaged_gzip_is_said_after_what_could_be_read(target, tmp_path, damage):
    lines = "".join(json.dumps(statement(number)) + "\n" for number in range(2000)).encode()
    data = bytearray(gzip.compress(lines))
    if damage == "cut short":
        del data[-200:]
    else:
        data[-2000] ^= 0xFF
    source = tmp_path / "damaged.gz"
    source.write_bytes(data)
    result = run_import(target, source)
    assert result.exit_code == 3
    assert "cannot be read further" in result.stderr


def test_standard_input_is_read_with_a_dash(target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = json.dumps(statement(1)).encode() + b"\n" + json.dumps(statement(2)).encode()
    assert run_import(target, "-", stdin=data).exit_code == 0
    assert len(target.statements) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_statement_without_an_id_gets_the_same_one_in_every_run_and_form(tmp_path):
    anonymous = [{name: value for name, value in statement(number).items() if name != "id"} for number in range(3)]
    ids = []
    for name, data in (
        ("a", "\n".join(map(json.dumps, anonymous))),
        ("b", "\n".join(map(json.dumps, anonymous)) + "\n"),
    ):
        with FakeEndpoint() as target:
            source = tmp_path / name
            source.write_text(data)
            assert run_import(target, source).exit_code == 0
            ids.append([one["id"] for post in target.posts for one in post])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3


def test_a_file_that_grew_keeps_the_ids_of_the_lines_that_were_there(target, tmp_path):
    anonymous = [{name: value for name, value in statement(number).items() if name != "id"} for number in range(4)]
    source = ndjson(tmp_path / "growing.ndjson", anonymous[:3])
    assert run_import(target, source).exit_code == 0
    ndjson(source, anonymous)
    assert run_import(target, source).exit_code == 0
    assert len(target.statements) == 4


def test_the_same_text_on_two_lines_is_two_statements(target, tmp_path):
    anonymous = {name: value for name, value in statement(1).items() if name != "id"}
    assert run_import(target, ndjson(tmp_path / "twice.ndjson", [anonymous, anonymous])).exit_code == 0
    assert len(target.statements) == 2


def test_numbers_and_spelling_reach_the_endpoint_as_they_were_written(target, tmp_path):
    source = tmp_path / "exact.ndjson"
    text = '{"actor": {"mbox":"mailto:a@school.example"}, "result": {"raw": 1.50, "x": 12345678901234567890123}}\n'
    source.write_text(text)
    assert run_import(target, source).exit_code == 0
    assert target.posts[0][0]["result"] == {"raw": 1.5, "x": 12345678901234567890123}


def test_the_bad_ones_are_parted_from_a_batch_and_the_rest_goes_on(target, tmp_path):
    bad = {3, 57, 58, 99}
    secret = "person57@school.example"
    target.refuse = lambda one: (
        (400, "/actor/mbox", "A mailbox is mailto: and an address.") if int(one["id"][-6:]) in bad else None
    )
    source = ndjson(tmp_path / "mixed.ndjson", [statement(number) for number in range(130)])
    result = run_import(target, source, "--json")
    assert result.exit_code == 1
    assert len(target.statements) == 126
    report = source.with_name("mixed.ndjson.rejects.ndjson")
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    assert [row["line"] for row in rows] == [4, 58, 59, 100]
    assert rows[0] == {
        "line": 4,
        "pointer": "/actor/mbox",
        "status": 400,
        "detail": "A mailbox is mailto: and an address.",
    }
    assert secret not in report.read_text()
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    assert summary(result)["rejects_report"] == str(report)


def test_refused_statements_are_written_only_when_asked_for(target, tmp_path):
    target.refuse = lambda one: (403, "/actor", "Erased.") if one["id"].endswith("1") else None
    source = ndjson(tmp_path / "some.ndjson", [statement(number) for number in range(3)])
    result = run_import(target, source, "--rejects-with-statements", "--rejects", str(tmp_path / "report"))
    assert result.exit_code == 1
    [row] = [json.loads(line) for line in (tmp_path / "report").read_text().splitlines()]
    assert row["statement"] == statement(1)


def test_lines_that_are_no_json_object_are_rejected_with_their_number(target, tmp_path):
    source = tmp_path / "broken.ndjson"
    lines = [json.dumps(statement(1)), "", "{not json of person9@school.example", '"text"', json.dumps(statement(2))]
    source.write_text("\n".join(lines))
    assert run_import(target, source).exit_code == 1
    assert len(target.statements) == 2
    report = (tmp_path / "broken.ndjson.rejects.ndjson").read_text()
    assert [json.loads(line)["line"] for line in report.splitlines()] == [3, 4]
    assert "person9" not in report


def test_an_id_that_differs_is_rejected_and_an_equal_one_is_not(target, tmp_path):
    target.store(statement(1))
    target.store(statement(2))
    other = {**statement(2), "object": {"id": "https://school.example/other"}}
    assert run_import(target, ndjson(tmp_path / "again.ndjson", [statement(1), other])).exit_code == 1
    [row] = [json.loads(line) for line in (tmp_path / "again.ndjson.rejects.ndjson").read_text().splitlines()]
    assert (row["line"], row["status"], row["pointer"]) == (2, 409, "/id")


def test_the_same_statement_twice_in_a_file_is_no_reject(target, tmp_path):
    source = ndjson(tmp_path / "repeated.ndjson", [statement(1), statement(2), statement(1)])
    assert run_import(target, source).exit_code == 0
    assert len(target.statements) == 2


def test_a_credential_that_may_not_write_stops_at_the_first_batch(target, tmp_path):
    target.refuse = lambda _: (403, None, "The scope is missing.")
    result = run_import(
        target, ndjson(tmp_path / "all.ndjson", [statement(number) for number in range(500)]), "--batch", "8"
    )
    assert result.exit_code == 3
    assert "may not write" in result.stderr
    assert not (tmp_path / "all.ndjson.rejects.ndjson").exists()


def test_a_stopped_import_goes_on_where_it_was(target, tmp_path):
    target.refuse = lambda one: (400, "/verb", "No.") if one["id"].endswith("5") else None
    target.fails_after = 30
    source = ndjson(tmp_path / "long.ndjson", [statement(number) for number in range(400)])
    state = tmp_path / "long.ndjson.import-state.json"
    stopped = run_import(target, source, "--batch", "10")
    assert stopped.exit_code == 3
    assert 0 < len(target.statements) < 360
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    reached = json.loads(state.read_text())["place"]["line"]
    assert reached >= 10

    target.fails_after, target.posts = None, []
    result = run_import(target, source, "--batch", "10", "--json")
    assert result.exit_code == 1
    assert min(int(one["id"][-6:]) for post in target.posts for one in post) == reached
    assert len(target.statements) == 360
    told = summary(result)
    assert (told["accepted"], told["rejected"], told["resumed"]) == (360, 40, True)
    rows = [json.loads(line)["line"] for line in (tmp_path / "long.ndjson.rejects.ndjson").read_text().splitlines()]
    assert rows == [number + 1 for number in range(400) if str(number).endswith("5")]
    assert not state.exists(), "all was dealt with"


def test_a_report_that_ran_ahead_of_the_saved_place_is_cut_back(target, tmp_path):
    target.refuse = lambda one: (400, "", "No.") if int(one["id"][-6:]) % 2 else None
    target.fails_after = 12
    source = ndjson(tmp_path / "long.ndjson", [statement(number) for number in range(40)])
    assert run_import(target, source, "--batch", "4", "--in-flight", "1").exit_code == 3
    report = tmp_path / "long.ndjson.rejects.ndjson"
    report.write_text(report.read_text() + '{"line":9999,"pointer":"","status":400,"detail":"half')
    target.fails_after = None
    assert run_import(target, source, "--batch", "4").exit_code == 1
    assert [json.loads(line)["line"] for line in report.read_text().splitlines()] == list(range(2, 41, 2))


def test_the_state_holds_nothing_of_the_statements(target, tmp_path):
    target.fails_after = 2
    source = ndjson(tmp_path / "canary.ndjson", [statement(number) for number in range(40)])
    assert run_import(target, source, "--batch", "10").exit_code == 3
    text = (tmp_path / "canary.ndjson.import-state.json").read_text()
    state = json.loads(text)
    assert set(state) == {"format", "belongs_to", "place", "accepted", "rejected", "report_size"}
    for personal in (
        "person",
        "school.example",
        "00000000-0000",
        "canary",
        "mailto",
        target.options[1],
        target.options[3],
    ):
        assert personal not in text


def test_a_changed_file_and_another_target_begin_at_the_beginning(target, tmp_path):
    target.fails_after = 2
    statements = [statement(number) for number in range(40)]
    source = ndjson(tmp_path / "file.ndjson", statements)
    assert run_import(target, source, "--batch", "10").exit_code == 3
    with FakeEndpoint() as other:
        assert run_import(other, source).exit_code == 0
        assert len(other.statements) == 40
    target.fails_after = 4
    assert run_import(target, source, "--batch", "10").exit_code == 3
    target.fails_after, target.posts = None, []
    ndjson(source, [*statements, statement(41)])
    assert run_import(target, source).exit_code == 0
    assert target.posts[0][0]["id"] == statement(0)["id"]
    assert len(target.statements) == 41


def test_restart_begins_at_the_beginning(target, tmp_path):
    target.fails_after = 2
    source = ndjson(tmp_path / "file.ndjson", [statement(number) for number in range(40)])
    assert run_import(target, source, "--batch", "10").exit_code == 3
    target.fails_after, target.posts = None, []
    assert run_import(target, source, "--restart").exit_code == 0
    # Batches travel side by side: which of them arrives first is nobody's promise.
    assert {sent["id"] for post in target.posts for sent in post} == {statement(number)["id"] for number in range(40)}


def test_other_files_are_not_taken_for_state_or_report(target, tmp_path):
    source = ndjson(tmp_path / "file.ndjson", [statement(1)])
    precious = tmp_path / "precious.json"
    precious.write_text('{"my": "notes"}')
    for option in ("--state", "--rejects"):
        assert run_import(target, source, option, str(precious)).exit_code == 3
        assert precious.read_text() == '{"my": "notes"}'


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_endpoint_is_waited_for_as_it_asks(target, tmp_path, status):
    target.answers_first = [(status, {"Retry-After": "0"}), (status, {"Retry-After": "0"})]
    result = run_import(target, ndjson(tmp_path / "one.ndjson", [statement(1)]), "--json")
    assert result.exit_code == 0
    assert summary(result)["waits"] == 2
    assert len(target.statements) == 1


def test_patience_has_an_end(target, tmp_path):
    target.answers_first = [(503, {"Retry-After": "30"})] * 5
    result = run_import(target, ndjson(tmp_path / "one.ndjson", [statement(1)]), "--patience", "5")
    assert result.exit_code == 3
    assert "503" in result.stderr


def test_a_wrong_secret_is_said_without_repeating_it(target, tmp_path):
    source = ndjson(tmp_path / "one.ndjson", [statement(1)])
    arguments = [str(source), "--to", target.url, "--key", "k", "--secret", "hunter2"]
    result = CliRunner().invoke(import_statements, arguments)
    assert result.exit_code == 3
    assert "does not accept this key and secret" in result.stderr
    assert "hunter2" not in result.output


def test_settings_come_from_the_environment(target, tmp_path):
    source = ndjson(tmp_path / "file.ndjson", [statement(number) for number in range(6)])
    settings = {
        "GRIFFEL_ENDPOINT": target.url + "/",
        "GRIFFEL_KEY": target.options[1],
        "GRIFFEL_SECRET": target.options[3],
        "GRIFFEL_IMPORT_BATCH": "2",
    }
    assert CliRunner(env=settings).invoke(import_statements, [str(source)]).exit_code == 0
    assert [len(post) for post in target.posts] == [2, 2, 2]


def test_attachments_in_a_folder_go_along(target, tmp_path):
    data = attachment("our work")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / data.sha2).write_bytes(data.data)
    source = ndjson(tmp_path / "file.ndjson", [statement(1, attachments=[attachment_entry(data)]), statement(2)])
    assert run_import(target, source).exit_code == 1, "without the data the statement is refused"
    assert run_import(target, source, "--attachments", str(folder)).exit_code == 0
    assert target.attachments[data.sha2].data == b"our work"


def test_a_name_that_is_no_digest_never_leads_to_a_file(target, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "secret").write_text("not yours")
    entry = {**attachment_entry(attachment("x")), "sha2": "../secret"}
    source = ndjson(tmp_path / "file.ndjson", [statement(1, attachments=[entry])])
    assert run_import(target, source, "--attachments", str(tmp_path / "files")).exit_code == 1
    assert target.attachments == {}


def test_progress_is_plain_lines_away_from_a_terminal(target, tmp_path):
    source = ndjson(tmp_path / "file.ndjson", [statement(number) for number in range(6)])
    result = CliRunner().invoke(import_statements, [str(source), "--to", target.url, *target.options])
    assert result.stdout == ""
    assert result.stderr.startswith("import: 6 statements, ")
    assert "0 rejected, 100%" in result.stderr
    assert "\x1b" not in result.stderr


class TestFromAnotherStore:
    @pytest.fixture
    def source(self):
        with FakeEndpoint(versions=("1.0.0", "1.0.3")) as endpoint:
            yield endpoint

    def options(self, source: FakeEndpoint) -> list[str]:
        return ["--source-key", source.options[1], "--source-secret", source.options[3]]

    @pytest.fixture(autouse=True)
    def in_a_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    def test_all_pages_are_followed_oldest_first_with_attachments(self, target, source):
        data = attachment("our work")
        source.attachments[data.sha2] = data
        for number in range(25):
            source.store(statement(number, **({"attachments": [attachment_entry(data)]} if number == 13 else {})))
        result = run_import(target, source.url, *self.options(source), "--batch", "10", "--in-flight", "1")
        assert result.exit_code == 0, result.output
        assert list(target.statements) == list(source.statements)
        assert target.attachments[data.sha2].data == b"our work"
        assert {query["ascending"] for query in source.queries} == {"true"}
        assert {query["attachments"] for query in source.queries} == {"true"}
        assert (source.version_headers, target.version_headers) == ({"1.0.3"}, {"2.0.0"})

    def test_since_and_until_are_asked_for(self, target, source):
        for number in range(10):
            source.store(statement(number))
        bounds = [source.statements[statement(number)["id"]]["stored"] for number in (2, 6)]
        result = run_import(target, source.url, *self.options(source), "--since", bounds[0], "--until", bounds[1])
        assert result.exit_code == 0
        assert [int(one["id"][-6:]) for one in target.statements.values()] == [3, 4, 5, 6]

    def test_the_next_import_brings_what_is_new(self, target, source):
        for number in range(10):
            source.store(statement(number), f"2026-09-07T10:00:{number:02}Z")
        assert run_import(target, source.url, *self.options(source)).exit_code == 0
        for number in range(10, 13):
            source.store(statement(number), f"2026-09-07T12:00:{number:02}Z")
        result = run_import(target, source.url, *self.options(source), "--json")
        assert result.exit_code == 0
        assert len(target.statements) == 13
        assert source.queries[-1]["since"] == "2026-09-07T09:59:59Z", "some of it is read again"
        assert summary(result)["resumed"]

    def test_the_state_holds_no_address_of_people(self, target, source, tmp_path):
        for number in range(10):
            source.store(statement(number))
        assert run_import(target, source.url, *self.options(source)).exit_code == 0
        [state] = tmp_path.glob("griffel-import-*.import-state.json")
        assert set(json.loads(state.read_text())["place"]) == {"stored"}
        assert "person" not in state.read_text()

    def test_rejects_are_told_by_when_they_were_stored(self, target, source, tmp_path):
        for number in range(5):
            source.store(statement(number))
        target.refuse = lambda one: (400, "/verb", "No.") if one["id"].endswith("3") else None
        assert run_import(target, source.url, *self.options(source)).exit_code == 1
        [report] = tmp_path.glob("griffel-import-*.rejects.ndjson")
        assert json.loads(report.read_text()) == {
            "line": 4,
            "stored": source.statements[statement(3)["id"]]["stored"],
            "pointer": "/verb",
            "status": 400,
            "detail": "No.",
        }

    def test_a_credential_in_the_address_is_refused_unrepeated(self, target):
        result = run_import(target, "https://me:hunter2@lrs.example/xapi")
        assert result.exit_code == 2
        assert "hunter2" not in result.output

    def test_a_newer_version_is_left_out_for_an_older_target(self, source):
        source.versions = ("2.0.0",)
        source.store(statement(1))
        with FakeEndpoint(versions=("1.0.3",)) as target:
            assert run_import(target, source.url, *self.options(source)).exit_code == 0
            assert "version" not in target.posts[0][0]
