"""Requests to the Hugging Face Hub: retries, files of one commit, and reasons for failures in one line."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
from huggingface_hub import HfApi, constants, get_token, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from paramgen.errors import ParamgenError, one_line

WAITS: Final = (1.0, 2.0, 4.0)
"""Seconds before each further try."""

PATIENCE: Final = 5.0
"""Seconds for the Hub's host, or the proxy before it, to take a connection; one that takes none is not tried again."""

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
FAILURES: Final = (HfHubHTTPError, HFValidationError, httpx2.HTTPError, OSError)
"""What huggingface_hub raises where the Hub, the connection or the disk is at fault."""

_PASSING: Final = (408, 429, 500, 502, 503, 504)
_BROKEN: Final = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)
_Result = TypeVar("_Result")


class Unreachable(ConnectionError):
    """Nobody takes a connection where the Hub should be."""


def patiently(try_: Callable[[], _Result]) -> _Result:
    """Return what `try_` does, which is called again after a while where the fault may pass.

    huggingface_hub tries for minutes to reach a host that is not there, so that is found out first.

    Raises:
        Unreachable: Nobody takes a connection where the Hub should be.
    """
    if not (offline() or reachable()):
        raise Unreachable(f"{constants.ENDPOINT} takes no connection")
    for wait in WAITS:
        try:
            return try_()
        except Exception as error:
            if not passing(error):
                raise
            time.sleep(wait)
    return try_()


def reachable() -> bool:
    """Whether somebody takes a connection where the Hub should be; which is found out once."""
    address = _address()
    if address in _REACHED:
        return True
    reached = threading.Event()

    def connect() -> None:
        with suppress(OSError, UnicodeError), socket.create_connection(address, timeout=PATIENCE):
            reached.set()
        done.set()

    done = threading.Event()
    # Names may take longer to look up than any socket waits; a daemon does not keep the process alive for it.
    threading.Thread(target=connect, name="hub", daemon=True).start()
    done.wait(PATIENCE)
    if reached.is_set():
        _REACHED.add(address)
    return reached.is_set()


_REACHED: Final[set[tuple[str, int]]] = set()


def _address() -> tuple[str, int]:
    """Return host and port of the Hub, or of the proxy that is to be taken."""
    parts = urlsplit(constants.ENDPOINT)
    proxies, host = getproxies(), parts.hostname or ""
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(host):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)


def passing(error: BaseException) -> bool:
    """Whether another try may do better: the connection broke, or the Hub has too much to do."""
    status = status_of(error)
    return status in _PASSING if status is not None else any(isinstance(cause, _BROKEN) for cause in _causes(error))


def status_of(error: BaseException) -> int | None:
    """Return the status of the answer that an error is about."""
    return next((cause.response.status_code for cause in _causes(error) if isinstance(cause, HfHubHTTPError)), None)


def fetch_file(repo: str, file: str, **download: Any) -> Path:
    """Return the path of one file of a repository, from the cache or downloaded."""
    return _fetched(lambda **how: hf_hub_download(repo, file, **download, **how))


def fetch_folder(repo: str, patterns: list[str], *, revision: str | None = None) -> Path:
    """Return the folder of those files at the top of a repository that fit the patterns, all of one commit."""
    return _fetched(lambda **how: snapshot_download(repo, revision=revision, **_at_the_top(patterns), **how))


def _at_the_top(patterns: list[str]) -> dict[str, Any]:
    return {"allow_patterns": patterns, "ignore_patterns": ["*/*"]}  # a pattern's star stands for slashes, too


@final
@dataclass(frozen=True, kw_only=True)
class Missing:
    """What of a repository is not in the cache, and the commit that it was asked at."""

    commit: str
    bytes: int


def missing_of(repo: str, patterns: list[str], *, revision: str | None = None) -> Missing:
    """Return how much `fetch_folder` would download; nothing is downloaded."""
    found = patiently(lambda: snapshot_download(repo, revision=revision, **_at_the_top(patterns), dry_run=True))
    commit = next((file.commit_hash for file in found), "")
    return Missing(commit=commit, bytes=sum(file.file_size for file in found if file.will_download))


def cached_folder(repo: str, patterns: list[str]) -> Path | None:
    """Return what `fetch_folder` would, without asking the Hub; None unless all of it is in the cache."""
    try:
        return Path(snapshot_download(repo, **_at_the_top(patterns), local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def fetch_tree(repo: str, patterns: list[str], *, revision: str | None = None) -> Path:
    """Return the folder of those files of a repository, at any depth, that fit the patterns, all of one commit."""
    return _fetched(lambda **how: snapshot_download(repo, revision=revision, allow_patterns=patterns, **how))


def _fetched(fetch: Callable[..., str]) -> Path:
    """Return what is fetched; where the Hub cannot be reached, from the cache alone."""
    try:
        return Path(patiently(fetch))
    except Unreachable as error:
        try:
            return Path(fetch(local_files_only=True))
        except LocalEntryNotFoundError:
            raise error from None


def files_of(repo: str, *, revision: str | None = None) -> list[str]:
    """Return the names of a repository's files; none where the Hub does not say, as they are only a help."""
    try:
        return list(patiently(lambda: HfApi().list_repo_files(repo, revision=revision)))
    except (*FAILURES, RuntimeError):
        return []


def commit_of(path: Path) -> str | None:
    """Return the commit of a file or folder in huggingface_hub's cache."""
    parts = path.parts
    at = len(parts) - 1 - parts[::-1].index("snapshots") if "snapshots" in parts[:-1] else -1
    return parts[at + 1] if at >= 0 and COMMIT.fullmatch(parts[at + 1]) else None


def reason(error: BaseException, *, absent: str = "its repository has no such file") -> str:
    """Say why the Hub did not do what was requested, without the pages that huggingface_hub writes about it."""
    for cause in _causes(error):
        if (known := _reason(cause, absent)) is not None:
            return known
    said = error.message if isinstance(error, ParamgenError) else str(error)
    return one_line(said.strip().partition("\n")[0]).rstrip(".") or type(error).__name__


def _reason(error: BaseException, absent: str) -> str | None:
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is None:
        return "it is not in the cache, and the Hub is not to be asked"
    if isinstance(error, OfflineModeIsEnabled):
        return "it is not in the cache, and HF_HUB_OFFLINE forbids to ask the Hub"
    if isinstance(error, HfHubHTTPError):
        return _answered(error, absent)
    if isinstance(error, HFValidationError):
        return "that is no name of a Hub repository"
    if isinstance(error, (httpx2.HTTPError, ConnectionError)):
        return "the Hub cannot be reached, or the connection broke"
    if "No space left on device" in str(error):  # Xet has an error without a number for it
        return "the disk is full: free some space, or set HF_HUB_CACHE to another folder, and type the same again"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.lower()}: {error.filename}" if error.filename else error.strerror.lower()
    return None


def _answered(error: HfHubHTTPError, absent: str) -> str:
    """Say what an answer of the Hub means."""
    status = error.response.status_code
    if isinstance(error, GatedRepoError):
        return "the repository is gated, and you were not let in: ask for it on its page, and set HF_TOKEN"
    if status == 401 and (get_token() is not None or not isinstance(error, RepositoryNotFoundError)):
        return "the Hub does not accept the token (HF_TOKEN or the stored login); it may have expired"
    if isinstance(error, RepositoryNotFoundError):
        without = "" if get_token() is not None else " without a token"
        return f"the Hub has no repository of that name that you may read{without}"
    if isinstance(error, RevisionNotFoundError):
        return "the Hub's repository of that name has no such revision"
    if isinstance(error, EntryNotFoundError):
        return absent
    said = one_line(error.server_message or error.response.headers.get("X-Error-Message") or "").rstrip(".")
    if status == 403:
        return f"the token has no right to do that ({said})"
    return f"the Hub answers {status}" + (f" ({said})" if said else "")


def offline() -> bool:
    """Whether the user forbids to ask the Hub."""
    return constants.is_offline_mode()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__
