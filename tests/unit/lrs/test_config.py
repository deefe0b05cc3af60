"""Settings: a flag, a variable and a default for each, and a sentence for what is wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from lrs.config import Mode, Settings, variable, with_settings
from lrs.errors import Misconfigured

FIELDS = dataclasses.fields(Settings)
EXAMPLES = {
    "mode": ("embedded", Mode.EMBEDDED),
    "data": ("/srv/griffel", Path("/srv/griffel")),
    "keys_dir": ("/srv/keys", Path("/srv/keys")),
    "port": ("9000", 9000),
    "body_bytes_max": ("2048", 2048),
    "attachments_bytes_max": ("4096", 4096),
    "statements_max": ("7", 7),
    "log_level": ("debug", "debug"),
    "metrics": ("open", "open"),
    "epoch_days": ("30", 30),
    "epochs_kept": ("2", 2),
    "retention_hours": ("1", 1),
    "key_provider": ("openbao", "openbao"),
    "openbao_token_file": ("/srv/token", Path("/srv/token")),
    "openbao_ca_file": ("/srv/ca.pem", Path("/srv/ca.pem")),
    "pkcs11_module": ("/usr/lib/token.so", Path("/usr/lib/token.so")),
    "pkcs11_pin_file": ("/srv/pin", Path("/srv/pin")),
    "kafka_security": ("SASL_SSL", "SASL_SSL"),
    "kafka_mechanism": ("PLAIN", "PLAIN"),
    "kafka_ca_file": ("/srv/ca.pem", Path("/srv/ca.pem")),
    "kafka_cert_file": ("/srv/griffel.pem", Path("/srv/griffel.pem")),
    "kafka_key_file": ("/srv/griffel.key", Path("/srv/griffel.key")),
    "purposes": ("/srv/purposes.json", Path("/srv/purposes.json")),
    "policy": ("/srv/policy", Path("/srv/policy")),
    "kafka_password_file": ("/srv/password", Path("/srv/password")),
}
CHOICES = {
    "mode": "cluster",
    "log_level": "warning",
    "metrics": "off",
    "key_provider": "pkcs11",
    "kafka_security": "SSL",
    "kafka_mechanism": "SCRAM-SHA-256",
}
CLUSTER = {"mode": Mode.CLUSTER, "database_url": "postgresql://a@h/log", "keys_url": "postgresql://b@h/keys"}


@click.command()
@with_settings()
def shown(settings: Settings) -> None:
    """Print the settings."""
    click.echo(repr(settings))


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(shown, list(arguments), env={variable(one.name): "" for one in FIELDS} | environment)


def settings_of(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output.strip()


def test_without_anything_said_it_is_embedded_on_this_machine_alone() -> None:
    default = Settings().checked()
    assert (default.mode, default.host, default.port) == (Mode.EMBEDDED, "127.0.0.1", 8080)
    assert settings_of(run()) == repr(default)


@pytest.mark.parametrize("name", [one.name for one in FIELDS])
def test_every_setting_is_a_variable_and_a_flag_and_the_flag_wins(name: str) -> None:
    text, value = EXAMPLES.get(name, ("https://school.example/said", "https://school.example/said"))
    expected = repr(dataclasses.replace(Settings(), **{name: value}))
    flag = "--" + name.replace("_", "-")
    assert settings_of(run(**{variable(name): text})) == expected
    assert settings_of(run(flag, text)) == expected
    other = "9001" if text.isdecimal() else CHOICES.get(name, "/else")
    assert settings_of(run(flag, text, **{variable(name): other})) == expected


def test_every_setting_is_explained() -> None:
    told = " ".join(run("--help").output.split())
    for one in FIELDS:
        assert "--" + one.name.replace("_", "-") in told
        assert variable(one.name) in told
        assert len(one.metadata["help"]) > 10


@pytest.mark.parametrize(
    "arguments",
    [
        ["--mode", "both"],
        ["--port", "-1"],
        ["--port", "65536"],
        ["--port", "many"],
        ["--statements-max", "0"],
        ["--body-bytes-max", "10"],
        ["--log-level", "loud"],
        ["--unheard-of", "x"],
    ],
    ids=" ".join,
)
def test_a_wrong_value_is_refused_in_a_sentence(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.output
    assert "Traceback" not in result.output


def test_cluster_mode_needs_two_databases() -> None:
    Settings(**CLUSTER).checked()
    for wrong, named in (
        ({"database_url": ""}, "GRIFFEL_DATABASE_URL"),
        ({"keys_url": ""}, "GRIFFEL_KEYS_URL"),
        ({"keys_url": "mysql://h/keys"}, "GRIFFEL_KEYS_URL"),
        ({"keys_url": CLUSTER["database_url"]}, "GRIFFEL_KEYS_URL"),
    ):
        with pytest.raises(Misconfigured, match=named):
            Settings(**{**CLUSTER, **wrong}).checked()


def test_a_password_is_not_repeated_in_what_is_said() -> None:
    with pytest.raises(Misconfigured) as refused:
        Settings(mode=Mode.CLUSTER, database_url="mysql://a:canary@h/log", keys_url="").checked()
    assert "canary" not in refused.value.detail
    result = run("--mode", "cluster", GRIFFEL_DATABASE_URL="mysql://a:canary@h/log")
    assert (result.exit_code, "canary" in result.output) == (2, False)


def test_a_secret_stands_in_no_help_even_when_it_is_set() -> None:
    told = run("--help", GRIFFEL_MASTER_KEY="canary", GRIFFEL_KEYS_URL="postgresql://a:canary@h/keys").output
    assert "canary" not in told


def test_a_command_may_take_some_settings_alone() -> None:
    @click.command()
    @click.option("--label", default="")
    @with_settings("data", "mode")
    def some(settings: Settings, label: str) -> None:
        """Print some."""
        click.echo(f"{settings.data} {label}")

    assert CliRunner().invoke(some, ["--data", "/d", "--label", "l"]).output == "/d l\n"
    assert CliRunner().invoke(some, ["--port", "1"]).exit_code == 2
