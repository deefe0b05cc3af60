"""Logs: structured, on standard error, and never with anything that a client sent.

Request lines are not logged at all: a query string can hold a mailbox. Errors are logged by kind and place.
"""

from __future__ import annotations

import logging
import sys

import structlog

_LOUD = ("aiohttp.access", "aiohttp.server", "aiohttp.web", "asyncio", "psycopg", "psycopg.pool", "kafka")
"""Libraries whose messages may quote what was sent or stored: of theirs only kind and level are kept."""


class _KindOnly(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[0] if record.exc_info else None
        record.msg = f"{record.name}: {error.__name__ if error else record.levelname.lower()}"
        record.args = ()
        record.exc_info = None
        record.exc_text = None
        record.stack_info = None
        return record.levelno >= logging.WARNING


def set_up_logs(level: str) -> None:
    """Send this process's logs to standard error: JSON lines, or in colour for a person at a terminal."""
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_logger_name,
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _LOUD:
        logger = logging.getLogger(name)
        logger.filters[:] = [_KindOnly()]
    if root.level > logging.DEBUG:
        # Kafka's client tells of every connection that it makes and closes.
        logging.getLogger("kafka").setLevel(max(root.level, logging.WARNING))
    logging.getLogger("aiohttp.access").disabled = True
