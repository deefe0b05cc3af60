"""`griffel export`, seen in the files it writes and the queries it makes."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lrs.cli.export import export
from tests.unit.lrs.fake_endpoint import FakeEndpoint, attachment, attachment_entry, statement


@pytest.fixture
def source():
    with FakeEndpoint() as endpoint:
        yield endpoint


def run_export(source: FakeEndpoint, *arguments: object) -> Result:
    return CliRunner().invoke(export, ["--from", source.url, *source.options, "--quiet", *map(str, arguments)])


def numbers(path: Path) -> list[int]:
    return [int(json.loads(line)["id"][-6:]) for line in path.read_text().splitlines()]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_all_statements_are_written_oldest_first_for_the_owner_alone(source, tmp_path):
    for number in range(25):
        source.store(statement(number))
    file = tmp_path / "all.ndjson"
    result = run_export(source, file, "--page", 10, "--json")
    assert result.exit_code == 0, result.output
    assert numbers(file) == list(range(25))
    assert mode(file) == 0o600
    told = json.loads(result.stdout)
    assert (told["statements"], told["consistent_through"]) == (25, "2026-09-07T09:00:00Z")


def test_without_a_file_they_go_to_standard_output_and_nothing_else_does(source):
    for number in range(3):
        source.store(statement(number))
    result = run_export(source, "--json")
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == list(source.statements)
    assert json.loads(result.stderr)["statements"] == 3


def test_every_filter_is_asked_for(source, tmp_path):
    registration = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
    result = run_export(
        source,
        tmp_path / "some.ndjson",
        *("--since", "2026-09-01", "--until", "2026-10-01T00:00:00+02:00", "--agent", "someone@school.example"),
        *("--verb", "http://adlnet.gov/expapi/verbs/completed", "--activity", "https://school.example/c"),
        *("--registration", registration, "--related-agents", "--related-activities", "--descending", "--page", 7),
    )
    assert result.exit_code == 0, result.output
    assert source.queries == [
        {
            "since": "2026-09-01T00:00:00Z",
            "until": "2026-10-01T00:00:00+02:00",
            "agent": '{"mbox":"mailto:someone@school.example"}',
            "verb": "http://adlnet.gov/expapi/verbs/completed",
            "activity": "https://school.example/c",
            "registration": registration,
            "related_agents": "true",
            "related_activities": "true",
            "ascending": "false",
            "limit": "7",
        }
    ]


def test_a_file_that_is_there_is_kept_unless_told_otherwise(source, tmp_path):
    source.store(statement(1))
    file = tmp_path / "all.ndjson"
    file.write_text("precious\n")
    assert run_export(source, file).exit_code == 3
    assert file.read_text() == "precious\n"
    file.chmod(0o644)
    assert run_export(source, file, "--overwrite").exit_code == 0
    assert numbers(file) == [1]
    assert mode(file) == 0o600


def test_a_stopped_export_goes_on_and_a_half_written_line_is_cut_off(source, tmp_path):
    for number in range(30):
        source.store(statement(number))
    file, state = tmp_path / "all.ndjson", tmp_path / "all.state"
    source.page_max, source.more_prefix = 10, "http://127.0.0.1:1"
    stopped = run_export(source, file, "--resume", state)
    assert stopped.exit_code == 3, "the second page is on another host"
    assert numbers(file) == list(range(10))
    file.write_bytes(file.read_bytes() + b'{"id": "half')
    source.more_prefix = ""
    result = run_export(source, file, "--resume", state, "--json")
    assert result.exit_code == 0, result.output
    assert numbers(file) == list(range(30))
    assert json.loads(result.stdout)["statements_before"] == 10


def test_a_complete_export_adds_what_is_new(source, tmp_path):
    for number in range(3):
        source.store(statement(number))
    file, state = tmp_path / "all.ndjson", tmp_path / "all.state"
    assert run_export(source, file, "--resume", state).exit_code == 0
    source.store(statement(3))
    assert run_export(source, file, "--resume", state).exit_code == 0
    assert numbers(file) == [0, 1, 2, 3]


def test_statements_stored_at_the_same_instant_are_neither_lost_nor_repeated(source, tmp_path):
    for number in range(9):
        source.store(statement(number), f"2026-09-07T10:00:0{number // 4}.500Z")
    file, state = tmp_path / "all.ndjson", tmp_path / "all.state"
    source.page_max, source.more_prefix = 6, "http://127.0.0.1:1"
    assert run_export(source, file, "--resume", state).exit_code == 3
    source.page_max, source.more_prefix = 100, ""
    for number in range(9, 11):
        source.store(statement(number), "2026-09-07T10:00:02.500Z")
    assert run_export(source, file, "--resume", state).exit_code == 0
    assert numbers(file) == list(range(11))


def test_the_state_names_nobody_and_belongs_to_one_query(source, tmp_path):
    source.store(statement(1))
    file, state = tmp_path / "all.ndjson", tmp_path / "all.state"
    arguments = (file, "--resume", state, "--agent")
    assert run_export(source, *arguments, "someone@school.example").exit_code == 0
    assert "someone" not in state.read_text()
    assert "person" not in state.read_text()
    assert mode(state) == 0o600
    assert run_export(source, *arguments, "another@school.example").exit_code == 3
    assert numbers(file) == [1]


def test_attachments_are_written_by_their_digest(source, tmp_path):
    data = attachment("our work")
    source.attachments[data.sha2] = data
    source.store(statement(1, attachments=[attachment_entry(data)]))
    folder = tmp_path / "files"
    result = run_export(source, tmp_path / "all.ndjson", "--attachments", folder, "--json")
    assert result.exit_code == 0, result.output
    assert (folder / data.sha2).read_bytes() == b"our work"
    assert (mode(folder), mode(folder / data.sha2)) == (0o700, 0o600)
    assert json.loads(result.stdout)["attachments"] == 1


@pytest.mark.parametrize("sha2", ["../../outside", "0" * 64])
def test_an_attachment_that_is_not_what_its_digest_says_is_refused(source, tmp_path, sha2):
    data = attachment("our work")
    source.attachments[sha2] = type(data)(sha2, data.content_type, data.data)
    source.store(statement(1, attachments=[{**attachment_entry(data), "sha2": sha2}]))
    result = run_export(source, tmp_path / "all.ndjson", "--attachments", tmp_path / "files")
    assert result.exit_code == 3
    assert list((tmp_path / "files").iterdir()) == []


def test_help_says_that_an_export_is_plain_text_about_people():
    assert "plain text about people" in CliRunner().invoke(export, ["--help"]).stdout
