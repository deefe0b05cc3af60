"""The languages that pages are written in, and what each needs: words, dates, spans of time.

Messages are written in English, in the templates; lrs/locale has one catalogue for each language, read at start as it
stands (.po), so that nothing has to be compiled at installation. A test keeps the catalogues equal to the templates;
`babel.cfg` says how they are brought up to date.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

from babel import Locale
from babel.dates import format_date, format_datetime, format_time, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from babel.support import Translations
from jinja2 import Environment, pass_context
from jinja2.runtime import Context

from schemas.activities import preferred_languages

LOCALE_FOLDER = Path(__file__).parent.parent / "locale"
DOMAIN = "griffel"
LOCALES = {"en": "en_GB", "nl": "nl_NL"}
"""By language: whose dates and numbers its readers expect."""
NAMES = {"en": "English", "nl": "Nederlands"}
DEFAULT = "en"


@dataclass(frozen=True, slots=True)
class Language:
    """One language of the pages: `code` for the address and `lang`, `name` in that language itself."""

    code: str
    name: str
    locale: Locale
    words: Translations

    def time(self, moment: datetime, today: datetime) -> str:
        """Write a moment as a time of day, with its date where it is not the day of `today`; both in one time zone."""
        time = format_time(moment, "HH:mm:ss", locale=self.locale)
        if moment.date() == today.date():
            return time
        return f"{format_date(moment, 'long', locale=self.locale)} {time}"

    def day(self, moment: date) -> str:
        """Write a day: "4 March 2026"."""
        return format_date(moment, "long", locale=self.locale)

    def short_day(self, moment: date) -> str:
        """Write a day in few letters and without its year: "4 Mar"."""
        return format_date(moment, "d MMM", locale=self.locale)

    def month(self, moment: date) -> str:
        """Write a month: "March 2026"."""
        return format_date(moment, "MMMM y", locale=self.locale)

    def short_month(self, moment: date) -> str:
        """Write a month in few letters: "Mar 26"."""
        return format_date(moment, "MMM yy", locale=self.locale)

    def number(self, number: float) -> str:
        """Write a number, in groups of three digits."""
        return format_decimal(number, locale=self.locale)

    def percent(self, share: float) -> str:
        """Write a share in whole percent: all but a little is never written as all, nor a little as nothing."""
        whole = round(share * 100)
        if whole == 100 and share < 1:  # noqa: PLR2004  a hundred percent
            whole = 99
        if whole == 0 and share > 0:
            whole = 1
        return format_percent(whole / 100, locale=self.locale)

    def ago(self, span: timedelta, *, short: bool = False) -> str:
        """Write how long ago something was, in whole units: "2 seconds ago"; short: "2 sec ago"."""
        width: Literal["long", "short"] = "short" if short else "long"
        return format_timedelta(-span, threshold=1, add_direction=True, format=width, locale=self.locale)


@cache
def languages() -> Mapping[str, Language]:
    """Give every language by its code, in the order in which a page offers them. Reads the catalogues once."""
    found = {code: _read(code) for code in LOCALES}
    for language in found.values():
        # Babel reads a locale's data when it is first used; a request should not be what waits for that.
        format_datetime(datetime(2000, 1, 1), "long", locale=language.locale)  # noqa: DTZ001  its text is not used
        language.ago(timedelta(seconds=1))
        language.percent(1)
    return found


def _read(code: str) -> Language:
    with (LOCALE_FOLDER / code / "LC_MESSAGES" / f"{DOMAIN}.po").open("rb") as file:
        catalogue = read_po(file, locale=code, abort_invalid=True)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Language(code, NAMES[code], Locale.parse(LOCALES[code]), Translations(compiled, domain=DOMAIN))


def choose_language(asked: str | None, accept_language: str) -> Language:
    """Give the language to answer in: the one in the address, else the reader's best of ours, else English.

    asked: the value of `?lang=`; accept_language: the header of that name (RFC 9110, 12.5.4), both as they came.
    """
    ours = languages()
    for wanted in (asked or "", *preferred_languages(accept_language)):
        code = wanted.partition("-")[0].lower()
        if code in ours:
            return ours[code]
    return ours[DEFAULT]


def install_words(environment: Environment) -> None:
    """Let templates translate by the `language` of the page that is rendered, not by one for all."""

    @pass_context
    def gettext(context: Context, message: str) -> str:
        return _words(context).gettext(message)

    @pass_context
    def ngettext(context: Context, one: str, many: str, number: int) -> str:
        return _words(context).ngettext(one, many, number)

    environment.add_extension("jinja2.ext.i18n")
    environment.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]


def _words(context: Context) -> Translations:
    language: Language = context["language"]
    return language.words
