"""Counters for Prometheus, and one JSON line to stderr for each request."""

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Final, final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LOGGER: Final = logging.getLogger("paramgen.serve")


@final
class Metrics:
    """The counters of one application."""

    def __init__(self, *, taken: Callable[[], float], spooled: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        labels = ("route", "method", "status")
        self._requests = Counter("paramgen_requests", "Answered requests.", labels, registry=self._registry)
        self._seconds = Histogram(
            "paramgen_request_seconds", "From the request to the last byte.", ("route",), registry=self._registry
        )
        self._sent = Counter("paramgen_sent_bytes", "Bytes of answers.", registry=self._registry)
        gauge = Gauge("paramgen_predictions", "Predictions that run or wait.", registry=self._registry)
        gauge.set_function(taken)
        gauge = Gauge("paramgen_spool_bytes", "Bytes of files that are written or read.", registry=self._registry)
        gauge.set_function(spooled)

    def count(self, *, route: str, method: str, status: int, seconds: float, sent: int) -> None:
        """Count one answered request; `route` is a pattern, so that there are few of them."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        self._sent.inc(sent)

    def text(self) -> bytes:
        """Return what Prometheus reads."""
        return generate_latest(self._registry)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line)


class _Stderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")


def log_to_stderr() -> None:
    """Write our lines, and uvicorn's, as JSON."""
    handler = _Stderr()
    handler.setFormatter(_JsonLines())
    for name in (LOGGER.name, "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn.access").disabled = True  # it writes queries
