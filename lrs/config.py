"""Settings: each is a flag and an environment variable of the same name; a flag wins.

docs/reference/settings.md lists them; a test keeps that list whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import click

from lrs.errors import Misconfigured

ENVIRONMENT_PREFIX = "GRIFFEL_"
KAFKA_SETTINGS = (
    "kafka",
    "kafka_security",
    "kafka_ca_file",
    "kafka_cert_file",
    "kafka_key_file",
    "kafka_mechanism",
    "kafka_user",
    "kafka_password",
    "kafka_password_file",
)
"""What a command is told that speaks to Kafka."""
KEY_SETTINGS = (
    "key_provider",
    "keys_dir",
    "master_key",
    "keys_prefix",
    "openbao_url",
    "openbao_token",
    "openbao_token_file",
    "openbao_mount",
    "openbao_ca_file",
    "pkcs11_module",
    "pkcs11_token",
    "pkcs11_pin",
    "pkcs11_pin_file",
)
"""What whatever opens the key vault is told of who holds the root keys."""


class Mode(StrEnum):
    """One setting that decides every part (docs/architecture.md, "Two modes, one program")."""

    EMBEDDED = "embedded"
    CLUSTER = "cluster"


def _setting(
    default: Any,
    text: str,
    *,
    secret: bool = False,
    minimum: int | None = None,
    maximum: int | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    kept = {"help": text, "secret": secret, "minimum": minimum, "maximum": maximum, "choices": choices}
    return field(default=default, metadata=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an installation is told. Give secrets by their variables: others on the machine can read its arguments."""

    mode: Mode = _setting(Mode.EMBEDDED, "embedded: SQLite, no server needed. cluster: PostgreSQL, many processes.")
    data: Path = _setting(Path("data"), "Folder for everything an embedded installation keeps.")
    database_url: str = _setting("", "Cluster: the log's PostgreSQL database, postgresql://…", secret=True)
    keys_url: str = _setting("", "Cluster: the key vault's own PostgreSQL database, postgresql://…", secret=True)
    key_provider: str | None = _setting(
        None,
        "Who holds the root keys. Default: environment where a master key is given, else file.",
        choices=("file", "environment", "openbao", "pkcs11"),
    )
    keys_dir: Path | None = _setting(
        None,
        "Folder for the root keys. Default: keys/ in the data folder; in cluster mode griffel/keys in the user's own "
        "data folder, so that all servers of a machine share it.",
    )
    master_key: str = _setting("", "Root key as 32 bytes in base64, instead of key files.", secret=True)
    epoch_days: int = _setting(
        7,
        "After how many days every key is wrapped anew under a fresh one; 0: only by `griffel keys rotate`.",
        minimum=0,
        maximum=3_650,
    )
    epochs_kept: int = _setting(
        5,
        "How many of those before it stay usable: a backup of the key vault opens for about so many times epoch-days, "
        "and the erased are gone from every backup after that.",
        minimum=0,
        maximum=1_000,
    )
    retention_hours: int = _setting(
        24,
        "How often a server forgets what is past its term (the register of purposes says it); 0: only by "
        "`griffel retention`.",
        minimum=0,
        maximum=8_760,
    )
    keys_prefix: str = _setting("griffel", "How the names of this installation's keys begin in OpenBao or on a token.")
    openbao_url: str = _setting("", "OpenBao's address, such as https://bao.internal:8200.")
    openbao_token: str = _setting("", "The token that OpenBao is asked with.", secret=True)
    openbao_token_file: Path | None = _setting(
        None, "A file that holds that token, instead of the variable; read at each use."
    )
    openbao_mount: str = _setting("transit", "The path of OpenBao's transit engine.")
    openbao_ca_file: Path | None = _setting(
        None, "The authority that signed OpenBao's certificate, as PEM. Default: those that the system trusts."
    )
    pkcs11_module: Path | None = _setting(None, "The library of the PKCS#11 token, a file that ends in .so.")
    pkcs11_token: str = _setting("", "The label of the PKCS#11 token.")
    pkcs11_pin: str = _setting("", "The PIN of the token's user.", secret=True)
    pkcs11_pin_file: Path | None = _setting(None, "A file that holds that PIN, instead of the variable.")
    kafka: str = _setting("", "Cluster: Kafka's brokers, host:port with commas between them.")
    kafka_security: str = _setting(
        "PLAINTEXT",
        "How Kafka is spoken to: PLAINTEXT, or with TLS (SSL), a user (SASL_PLAINTEXT) or both (SASL_SSL).",
        choices=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    )
    kafka_ca_file: Path | None = _setting(
        None, "The authority that signed Kafka's certificates, as PEM. Default: those that the system trusts."
    )
    kafka_cert_file: Path | None = _setting(None, "The client's certificate for Kafka, as PEM.")
    kafka_key_file: Path | None = _setting(None, "The key of that certificate, as PEM.")
    kafka_mechanism: str = _setting(
        "SCRAM-SHA-512",
        "How the user of Kafka is proved.",
        choices=("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"),
    )
    kafka_user: str = _setting("", "The user of Kafka.")
    kafka_password: str = _setting("", "That user's password.", secret=True)
    kafka_password_file: Path | None = _setting(None, "A file that holds that password, instead of the variable.")
    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(8080, "Port to listen on; 0 takes a free one.", minimum=0, maximum=65_535)
    public_url: str = _setting("", "The address by which others reach this server, if it is another one.")
    cors_origin: str = _setting("*", "Which site's content may post from a browser; * for any.")
    oidc_issuer: str = _setting("", "OpenID Connect issuer whose bearer tokens are taken.")
    oidc_audience: str = _setting("griffel", "What the tokens' `aud` must name.")
    body_bytes_max: int = _setting(16 * 1024 * 1024, "Largest JSON body, in bytes.", minimum=1024)
    attachments_bytes_max: int = _setting(256 * 1024 * 1024, "Most bytes of attachments in one request.", minimum=1024)
    statements_max: int = _setting(5_000, "Most statements in one batch.", minimum=1)
    metrics: str = _setting(
        "local",
        "Who may read /metrics. local: whoever asks from this machine, others with a credential. open: everybody. "
        "off: nobody.",
        choices=("local", "open", "off"),
    )
    purposes: Path | None = _setting(None, "The register of purposes, a JSON file. Default: the one that is shipped.")
    policy: Path | None = _setting(
        None, "Folder with the versions of the privacy policy. Default: the one that is shipped, an example."
    )
    log_level: str = _setting("info", "How much is logged.", choices=("error", "warning", "info", "debug"))

    def checked(self, *asked: str) -> Settings:
        """Give these settings if they fit together; where some are named, no others were asked for.

        Raises Misconfigured, naming the setting and the mend.
        """
        if self.mode is Mode.CLUSTER:
            for name in ("database_url", "keys_url"):
                if (not asked or name in asked) and not getattr(self, name).startswith(
                    ("postgresql://", "postgres://")
                ):
                    raise Misconfigured(f"cluster mode needs {variable(name)}=postgresql://user@host/database")
            if self.database_url == self.keys_url != "":
                raise Misconfigured(f"{variable('keys_url')} must be another database than {variable('database_url')}")
        return self


def variable(name: str) -> str:
    """Give the environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()


def with_settings(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of these settings (of all, when none is named) and pass it one Settings object."""
    fields = [one for one in dataclasses.fields(Settings) if not names or one.name in names]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(**options: Any) -> Any:
            given = {one.name: options.pop(one.name) for one in fields}
            try:
                settings = Settings(**{name: value for name, value in given.items() if value is not None})
                settings = settings.checked(*names)
            except Misconfigured as error:
                raise click.UsageError(error.detail) from error
            return command(settings, **options)

        wrapped.__name__ = command.__name__
        wrapped.__doc__ = command.__doc__
        wrapped.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined]
        for one in reversed(fields):
            wrapped = _option(one)(wrapped)
        return wrapped

    return decorate


def _option(setting: dataclasses.Field[Any]) -> Callable[[Any], Any]:
    default = setting.default
    kind: Any = click.Path(path_type=Path) if "Path" in str(setting.type) else None
    if isinstance(default, Mode):
        kind, default = click.Choice([one.value for one in Mode]), default.value
    elif isinstance(default, int):
        kind = click.IntRange(setting.metadata["minimum"], setting.metadata["maximum"])
    if setting.metadata["choices"]:
        kind = click.Choice(setting.metadata["choices"], case_sensitive=False)
    convert = (lambda _, __, value: Mode(value)) if setting.name == "mode" else None
    return click.option(
        "--" + setting.name.replace("_", "-"),
        setting.name,
        envvar=variable(setting.name),
        default=default,
        show_default=bool(default) and not setting.metadata["secret"],
        show_envvar=True,
        hidden=False,
        type=kind,
        help=setting.metadata["help"],
        callback=convert,
    )
