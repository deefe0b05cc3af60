"""A root key in the environment, which nobody here can destroy."""

from __future__ import annotations

import base64

from lrs.errors import Misconfigured
from lrs.key_providers.provider import binding, unwrap_under, wrap_under
from schemas.envelope import KEY_BYTES


class EnvironmentKey:
    """One root for every epoch, given in the environment as 32 bytes in base64."""

    name = "environment"
    can_destroy = False

    def __init__(self, encoded: str) -> None:
        try:
            self._root = bytearray(base64.b64decode(encoded, validate=True))
        except ValueError as error:
            raise Misconfigured("GRIFFEL_MASTER_KEY must be base64; make one with: openssl rand -base64 32") from error
        if len(self._root) != KEY_BYTES:
            raise Misconfigured("GRIFFEL_MASTER_KEY must be 32 bytes in base64; make one with: openssl rand -base64 32")

    def wrap(self, epoch: int, key: bytes | bytearray) -> bytes:
        """Wrap under the one root."""
        return wrap_under(self._root, binding(epoch), key)

    def unwrap(self, epoch: int, wrapped: bytes) -> bytearray:
        """Unwrap with the one root."""
        return unwrap_under(self._root, binding(epoch), wrapped, "GRIFFEL_MASTER_KEY")

    def destroy(self, epoch: int) -> None:
        """Do nothing: what an environment variable holds cannot be destroyed from here (`can_destroy` says so)."""
