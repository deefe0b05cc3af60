"""`griffel serve`."""

from __future__ import annotations

import asyncio
import sys

import click

from lrs.config import Settings, with_settings
from lrs.errors import GriffelError
from lrs.garbage import share_arenas
from lrs.logs import set_up_logs


@click.command()
@with_settings()
def serve(settings: Settings) -> None:
    """Run the record store.

    \b
    An installation without any other server, everything under ./data:
        griffel serve
    On another port and folder:
        griffel serve --data /srv/griffel --host 0.0.0.0 --port 9000
    A cluster, any number of these on any number of machines:
        GRIFFEL_MODE=cluster GRIFFEL_DATABASE_URL=postgresql://… GRIFFEL_KEYS_URL=postgresql://… griffel serve

    At the very first start a credential is made and shown once; `griffel credentials create` makes more. SIGTERM lets
    what is under way finish.
    """
    from lrs import server  # noqa: PLC0415  keeps `griffel --help` quick

    set_up_logs(settings.log_level)

    def tell(line: str) -> None:
        click.echo(line)
        sys.stdout.flush()

    try:
        run_loop(server.serve(settings, tell))
    except GriffelError as error:
        raise click.ClickException(error.detail) from error
    except OSError as error:
        raise click.ClickException(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from error


def run_loop(work: object) -> None:
    """Run a program's main coroutine on the quickest event loop there is."""
    share_arenas()
    try:
        import uvloop  # noqa: PLC0415  not on every platform
    except ImportError:
        asyncio.run(work)  # type: ignore[arg-type]
    else:
        uvloop.run(work)  # type: ignore[arg-type]
