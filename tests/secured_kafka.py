"""A broker that lets nobody in without TLS, a client's certificate and a password, and lets each do only what it may.

Its second listener, in the plain, is the test's own, whose nameless user may do everything.
"""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.kafka_services import Kafka
from tests.services import free_port

PASSWORD = "invented, for one broker that lives for one test"
USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
VALID = datetime.timedelta(days=2)
Right = tuple[ResourceType, str, ACLOperation]


class SecuredKafka(Kafka):
    """The addresses of `secured` are those of the listener with SASL_SSL; `users` may enter there."""

    def __init__(self, users: dict[str, list[Right]]) -> None:
        super().__init__()
        self._users = users
        self.secured = f"127.0.0.1:{free_port()}"
        self.certificates = Certificates(self.folder)

    def start(self) -> None:
        broker = self.brokers[0]
        broker.format(f"1@127.0.0.1:{broker.controller_port}")
        path = broker.folder / "server.properties"
        lines = dict(line.split("=", 1) for line in path.read_text().splitlines())
        lines["listeners"] += f",SASL_SSL://{self.secured}"
        lines["advertised.listeners"] += f",SASL_SSL://{self.secured}"
        lines["listener.security.protocol.map"] += ",SASL_SSL:SASL_SSL"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        lines |= {
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
            "listener.name.sasl_ssl.ssl.keystore.type": "PEM",
            "listener.name.sasl_ssl.ssl.keystore.location": str(self.certificates.server),
            "listener.name.sasl_ssl.ssl.truststore.type": "PEM",
            "listener.name.sasl_ssl.ssl.truststore.location": str(self.certificates.authority),
            "listener.name.sasl_ssl.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
        path.write_text("".join([f"{name}={value}\n" for name, value in lines.items()]))
        super().start()
        self._let_in()

    def _let_in(self) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            made = [UserScramCredentialUpsertion(one, ScramMechanism.SCRAM_SHA_512, PASSWORD) for one in self._users]
            assert not any(admin.alter_user_scram_credentials(made).values())
            acls = [
                ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, _pattern(kind, name))
                for user, rights in self._users.items()
                for kind, name, operation in rights
            ]
            assert not admin.create_acls(acls)["failed"]
        finally:
            admin.close()

    def settings(self, user: str) -> dict[str, str]:
        """What Griffel is told to enter as a user."""
        password = self.folder / "password"
        password.write_text(PASSWORD + "\n")
        return {
            "GRIFFEL_KAFKA": self.secured,
            "GRIFFEL_KAFKA_SECURITY": "SASL_SSL",
            "GRIFFEL_KAFKA_CA_FILE": str(self.certificates.authority),
            "GRIFFEL_KAFKA_CERT_FILE": str(self.certificates.client),
            "GRIFFEL_KAFKA_KEY_FILE": str(self.certificates.client_key),
            "GRIFFEL_KAFKA_USER": user,
            "GRIFFEL_KAFKA_PASSWORD_FILE": str(password),
        }


def _pattern(kind: ResourceType, name: str) -> ResourcePattern:
    is_prefix = kind is ResourceType.GROUP
    how = ACLResourcePatternType.PREFIXED if is_prefix else ACLResourcePatternType.LITERAL
    return ResourcePattern(kind, name, how)


class Certificates:
    """An authority, a server's certificate and a client's, as PEM files."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Invented Authority")])
        self._issuer, self._key = name, key
        self.authority = folder / "authority.pem"
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.authority.write_bytes(_pem(self._signed(name, key, constraints)))
        self.server = folder / "server.pem"
        self.client, self.client_key = folder / "client.pem", folder / "client.key"
        for path, key_path, common in (
            (self.server, self.server, "127.0.0.1"),
            (self.client, self.client_key, "griffel"),
        ):
            own = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
            address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            certificate = _pem(self._signed(subject, own, address))
            private = own.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            if path == key_path:
                path.write_bytes(private + certificate)
            else:
                path.write_bytes(certificate)
                key_path.write_bytes(private)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        usage = dict.fromkeys(USES, False) | {"digital_signature": True, "key_cert_sign": subject == self._issuer}
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - VALID)
            .not_valid_after(now + VALID)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
