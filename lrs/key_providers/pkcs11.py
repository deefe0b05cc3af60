"""Root keys on a PKCS#11 token: one AES-256 key for each epoch, `PREFIX-epoch-N`, made on the token, never off it.

    wrapped key = the key object's id (16 bytes) ─ nonce (12 bytes) ─ A (48 bytes) ─ B
        A: a fresh root, by AES-GCM on the token
        B: the epoch key under that root

The id tells apart the objects of one label, should two servers make a root at the same moment. AES-GCM is what HSMs and
SoftHSM have in common that also notices damage; epoch and label are its associated data. What the binding hands over
stays in memory until it is overwritten by chance; so that is a fresh root, as with OpenBao, and never the epoch key.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrs.errors import KeysAway, Misconfigured
from lrs.key_providers.provider import binding, does_not_fit, secret_of, unwrap_under, wrap_under
from schemas.envelope import KEY_BYTES, NONCE_BYTES, TAG_BYTES

if TYPE_CHECKING:
    import pkcs11

ID_BYTES = 16
NONCE_ENDS = ID_BYTES + NONCE_BYTES
ROOT_ENDS = NONCE_ENDS + KEY_BYTES + TAG_BYTES
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ONE_AT_A_TIME = threading.Lock()
"""A login holds for all sessions of a process, and so does its end: no session may end another's."""


class Pkcs11Keys:
    """Roots that are keys on a token, sensitive and not extractable.

    module: the token's library. token: its label. pin: the user's, itself or a file. prefix: how this installation's
    keys are named; two installations with one token and one prefix would destroy each other's.
    """

    name = "pkcs11"
    can_destroy = True

    def __init__(self, module: Path, token: str, pin: str | Path, prefix: str = "griffel") -> None:
        """Raise Misconfigured when something cannot be right; nothing is asked of the token yet."""
        try:
            import pkcs11  # noqa: PLC0415  an extra that few installations need
        except ImportError as error:
            raise Misconfigured("keys on a PKCS#11 token need a library: pip install 'griffel[pkcs11]'") from error
        if not _PREFIX.fullmatch(prefix):
            raise Misconfigured("GRIFFEL_KEYS_PREFIX must be letters, digits, dots, dashes and underscores")
        self._pkcs11 = pkcs11
        self._module = module
        self._token = token
        self._pin = pin
        self._prefix = prefix

    def wrap(self, epoch: int, key: bytes | bytearray) -> bytes:
        """Wrap under the epoch's key, which is made when it is missing."""
        with self._session() as session:
            found = self._keys(session, epoch)
            on_token = found[0] if found else self._make(session, epoch)
            if on_token[self._pkcs11.Attribute.EXTRACTABLE]:
                raise Misconfigured(
                    f"the key {self._label(epoch)} can leave its token: Griffel needs one that never does"
                )
            root, nonce = os.urandom(KEY_BYTES), os.urandom(NONCE_BYTES)
            sealed: bytes = on_token.encrypt(root, **self._cipher(epoch, nonce))
            return bytes(on_token.id) + nonce + sealed + wrap_under(root, self._bound(epoch), key)

    def unwrap(self, epoch: int, wrapped: bytes) -> bytearray:
        """Unwrap with the epoch's key."""
        label = self._label(epoch)
        with self._session() as session:
            found = self._keys(session, epoch)
            if not found:
                raise Misconfigured(f"the key {label} is missing on its token: without it nothing here can be opened")
            on_token = next((one for one in found if one.id == wrapped[:ID_BYTES]), None)
            if on_token is None or len(wrapped) <= ROOT_ENDS:
                raise does_not_fit(f"{label} on the token")
            cipher = self._cipher(epoch, wrapped[ID_BYTES:NONCE_ENDS])
            try:
                root: bytes = on_token.decrypt(wrapped[NONCE_ENDS:ROOT_ENDS], **cipher)
            except self._pkcs11.PKCS11Error as error:
                # Some tokens have one code for a tag that does not fit and for a fault of their own.
                self._try_out(on_token, epoch)
                raise does_not_fit(f"{label} on the token") from error
            return unwrap_under(root, self._bound(epoch), wrapped[ROOT_ENDS:], f"{label} on the token")

    def destroy(self, epoch: int) -> None:
        """Destroy the epoch's key on the token."""
        with self._session() as session:
            for one in self._keys(session, epoch):
                one.destroy()

    def _label(self, epoch: int) -> str:
        return f"{self._prefix}-epoch-{epoch}"

    def _bound(self, epoch: int) -> bytes:
        return binding(epoch, self._label(epoch))

    def _cipher(self, epoch: int, nonce: bytes) -> dict[str, Any]:
        parameters = self._pkcs11.GCMParams(nonce, self._bound(epoch))
        return {"mechanism": self._pkcs11.Mechanism.AES_GCM, "mechanism_param": parameters}

    def _keys(self, session: pkcs11.Session, epoch: int) -> list[Any]:
        attribute, kind = self._pkcs11.Attribute, self._pkcs11.ObjectClass
        wanted = {attribute.CLASS: kind.SECRET_KEY, attribute.LABEL: self._label(epoch)}
        return sorted(session.get_objects(wanted), key=lambda one: bytes(one.id))

    def _make(self, session: pkcs11.Session, epoch: int) -> Any:
        attribute, may = self._pkcs11.Attribute, self._pkcs11.MechanismFlag
        return session.generate_key(
            self._pkcs11.KeyType.AES,
            8 * KEY_BYTES,
            id=os.urandom(ID_BYTES),
            label=self._label(epoch),
            store=True,
            capabilities=may.ENCRYPT | may.DECRYPT,
            template={attribute.PRIVATE: True, attribute.SENSITIVE: True, attribute.EXTRACTABLE: False},
        )

    def _try_out(self, on_token: Any, epoch: int) -> None:
        """Have the token do what it has just refused to do with other bytes; raises PKCS11Error where it cannot."""
        cipher = self._cipher(epoch, os.urandom(NONCE_BYTES))
        on_token.decrypt(on_token.encrypt(bytes(KEY_BYTES), **cipher), **cipher)

    @contextlib.contextmanager
    def _session(self) -> Iterator[pkcs11.Session]:
        """Be logged in to the token. Raises KeysAway and Misconfigured; the PIN is in no message."""
        pin = secret_of(self._pin, "GRIFFEL_PKCS11_PIN_FILE")
        given = self._pkcs11
        with _ONE_AT_A_TIME:
            library = self._load()
            try:
                with library.get_token(token_label=self._token).open(rw=True, user_pin=pin) as session:
                    yield session
            except given.NoSuchToken as error:
                self._begin_afresh(library)
                raise KeysAway(
                    "no token has the label that GRIFFEL_PKCS11_TOKEN names: plug it in, or correct the label"
                ) from error
            except given.MultipleTokensReturned as error:
                raise Misconfigured("several tokens have the label that GRIFFEL_PKCS11_TOKEN names") from error
            except given.PinLocked as error:
                raise Misconfigured(
                    "the token has locked its PIN: its security officer has to set a new one"
                ) from error
            except (given.PinIncorrect, given.PinInvalid, given.PinLenRange) as error:
                raise Misconfigured(
                    "the token does not take the PIN of GRIFFEL_PKCS11_PIN: correct it before you try again, because "
                    "tokens lock themselves after a few wrong ones"
                ) from error
            except (given.PinExpired, given.UserPinNotInitialized) as error:
                raise Misconfigured(
                    "the token's user has no PIN that is valid: set one with the token's tool"
                ) from error
            except (given.MechanismInvalid, given.MechanismParamInvalid, given.TemplateInconsistent) as error:
                raise Misconfigured("the token cannot do AES-GCM with a 256-bit key of its own") from error
            except (given.TokenWriteProtected, given.SessionReadOnly) as error:
                raise Misconfigured("the token is write-protected: Griffel makes and destroys keys on it") from error
            except given.PKCS11Error as error:
                self._begin_afresh(library)
                raise KeysAway(
                    f"the PKCS#11 token, which holds the root keys, does not answer ({type(error).__name__})"
                ) from error

    def _begin_afresh(self, library: Any) -> None:
        """Have the library forget what it knew of its tokens: the next try looks again."""
        with contextlib.suppress(self._pkcs11.PKCS11Error):
            library.finalize()

    def _load(self) -> Any:
        try:
            return self._pkcs11.lib(str(self._module))
        except self._pkcs11.PKCS11Error as error:
            if not self._module.is_file():
                raise Misconfigured("GRIFFEL_PKCS11_MODULE names a file that is not there") from error
            raise Misconfigured("GRIFFEL_PKCS11_MODULE is not a PKCS#11 library that works here") from error
