"""Structured logs on standard error: readable on a terminal, one JSON object a line elsewhere."""

import logging
import sys

import structlog

__all__ = ["configure", "get"]

get = structlog.stdlib.get_logger


def configure(level: str = "info", *, terminal: bool | None = None) -> None:
    """Set up logging once per process. Tracebacks come without local variables: those hold prompts and keys."""
    pretty = sys.stderr.isatty() if terminal is None else terminal
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
            if pretty
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper(), logging.INFO)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
