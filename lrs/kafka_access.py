"""How Kafka is reached: its brokers, and what proves who speaks to whom. Every module that opens a client asks here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lrs.config import Settings, variable
from lrs.errors import Misconfigured

_SASL, _TLS = "SASL_", "SSL"
"""How the names of ways to speak begin where a user is proved, and end where TLS is spoken."""
_FILES = {"kafka_ca_file": "ssl_cafile", "kafka_cert_file": "ssl_certfile", "kafka_key_file": "ssl_keyfile"}


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Kafka's addresses, and what the client library takes for TLS and SASL; nothing of it for a Kafka in the plain."""

    brokers: tuple[str, ...]
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def options(self) -> dict[str, Any]:
        """Give what every client of Kafka is opened with."""
        return {"bootstrap_servers": list(self.brokers), **self.security}


Kafka = KafkaAccess | str
"""How Kafka is reached; its addresses alone are a Kafka without TLS and SASL."""


def kafka_access(settings: Settings) -> KafkaAccess:
    """Give how the settings say that Kafka is reached. Raises Misconfigured, naming the setting."""
    brokers = addresses(settings.kafka)
    _check(settings)
    security: dict[str, Any] = {}
    if settings.kafka_security != "PLAINTEXT":
        security["security_protocol"] = settings.kafka_security
    for name, option in _FILES.items():
        path = getattr(settings, name)
        if path is not None:
            if not path.is_file():
                raise Misconfigured(f"{variable(name)} names a file that is not there")
            security[option] = str(path)
    if settings.kafka_security.startswith(_SASL):
        security |= {
            "sasl_mechanism": settings.kafka_mechanism,
            "sasl_plain_username": settings.kafka_user,
            "sasl_plain_password": _password(settings),
        }
    return KafkaAccess(brokers, security)


def access_to(kafka: Kafka) -> KafkaAccess:
    """Give how Kafka is reached, where perhaps its addresses alone are known. Raises Misconfigured."""
    return KafkaAccess(addresses(kafka)) if isinstance(kafka, str) else kafka


def addresses(kafka: str) -> tuple[str, ...]:
    """Give Kafka's bootstrap addresses from a setting `host:port,host:port`. Raises Misconfigured."""
    given = tuple([one.strip() for one in kafka.split(",") if one.strip()])
    if not given or not all(one.rpartition(":")[0] and one.rpartition(":")[2].isdigit() for one in given):
        raise Misconfigured("GRIFFEL_KAFKA must name Kafka's brokers as host:port, with commas between them")
    return given


def _check(settings: Settings) -> None:
    """Raise Misconfigured where what is said of Kafka's security does not fit together."""
    way = settings.kafka_security
    tls, sasl = way.endswith(_TLS), way.startswith(_SASL)
    passwords = bool(settings.kafka_password) + (settings.kafka_password_file is not None)
    if (settings.kafka_cert_file is None) != (settings.kafka_key_file is None):
        raise Misconfigured(f"{variable('kafka_cert_file')} and {variable('kafka_key_file')} belong together")
    if not tls and any(getattr(settings, one) is not None for one in _FILES):
        raise Misconfigured(f"certificates need TLS: {variable('kafka_security')}=SSL or SASL_SSL")
    if not sasl and (settings.kafka_user or passwords):
        raise Misconfigured(f"a user of Kafka needs {variable('kafka_security')}=SASL_SSL")
    if sasl and not (settings.kafka_user and passwords == 1):
        raise Misconfigured(
            f"{way} needs {variable('kafka_user')} and either {variable('kafka_password')} or "
            f"{variable('kafka_password_file')}"
        )
    if sasl and not tls and settings.kafka_mechanism == "PLAIN":
        raise Misconfigured("PLAIN without TLS sends the password for everybody to read: take SASL_SSL, or SCRAM")


def _password(settings: Settings) -> str:
    if settings.kafka_password_file is None:
        return settings.kafka_password
    try:
        return settings.kafka_password_file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeError) as error:
        raise Misconfigured(f"{variable('kafka_password_file')} names a file that cannot be read") from error
