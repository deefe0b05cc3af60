"""IRIs, mail addresses as IRIs, and media types: texts whose form is checked as far as xAPI Data 2.2 asks.

xAPI leaves the depth of the check to the store ("best effort"). Checked here: a scheme, something after it, a host
where the scheme is http or https, and none of the characters that RFC 3987 allows nowhere.
"""

from __future__ import annotations

import re
from typing import Any

from schemas.errors import InvalidInput

IRI_LENGTH_MAX = 8_192
MAILBOX_LENGTH_MAX = 1_024
MEDIA_TYPE_LENGTH_MAX = 1_024
KNOWN_IRIS_MAX = 4_096
KNOWN_IRI_LENGTH_MAX = 256

_ALLOWED = r"[!#-;=?-\[\]_a-z~\xa0-\ud7ff\ue000-\U0010ffff]"
_IRI = re.compile(rf"(?:https?://(?![/?#])|(?!(?i:https?):(?!//[^/?#]))[A-Za-z][A-Za-z0-9+.-]*+:){_ALLOWED}++")
_MAILBOX = re.compile(r'mailto:[^\x00-\x20\x7f-\x9f<>"{}|\\^`@?]++@[^\x00-\x20\x7f-\x9f<>"{}|\\^`@?/]++')
_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]++"
_MEDIA_TYPE = re.compile(rf"{_WORD}/{_WORD}(?:[ \t]*+;[^\x00-\x08\x0a-\x1f\x7f]*+)?")

_known: set[str] = set()


def check_iri(value: Any) -> None:
    """Raise InvalidInput if value is not an IRI (xAPI Data 4.3). The same check holds for IRLs and URIs."""
    if type(value) is not str:
        raise InvalidInput("This must be a string that holds an IRI.")
    if len(value) > IRI_LENGTH_MAX or not _IRI.fullmatch(value):
        raise InvalidInput(f"This must be an IRI with a scheme, of at most {IRI_LENGTH_MAX} characters.")


def check_known_iri(value: Any) -> None:
    """Do what `check_iri` does, and remember what passed: for the words of a vocabulary, which come again and again.

    Not for the ids of people, accounts and activities: those may be personal, and nothing personal is kept here.
    """
    if type(value) is str and value in _known:
        return
    check_iri(value)
    if len(value) <= KNOWN_IRI_LENGTH_MAX:
        if len(_known) >= KNOWN_IRIS_MAX:
            _known.clear()
        _known.add(value)


def check_mailbox(value: Any) -> None:
    """Raise InvalidInput if value is not `mailto:` and one mail address (xAPI Data 2.4.2.3)."""
    if type(value) is not str or len(value) > MAILBOX_LENGTH_MAX or not _MAILBOX.fullmatch(value):
        raise InvalidInput("This must be a string: mailto: and one mail address.")


def check_media_type(value: Any) -> None:
    """Raise InvalidInput if value is not an Internet media type, with or without parameters (RFC 2045)."""
    if type(value) is not str or len(value) > MEDIA_TYPE_LENGTH_MAX or not _MEDIA_TYPE.fullmatch(value):
        raise InvalidInput("This must be a string: a media type, such as text/plain.")
