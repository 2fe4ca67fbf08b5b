"""Who may send requests, and how many: bearer keys, known by their hashes, or only this machine."""

import hmac
import ipaddress
import time
from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Any, final

from serve.problems import Problem
from serve.settings import Settings

_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_PROXIED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


@final
class Access:
    """Checks keys in constant time, and limits the requests of each with a token bucket."""

    def __init__(self, settings: Settings) -> None:
        self._hashes = settings.keys
        self._per_minute = settings.requests_per_minute
        self._buckets: dict[str, tuple[float, float]] = {}

    def admit(self, scope: Mapping[str, Any], headers: Mapping[str, str]) -> str:
        """Return a short name of the caller.

        Raises:
            Problem: The key is missing or unknown, the request comes from elsewhere, or there are too many requests.

        """
        caller = self._keyed(headers) if self._hashes else self._local(scope, headers)
        self._count(caller)
        return caller

    def _keyed(self, headers: Mapping[str, str]) -> str:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = sha256(key.strip().encode()).hexdigest()
        matches = [hmac.compare_digest(given, known) for known in self._hashes]  # all, whichever matches
        if scheme.lower() != "bearer" or not any(matches):
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "A key is needed that this server knows. Send the header Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )
        return given[:8]

    def _local(self, scope: Mapping[str, Any], headers: Mapping[str, str]) -> str:
        if not _is_loopback((scope.get("server") or ("",))[0]):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "This server has no keys, so it answers on loopback addresses only. Its operator sets "
                "PARAMGEN_SERVE_KEYS.",
            )
        if any(name in headers for name in _PROXIED):  # forwarded for another machine
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "This server has no keys, so it answers nobody who comes through a proxy. Its operator sets "
                "PARAMGEN_SERVE_KEYS.",
            )
        name = headers.get("host", "")
        if name.rpartition(":")[0 if name.rpartition(":")[2].isdecimal() else 2] not in _LOCAL:
            # Else any page in a browser on this machine could ask, under a name that leads here.
            raise Problem(HTTPStatus.FORBIDDEN, "This server has no keys, so it answers to the name localhost only.")
        return "local"

    def _count(self, caller: str) -> None:
        if not self._per_minute:
            return
        now = time.monotonic()
        level, then = self._buckets.get(caller, (float(self._per_minute), now))
        level = min(float(self._per_minute), level + (now - then) * self._per_minute / 60)
        self._buckets[caller] = (max(level - 1, 0) if level >= 1 else level, now)
        if level < 1:
            wait = max(1, round((1 - level) * 60 / self._per_minute))
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"More than {self._per_minute} requests a minute. Try again in {wait} seconds.",
                {"Retry-After": str(wait)},
            )


def _is_loopback(host: str) -> bool:
    if host.startswith("/"):  # a socket in the file system: its permissions decide
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
