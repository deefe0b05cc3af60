"""`griffel demo`, seen from the endpoint it plays against and in what it prints."""

from __future__ import annotations

import json
import stat

import pytest
from click.testing import CliRunner, Result

from lrs.cli.demo import demo
from lrs.demo.term import Term, TermSettings
from tests.unit.lrs.fake_endpoint import FakeEndpoint

SMALL = ["--learners", "6", "--courses", "3", "--weeks", "3", "--seed", "4"]
SETTINGS = TermSettings(seed=4, learners=6, courses=3, weeks=3)


@pytest.fixture
def target():
    with FakeEndpoint() as endpoint:
        yield endpoint


def play(target: FakeEndpoint, *more: str) -> Result:
    return CliRunner().invoke(demo, ["--to", target.url, *target.options, "--quiet", *SMALL, *more])


def test_every_statement_of_the_term_is_posted_and_the_truth_is_printed(target):
    result = play(target, "--json")
    assert result.exit_code == 0, result.output
    term = Term(SETTINGS)
    bodies = [json.loads(body) for _, body in term.play()]
    assert set(target.statements) == {one["id"] for one in bodies}
    assert sum(len(post) for post in target.posts) == len(bodies), "those sent twice are sent twice"
    assert json.loads(result.stdout) == term.truth()


def test_played_again_nothing_is_added(target):
    assert play(target).exit_code == 0
    before = dict(target.statements)
    assert play(target).exit_code == 0
    assert target.statements == before


def test_the_summary_is_a_table_and_the_truth_goes_to_a_file(target, tmp_path):
    truth = tmp_path / "truth.json"
    result = play(target, "--truth", str(truth))
    assert result.exit_code == 0, result.output
    told = json.loads(truth.read_text())
    assert told["format"] == "griffel-demo-truth-1"
    assert "What was played" in result.stdout
    assert f"{told['statements']['posted']:,} statements sent" in result.stdout
    for course in told["courses"].values():
        assert course["name"]["en"].split()[0] in result.stdout
    assert stat.S_ISREG(truth.stat().st_mode)


def test_scale_multiplies_the_learners(target):
    result = play(target, "--scale", "2", "--json")
    assert json.loads(result.stdout)["settings"]["learners"] == 12


def test_batches_have_their_size_and_no_id_twice(target):
    assert play(target, "--batch", "7", "--in-flight", "2").exit_code == 0
    assert max(len(post) for post in target.posts) == 7


def test_a_refusal_ends_it_and_says_where(target):
    target.refuse = lambda one: (400, "/context", "Not like this.") if one["verb"]["id"].endswith("viewed") else None
    result = play(target)
    assert result.exit_code == 3
    assert "400: Not like this. (at /" in result.stderr
    assert "school.example" not in result.stderr


@pytest.mark.parametrize("speed", ["fast", "0", "-1", "nan", "inf"])
def test_a_speed_is_none_or_days_in_a_second(target, speed):
    assert play(target, "--speed", speed).exit_code == 2


def test_with_a_speed_the_term_takes_its_time(target):
    result = play(target, "--speed", "200", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["statements"]["distinct"] == len(target.statements)


def test_settings_come_from_the_environment(target):
    settings = {
        "GRIFFEL_ENDPOINT": target.url,
        "GRIFFEL_KEY": target.options[1],
        "GRIFFEL_SECRET": target.options[3],
        "GRIFFEL_DEMO_LEARNERS": "2",
        "GRIFFEL_DEMO_COURSES": "1",
        "GRIFFEL_DEMO_WEEKS": "1",
        "GRIFFEL_DEMO_JSON": "1",
    }
    result = CliRunner(env=settings).invoke(demo, ["--quiet"])
    assert json.loads(result.stdout)["settings"]["learners"] == 2


def test_a_credential_is_asked_for(target):
    result = CliRunner().invoke(demo, ["--to", target.url])
    assert result.exit_code == 2
    assert "griffel credentials create" in result.output
