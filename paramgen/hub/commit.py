"""A folder becomes one commit of a Hub repository, or the repository stays as it was.

Large files go first and are invisible until a commit names them; what the Hub has already is not sent again. The
commit is pinned to the head that was seen at the start. Afterwards the files on the Hub are compared with ours.
"""

import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha1
from pathlib import Path
from typing import Any, Final, final

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile

from paramgen.errors import HubError
from paramgen.hub.download import COMMIT, FAILURES, offline, passing, patiently, reason, status_of
from paramgen.hub.hub_internals import is_left_out, unsent
from paramgen.hub.kinds import is_hypernet
from paramgen.hub.pushed import Pushed
from paramgen.storage.digest import file_sha256
from paramgen.storage.folder import MARK

MAIN: Final = "main"
PIPELINE: Final = "model_index.json"
"""The file by which the folder of a pipeline is known."""

_WEIGHTS: Final = (".safetensors", ".safetensors.index.json")
_BRANCH: Final = re.compile(r"(?!.*(?:\.\.|//|@\{))[\w][\w./-]*")
_LOGIN: Final = "Type: hf auth login, or set HF_TOKEN to a token with the right to write"
_AGAIN: Final = "Type the same command again: what has arrived is not sent twice"
_OTHERS: Final = (
    "{} holds other weights, which would be replaced. Type another repository, or --revision with a new branch"
)
_MOVED: Final = (409, 412)

Progress = Callable[[str, int, int], None]
"""Called with what is done, and the bytes that are done and to be done."""


@final
@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to push: a model repository, its branch or a pull request, and whether everybody may see it."""

    repo: str
    public: bool = False
    revision: str | None = None
    pr: bool = False


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class _Remote:
    """A repository as it was seen: the head that is built upon, and its files."""

    head: str
    private: bool
    files: Mapping[str, RepoFile]
    branch: bool = True  # whether there is the branch that is pushed to


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class _Local:
    """A file of the folder as it was when the push began."""

    path: Path
    size: int
    sha256: str

    def is_at(self, file: RepoFile | None) -> bool:
        """Whether the file on the Hub is the same byte for byte."""
        if file is None or file.size != self.size:
            return False
        if file.lfs is not None:
            return bool(file.lfs.sha256 == self.sha256)
        data = self.path.read_bytes()
        return bool(file.blob_id == sha1(b"blob %d\0" % len(data) + data).hexdigest())


def checked_target(target: Target) -> Target:
    """Return the target with its full name, or say why nothing can be pushed there; nothing is changed yet."""
    target, api = _named(target), HfApi()
    with _explained(target):
        _refuse(target, _look(api, target))
    return target


def push(files: Mapping[str, Path], target: Target, *, message: str, progress: Progress | None = None) -> Pushed:
    """Make the repository hold `files` by one commit, or change nothing.

    Other files of the repository stay; weights that are not among ours go, as a library could take them for ours.
    """
    target, api = _named(target), HfApi()
    local = {name: _read(path) for name, path in sorted(files.items())}
    with _explained(target):
        remote = _look(api, target)
        created = remote is None
        if remote is None:
            remote = _create(api, target)
        _refuse(target, remote, files)
        if not target.pr and remote.branch and _kind(remote.files) == _kind(files) == "other":
            _refuse_others(api, target, remote)
        return _Push(api, target, local, remote, created).run(message, progress or (lambda *_: None))


@final
class _Push:
    """One push into a repository that is there."""

    def __init__(self, api: HfApi, target: Target, local: Mapping[str, _Local], remote: _Remote, created: bool) -> None:
        self._api, self._target, self._local, self._remote, self._created = api, target, local, remote, created
        self._changed = {name: file for name, file in local.items() if not file.is_at(remote.files.get(name))}
        self._stale = sorted(_weights(remote.files) - local.keys())

    def run(self, message: str, progress: Progress) -> Pushed:
        """Upload, commit, compare."""
        operations: list[CommitOperationAdd | CommitOperationDelete] = []
        sent = sum(self._changed[name].size for name in self._unknown())
        operations += self._upload(progress)
        operations += [CommitOperationDelete(name, is_folder=False) for name in self._stale]
        if not self._remote.branch:
            self._make_branch()
        if not operations:
            return self._pushed(self._remote.head, sent=0)
        progress("Committing", 0, 0)
        oid, revision = self._commit(operations, message)
        done = replace(self._pushed(oid, sent=sent), committed=True, revision=revision, url=self._page(revision))
        return replace(done, compared=self._compare(oid))

    def _unknown(self) -> list[str]:
        """Return the names of files whose content the Hub does not have, from whichever push it may be."""
        wanted = {file.sha256: name for name, file in self._changed.items() if name.endswith(_WEIGHTS[0])}
        if not wanted:
            return list(self._changed)
        sizes = {digest: self._changed[name].size for digest, name in wanted.items()}
        missing = patiently(lambda: unsent(sizes, self._target.repo, self._api.endpoint))
        known = {name for digest, name in wanted.items() if digest not in missing}
        return [name for name in self._changed if name not in known]

    def _upload(self, progress: Progress) -> list[CommitOperationAdd]:
        """Send what is large, one after the other, and return what the commit is to add."""
        additions = [CommitOperationAdd(name, file.path) for name, file in self._changed.items()]
        total, done = sum(file.size for file in self._changed.values()), 0
        for addition in additions:
            progress(f"Uploading {addition.path_in_repo}", done, total)
            self._send(addition)
            done += addition.upload_info.size
        return additions

    def _send(self, addition: CommitOperationAdd) -> None:
        name = addition.path_in_repo
        patiently(
            lambda: self._api.preupload_lfs_files(
                self._target.repo,
                [addition],
                revision=self._branch if self._remote.branch else MAIN,
                create_pr=self._target.pr,
                free_memory=False,
            )
        )
        if addition.upload_info.sha256.hex() != self._local[name].sha256:
            raise HubError(f"{str(self._local[name].path)!r} was changed while it was pushed. {_AGAIN}")
        if is_left_out(addition):  # huggingface_hub would leave it out without a word
            raise HubError(f"The .gitignore of {self._target.repo!r} leaves out {name!r}. Type another repository")

    def _make_branch(self) -> None:
        patiently(
            lambda: self._api.create_branch(
                self._target.repo, branch=self._branch, revision=self._remote.head, exist_ok=True
            )
        )

    def _commit(self, operations: list[CommitOperationAdd | CommitOperationDelete], message: str) -> tuple[str, str]:
        """Return the commit and its branch or pull request; an answer that is lost does not make two of them."""

        def try_() -> tuple[str, str]:
            try:
                made: CommitInfo = self._api.create_commit(
                    self._target.repo,
                    operations,
                    commit_message=message,
                    revision=self._branch,
                    create_pr=self._target.pr,
                    parent_commit=self._remote.head,
                )
            except FAILURES as error:
                landed = patiently(self._landed) if passing(error) else None
                if landed is None:
                    raise
                return landed
            return made.oid, made.pr_revision or self._branch

        try:
            return patiently(try_)
        except FAILURES as error:
            if status_of(error) not in _MOVED:
                raise
            raise HubError(
                f"{self._target.repo!r} has changed since this push began, so nothing was committed. Look at "
                f"{self._page(self._branch)}, then type the same command again"
            ) from error

    def _landed(self) -> tuple[str, str] | None:
        """Return the commit that has our files, if it was made and only the answer was lost."""
        refs = self._api.list_repo_refs(self._target.repo, include_pull_requests=True)
        opened = {ref.ref: ref.target_commit for ref in refs.pull_requests or ()}
        heads = {ref.name: ref.target_commit for ref in refs.branches} | opened
        for name in opened if self._target.pr else [self._branch]:
            head = heads.get(name, self._remote.head)
            if head != self._remote.head and self._wrong(head) is None:
                return head, name
        return None

    def _wrong(self, commit: str) -> str | None:
        """Return the name of a file that is not at a commit as it is here."""
        there = _tree(self._api, self._target.repo, commit)
        return next((name for name, file in self._local.items() if not file.is_at(there.get(name))), None)

    def _compare(self, commit: str) -> bool:
        """Refuse a commit that is not what is here; return whether the Hub answered at all."""
        try:
            name = patiently(lambda: self._wrong(commit))
        except FAILURES:
            return False
        if name is not None:
            raise HubError(f"{self._target.repo!r} does not hold {name!r} as it is here, at commit {commit}. {_AGAIN}")
        return True

    def _pushed(self, commit: str, *, sent: int) -> Pushed:
        files = {name: file.size for name, file in self._local.items()}
        return Pushed(
            repo=self._target.repo,
            url=self._page(self._branch),
            revision=self._branch,
            commit=commit,
            created=self._created,
            committed=False,
            compared=True,
            private=self._remote.private,
            files=files,
            sent=sent,
            known=sum(files.values()) - sent,
        )

    @property
    def _branch(self) -> str:
        return self._target.revision or MAIN

    def _page(self, revision: str) -> str:
        page = f"{self._api.endpoint}/{self._target.repo}"
        if revision == MAIN:
            return page
        opened = revision.removeprefix("refs/pr/")
        return f"{page}/tree/{revision}" if opened == revision else f"{page}/discussions/{opened}"


def _named(target: Target) -> Target:
    """Return the target with its full name, if it can be one and there is a token."""
    if target.revision is not None and (COMMIT.fullmatch(target.revision) or not _BRANCH.fullmatch(target.revision)):
        raise HubError(
            f"Cannot push to the revision {target.revision!r}; allowed is a branch. Type: --revision predicted"
        )
    if target.repo.partition("/")[0] in ("datasets", "spaces", "models") and target.repo.count("/") == 2:
        raise HubError(f"Cannot push to {target.repo!r}; allowed are model repositories. Type a name: OWNER/NAME")
    if offline():
        raise HubError("HF_HUB_OFFLINE is set, so nothing can be pushed. Type: unset HF_HUB_OFFLINE")
    if get_token() is None:
        raise HubError(f"Cannot push to {target.repo!r}: there is no token. {_LOGIN}")
    if "/" in target.repo:
        return target
    with _explained(target):
        return replace(target, repo=f"{patiently(HfApi().whoami)['name']}/{target.repo}")


def _look(api: HfApi, target: Target) -> _Remote | None:
    """Return the repository as it is now; None where there is none."""
    branch = True
    try:
        info = patiently(lambda: api.model_info(target.repo, revision=target.revision))
    except RevisionNotFoundError:
        if target.pr or target.revision is None or target.revision.startswith("refs/"):
            raise
        info, branch = patiently(lambda: api.model_info(target.repo)), False
    except RepositoryNotFoundError as error:
        if status_of(error) != 404 or target.pr:
            raise
        return None
    if info.sha is None:
        raise HubError(f"{target.repo!r} has no commit to build upon. Type another repository")
    files = patiently(lambda: _tree(api, target.repo, str(info.sha)))
    return _Remote(head=info.sha, private=bool(info.private), files=files, branch=branch)


def _create(api: HfApi, target: Target) -> _Remote:
    """Make the repository; it has nothing but what the Hub puts there until the commit."""
    patiently(lambda: api.create_repo(target.repo, private=not target.public, exist_ok=True))
    remote = _look(api, target)
    if remote is None:
        raise HubError(f"The name {target.repo!r} is taken by what you may not read. Type another name")
    return remote


def _tree(api: HfApi, repo: str, commit: str) -> dict[str, RepoFile]:
    found = api.list_repo_tree(repo, recursive=True, revision=commit)
    return {file.path: file for file in found if isinstance(file, RepoFile)}


def _refuse(target: Target, remote: _Remote | None, files: Mapping[str, Path] | None = None) -> None:
    """Refuse to show everybody what was not to be shown, and to put weights where weights of another kind are."""
    if remote is None:
        return
    there = _kind(remote.files)
    replaced = files is not None and remote.branch and not target.pr and there is not None
    if not remote.private and not target.public:
        raise HubError(f"{target.repo!r} is public: everybody could see what is pushed there. Type: --public, if so")
    if replaced and there != _kind(files or {}):
        raise HubError(_OTHERS.format(repr(target.repo)))


def _refuse_others(api: HfApi, target: Target, remote: _Remote) -> None:
    """Refuse to put a hypernet where something else is that has its weights in files of the same names."""
    config: Any = {}
    if "config.json" in remote.files:
        path = patiently(lambda: api.hf_hub_download(target.repo, "config.json", revision=remote.head))
        with suppress(ValueError):
            config = json.loads(Path(path).read_bytes())
    if not is_hypernet(config):
        raise HubError(_OTHERS.format(repr(target.repo)))


def _kind(names: Mapping[str, Any]) -> str | None:
    """Return the kind of a repository by the names of its files: a prediction, a pipeline or other weights."""
    if MARK in names:
        return "prediction"
    if PIPELINE in names:
        return "pipeline"
    return "other" if _weights(names) else None


def _weights(names: Mapping[str, Any]) -> set[str]:
    """Return the files at the top in which a library finds weights."""
    return {name for name in names if name.endswith(_WEIGHTS) and "/" not in name}


def _read(path: Path) -> _Local:
    return _Local(path=path, size=path.stat().st_size, sha256=file_sha256(path))


@contextmanager
def _explained(target: Target) -> Iterator[None]:
    """Say in one line why the Hub was not changed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the Hub, about metadata
            yield
    except HFValidationError as error:
        raise HubError(
            f"{target.repo!r} is no name of a repository; allowed are letters, digits and . _ - in OWNER/NAME. "
            "Type: me/vit-init"
        ) from error
    except (*FAILURES, RuntimeError, ValueError) as error:  # the last two are how uploads fail
        advice = {401: _LOGIN, 403: "Get that right, or type a repository of your own"}.get(
            status_of(error) or 0, _AGAIN
        )
        raise HubError(f"Cannot push to {target.repo!r}: {reason(error)}. {advice}") from error
