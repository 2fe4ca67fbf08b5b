"""Repositories on disk as the Hub keeps them: files by their digest, commits with a tree each, branches, pull requests.

```
ROOT/accounts.json                          what each token may do
ROOT/models/OWNER/NAME/repository.json      whether private or gated, and the commit of each ref
ROOT/models/OWNER/NAME/commits/OID.json     parent, title, and every file of the tree
ROOT/models/OWNER/NAME/blobs/SHA256         content
ROOT/xet/                                   what hf_xet puts there: a store of its own on this disk
```
"""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha1, sha256
from pathlib import Path
from threading import RLock
from typing import Any

ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.pt filter=lfs diff=lfs merge=lfs -text\n"
LARGE = (".safetensors", ".pt", ".bin", ".png")
XET_HEADER = 48  # bytes of a shard's head and of each of its records


@dataclass(frozen=True)
class Account:
    """What a token stands for."""

    name: str
    organizations: tuple[str, ...] = ()
    writes: bool = True

    def may_write(self, repo: str) -> bool:
        """Whether it may change a repository."""
        return self.writes and repo.partition("/")[0] in (self.name, *self.organizations)


ACCOUNTS = {
    "hf_me": Account("me", ("lab",)),
    "hf_reader": Account("me", ("lab",), writes=False),
    "hf_other": Account("other"),
}


@dataclass(frozen=True)
class Entry:
    """One file of a tree."""

    oid: str  # git's
    size: int
    sha256: str
    large: bool
    xet: str | None = None


@dataclass
class Repository:
    """One repository; `refs` names a commit for `main`, other branches, `tags/v1` and `refs/pr/1`."""

    folder: Path
    private: bool = False
    gated: bool = False
    readers: list[str] = field(default_factory=list)  # accounts that were let into a gated one
    refs: dict[str, str] = field(default_factory=dict)

    def save(self) -> None:
        """Write what may change; a reader sees the old or the new."""
        values = {name: value for name, value in vars(self).items() if name != "folder"}
        partial = self.folder / "repository.partial"
        partial.write_text(json.dumps(values))
        partial.replace(self.folder / "repository.json")

    def commit_of(self, revision: str) -> str | None:
        """Return the commit of a branch, a tag, a pull request or a commit."""
        for name in (revision, f"tags/{revision}", f"refs/{revision}", revision.removeprefix("refs/heads/")):
            if name in self.refs:
                return self.refs[name]
        return revision if (self.folder / "commits" / f"{revision}.json").is_file() else None

    def tree(self, commit: str) -> dict[str, Entry]:
        """Return the files of a commit."""
        return {path: Entry(**entry) for path, entry in self.record(commit)["files"].items()}

    def record(self, commit: str) -> dict[str, Any]:
        """Return what was written down of a commit."""
        return json.loads((self.folder / "commits" / f"{commit}.json").read_text())

    def history(self, revision: str = "main") -> list[str]:
        """Return the commits of a ref, the newest first."""
        found, commit = [], self.commit_of(revision)
        while commit is not None:
            found.append(commit)
            commit = self.record(commit)["parent"]
        return found

    def blob(self, digest: str) -> Path:
        """Return where the content of that digest is, or would be."""
        return self.folder / "blobs" / digest

    def put(self, data: bytes, *, large: bool) -> Entry:
        """Keep content and return its entry."""
        digest = sha256(data).hexdigest()
        partial = self.folder / "blobs" / f"{digest}.partial"
        partial.write_bytes(data)
        partial.replace(self.blob(digest))
        return self.entry(digest, large=large)

    def entry(self, digest: str, *, large: bool, xet: str | None = None) -> Entry:
        """Return the entry of kept content."""
        data = self.blob(digest).read_bytes()
        content = pointer(digest, len(data)) if large else data
        return Entry(git_oid(content), len(data), digest, large, xet)

    def commit(
        self, ref: str, changes: Mapping[str, Entry | None], *, title: str = "commit", parent: str | None = None
    ) -> str:
        """Put a commit on a ref; files whose entry is None are removed."""
        parent = parent or self.refs.get(ref)
        files = {} if parent is None else self.record(parent)["files"]
        for path, entry in changes.items():
            files.pop(path, None)
            if entry is not None:
                files[path] = asdict(entry)
        record = {"parent": parent, "title": title, "date": time.time_ns(), "files": files}
        text = json.dumps(record)
        oid = sha1(text.encode()).hexdigest()
        (self.folder / "commits" / f"{oid}.json").write_text(text)
        self.refs[ref] = oid
        self.save()
        return oid


class Store:
    """Every repository below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = RLock()
        self.root.mkdir(parents=True, exist_ok=True)
        accounts = root / "accounts.json"
        if not accounts.is_file():
            accounts.write_text(json.dumps({token: asdict(account) for token, account in ACCOUNTS.items()}))

    def account(self, token: str | None) -> Account | None:
        """Return whose token it is; None where it is nobody's."""
        known = json.loads((self.root / "accounts.json").read_text())
        return Account(**known[token]) if token in known else None

    def find(self, name: str, kind: str = "model") -> Repository | None:
        """Return a repository, if there is one."""
        folder = self.root / f"{kind}s" / name
        if not (folder / "repository.json").is_file():
            return None
        return Repository(folder, **json.loads((folder / "repository.json").read_text()))

    def __getitem__(self, name: str) -> Repository:
        found = self.find(name)
        assert found is not None, name
        return found

    def create(self, name: str, *, kind: str = "model", private: bool = False, gated: bool = False) -> Repository:
        """Make a repository with its first commit."""
        repository = Repository(self.root / f"{kind}s" / name, private=private, gated=gated)
        for folder in ("commits", "blobs"):
            (repository.folder / folder).mkdir(parents=True)
        repository.commit("main", {".gitattributes": repository.put(ATTRIBUTES, large=False)}, title="initial commit")
        return repository

    def fill(self, name: str, files: Mapping[str, bytes], **settings: Any) -> Repository:
        """Make or change a repository in one commit."""
        repository = self.find(name) or self.create(name, **settings)
        changes = {path: repository.put(data, large=path.endswith(LARGE)) for path, data in files.items()}
        repository.commit("main", changes)
        return repository

    def from_xet(self, repository: Repository, digest: str) -> str | None:
        """Copy a file out of hf_xet's store, if it is there whole, and return its hash there."""
        found = next((entry for entry in xet_files(self.root / "xet") if entry[1] == digest), None)
        if found is None:
            return None
        from hf_xet import XetFileInfo, XetSession

        partial = repository.folder / "blobs" / f"{digest}.xet"
        access = {"token": "t", "token_expiry_unix_secs": int(time.time()) + 3600}
        with XetSession().new_file_download_group(endpoint=f"local://{self.root / 'xet'}", **access) as group:
            group.start_download_file(XetFileInfo(found[0], None), str(partial))
        if sha256(partial.read_bytes()).hexdigest() != digest:
            partial.unlink()
            return None
        partial.replace(repository.blob(digest))
        return found[0]


def git_oid(data: bytes) -> str:
    """Return git's name of a blob."""
    return sha1(b"blob %d\0" % len(data) + data).hexdigest()


def pointer(digest: str, size: int) -> bytes:
    """Return what git keeps of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n".encode()


def xet_files(folder: Path) -> Iterable[tuple[str, str]]:
    """Yield hash and sha256 of every file that the finished shards of hf_xet describe."""
    for shard in sorted(folder.glob("xet/xorbs/shards/*.mdb")):
        data, at = shard.read_bytes(), XET_HEADER
        while (head := data[at : at + XET_HEADER]) and head[:32] != b"\xff" * 32:
            flags, entries = (int.from_bytes(head[begin : begin + 4], "little") for begin in (32, 36))
            entries *= 2 if flags & 1 << 31 else 1  # a record of verification for each
            at += XET_HEADER * (1 + entries)
            if flags & 1 << 30:  # a record that holds the sha256
                yield _hexadecimal(head[:32]), _hexadecimal(data[at : at + 32])
                at += XET_HEADER


def _hexadecimal(words: bytes) -> str:
    """Return a digest that is kept as four little-endian numbers."""
    return b"".join(words[begin : begin + 8][::-1] for begin in range(0, 32, 8)).hex()
