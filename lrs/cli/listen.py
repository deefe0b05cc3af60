"""The option of commands that run on and answer health and metrics at an address of their own."""

from __future__ import annotations

import click

listen_option = click.option(
    "--listen",
    envvar="GRIFFEL_LISTEN",
    default="",
    metavar="HOST:PORT",
    help="Answer /health/live, /health/ready and /metrics there, to whoever asks. Default: nowhere.",
)
