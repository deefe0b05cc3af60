"""What the commands that speak to an xAPI endpoint have in common: options, messages, exit codes.

Exit codes: 0 done; 1 done, but statements were refused; 2 a wrong command line; 3 stopped before the end, and the same
command goes on from there; 130 interrupted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Final, TypeVar

import click

from lrs.cli.xapi_client import Endpoint, EndpointError, Refused, endpoint_url

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:8080/xapi"
EXIT_REJECTS: Final = 1
EXIT_STOPPED: Final = 3

F = TypeVar("F", bound=Callable[..., Any])


class Stopped(click.ClickException):
    """The command could not go on."""

    exit_code = EXIT_STOPPED


def endpoint_address(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Bring an endpoint's address into its one form; the message never repeats it, for it may hold a secret."""
    try:
        return endpoint_url(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error


def instant(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Take an instant in RFC 3339 with its time zone, or a date, which is its first instant in UTC."""
    if value is None:
        return None
    text = value.strip()
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter("give an instant as 2026-09-07T08:00:00Z, or a date as 2026-09-07.") from error
    if len(text) == len("2026-09-07"):
        return f"{text}T00:00:00Z"
    if read.tzinfo is None:
        raise click.BadParameter("the instant needs its time zone: a Z for UTC, or +02:00 at its end.")
    return text


def endpoint_options(flag: str, what: str) -> Callable[[F], F]:
    """Add the options that name an endpoint, the credential for it, and how to speak to it.

    Args:
        flag: `--to` or `--from`.
        what: what the endpoint is for this command, for the help.
    """
    options = [
        click.option(
            flag,
            "endpoint",
            metavar="URL",
            callback=endpoint_address,
            default=DEFAULT_ENDPOINT,
            envvar="GRIFFEL_ENDPOINT",
            show_default=True,
            show_envvar=True,
            help=f"{what}, as content would be given it.",
        ),
        click.option("--key", envvar="GRIFFEL_KEY", show_envvar=True, help="Key of a credential for it."),
        click.option(
            "--secret",
            envvar="GRIFFEL_SECRET",
            show_envvar=True,
            help="Secret of that credential. Better in the environment than here, where other users of the machine and "
            "the shell's history see it.",
        ),
        click.option(
            "--xapi-version",
            type=click.Choice(["1.0.3", "2.0.0"]),
            envvar="GRIFFEL_XAPI_VERSION",
            show_envvar=True,
            help="Version of xAPI to speak.  [default: the newest that the endpoint's about resource names]",
        ),
        click.option(
            "--patience",
            "patience_s",
            type=click.FloatRange(min=0),
            default=600,
            envvar="GRIFFEL_PATIENCE",
            show_default=True,
            show_envvar=True,
            help="For how many seconds one request is repeated while the endpoint is busy or away.",
        ),
    ]

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def endpoint_of(url: str, key: str | None, secret: str | None) -> Endpoint:
    """Put an endpoint together; a usage error where half of the credential is missing."""
    if key is None or secret is None:
        raise click.UsageError(
            "A credential is needed: --key and --secret, or GRIFFEL_KEY and GRIFFEL_SECRET. "
            "`griffel credentials create --scope all` makes one."
        )
    return Endpoint(url, key, secret)


T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work to its end and turn what went wrong into a sentence and an exit code."""
    try:
        return asyncio.run(work)
    except Refused as error:
        raise Stopped(f"The endpoint refused the request with {error}.") from error
    except EndpointError as error:
        raise Stopped(str(error)) from error
    except OSError as error:
        raise Stopped(f"{error.strerror or type(error).__name__}: {error.filename or 'input or output'}") from error
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        raise click.exceptions.Exit(130) from None
