"""Find the hypernet of `hypernet:...`: a folder, a published file, or either in a repository of the Hub.

A published file is converted when it is first used. The result stays beside the files that huggingface_hub keeps,
under the version of paramgen and the sha256 of the file.
"""

import re
import shutil
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final, final

from huggingface_hub import cached_assets_path
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from paramgen.errors import ForeignError, HypernetError, OptionError
from paramgen.hub.download import commit_of, files_of, reason
from paramgen.hypernets.hypernet import Hypernet
from paramgen.hypernets.loading import Predictor, load
from paramgen.hypernets.storage import CONFIG, locate, shipped_hypernets
from paramgen.published.convert import convert
from paramgen.published.origin import CONVERSION_RECORD, Origin, read_origin
from paramgen.registry.repository_names import is_repository
from paramgen.storage.digest import cached_sha256

HYPERNET_ADVICE: Final = "Type: --init hypernet for the one that comes with paramgen, or hypernet:FOLDER_FILE_OR_REPO"
_ADDRESS: Final = re.compile(r"([^@:]+)(?:@([^:]*))?(?::(.*))?")
_FILE: Final = re.compile(r"(?:[\w-][\w.-]*/)*[\w-][\w.-]*")
_PUBLISHED: Final = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".joblib")
_SHOWN: Final = 6  # files of a repository in a message


@final
@dataclass(frozen=True, kw_only=True)
class ResolvedHypernet:
    """A hypernet and, if it was converted from one, the published file; where it is the Hub's, `repo` and commit."""

    hypernet: Predictor
    origin: Origin | None
    repo: str | None = None
    revision: str | None = None


def resolve_hypernet(text: str) -> ResolvedHypernet:
    """Return the hypernet of a folder, FILE, REPO[@REVISION] or REPO[@REVISION]:FILE.

    Raises:
        HypernetError: There is none, or it cannot be had.
        ForeignError: The published file is refused.

    """
    path = Path(text)
    if path.is_dir():
        return _kept(text, load(text))
    if path.is_file():
        return _converted(path, file=path.name)
    match = _ADDRESS.fullmatch(text)
    known = match is not None and is_repository(match[1], with_owner=False)
    if match is None or not known or (match[3] is None and text.endswith(_PUBLISHED)):
        raise HypernetError(f"No hypernet {text!r}: there is no such folder or file. {HYPERNET_ADVICE}")
    repo, revision, file = match.groups()
    if "/" not in repo:  # the Hub has such names for a few old models only
        raise HypernetError(
            f"No hypernet {text!r}: there is no such folder or file, and a repository of the Hub is org/name. With "
            f"paramgen come {', '.join(shipped_hypernets())}. {HYPERNET_ADVICE}"
        )
    if revision == "":
        raise OptionError(f"{text!r} has an empty revision. Type: --init hypernet:org/repo@revision")
    if file is None:
        return _of_repository(text, repo, revision)
    if not _FILE.fullmatch(file):
        raise OptionError(f"{text!r} names no file of a repository. Type: --init hypernet:org/repo:file.pt")
    return _of_file(text, repo, revision, file)


def _of_repository(text: str, repo: str, revision: str | None) -> ResolvedHypernet:
    """Return the hypernet of a repository; all its files are of the commit that the first one is of."""
    try:
        commit = commit_of(locate(repo, CONFIG, revision=revision)) or revision
    except HypernetError as error:
        cause = error.__cause__ or error
        if _is_missing(cause):
            _refuse_published(text, repo, revision)
        why = reason(cause, absent="the Hub's repository of that name holds no hypernet")
        raise HypernetError(f"No hypernet {text!r}: there is no such folder, and {why}. {HYPERNET_ADVICE}") from error
    try:
        return replace(_kept(repo, load(repo, revision=commit), commit), repo=repo, revision=commit)
    except HypernetError:
        _refuse_published(text, repo, commit)
        raise


def _is_missing(cause: BaseException) -> bool:
    """Whether the Hub has the repository but not the file. huggingface_hub 0.x has no class for that alone."""
    return isinstance(cause, EntryNotFoundError) and not isinstance(cause, LocalEntryNotFoundError)


def _of_file(text: str, repo: str, revision: str | None, file: str) -> ResolvedHypernet:
    """Return the hypernet of a published file on the Hub."""
    try:
        path = locate(repo, file, revision=revision)
    except HypernetError as error:
        why = reason(error.__cause__ or error, absent=f"the Hub's repository of that name has no file {file!r}")
        raise HypernetError(f"No hypernet {text!r}: {why}. {HYPERNET_ADVICE}") from error
    commit = commit_of(path)
    return replace(_converted(path, file=file, repo=repo, revision=commit), revision=commit)


def _converted(path: Path, *, file: str, repo: str | None = None, revision: str | None = None) -> ResolvedHypernet:
    """Return the hypernet of a published file, converted now or before, and as what it is known here."""
    folder = cached_assets_path("paramgen", "converted", version("paramgen")) / cached_sha256(path)
    found = _cached(folder)
    if found is None:
        shutil.rmtree(folder, ignore_errors=True)  # what is spoilt there: a folder of our own
        convert(path, folder, overwrite=True)
        found = _read(folder)
    hypernet, origin = found
    return ResolvedHypernet(
        hypernet=hypernet, origin=replace(origin, file=file, repo=repo, revision=revision), repo=repo
    )


def _cached(folder: Path) -> tuple[Hypernet, Origin] | None:
    """Return what was converted before; None where it was not, or was spoilt."""
    if not (folder / CONVERSION_RECORD).is_file():
        return None
    try:
        return _read(folder)
    except (HypernetError, ForeignError):
        return None


def _read(folder: Path) -> tuple[Hypernet, Origin]:
    hypernet = Hypernet.from_pretrained(folder)
    return hypernet, read_origin(folder / CONVERSION_RECORD, parameters=_parameters(hypernet))


def _kept(name: str, hypernet: Predictor, revision: str | None = None) -> ResolvedHypernet:
    """Return a hypernet with what its folder or repository says about its origin."""
    if not isinstance(hypernet, Hypernet) or hypernet.config.vocabulary != "published":
        return ResolvedHypernet(hypernet=hypernet, origin=None)
    try:
        record = locate(name, CONVERSION_RECORD, revision=revision)
    except HypernetError as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, EntryNotFoundError):
            raise
        return ResolvedHypernet(hypernet=hypernet, origin=None)  # it was trained here
    return ResolvedHypernet(hypernet=hypernet, origin=read_origin(record, parameters=_parameters(hypernet)))


def _parameters(hypernet: Hypernet) -> int:
    return sum(parameter.numel() for parameter in hypernet.parameters())


def _refuse_published(text: str, repo: str, revision: str | None) -> None:
    """Refuse a repository of published files, if it is one, with their names."""
    names = files_of(repo, revision=revision)
    files = sorted((name for name in names if name.endswith(_PUBLISHED)), key=lambda name: (name.count("/"), name))
    if not files:
        return
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    raise HypernetError(
        f"No hypernet {text!r}: the repository holds published files, of which one is to be named: "
        f"{', '.join(files[:_SHOWN])}{more}. Type: --init hypernet:{text}:{files[0]}"
    )
