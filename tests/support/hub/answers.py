"""What the Hub answers to each request, and to whom it refuses what.

Anonymous requests for what is private or absent get 401, those of others 404; a token that is not known gets 401.
"""

import json
import re
import time
from base64 import b64decode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tests.support.hub.store import LARGE, Account, Entry, Repository

if TYPE_CHECKING:
    from tests.support.hub.server import Hub

NAME = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9][\w.-]{0,95}(?<![.-])")
TOKEN = "Invalid credentials in Authorization header"
MOVED = "A commit has happened since. Please refresh and try again."
SAID = {401: TOKEN, 409: "A conflict", 412: MOVED, 429: "Too many requests", 503: "Service unavailable"}
LARGEST = 5_000_000  # bytes of a file that is kept as git keeps files


@dataclass
class Answer:
    """Status, headers and body."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Asked:
    """One request, taken apart."""

    hub: "Hub"
    method: str
    parts: dict[str, str]
    query: dict[str, list[str]]
    headers: Any
    body: bytes

    @property
    def token(self) -> str | None:
        """The token that was sent."""
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    @property
    def account(self) -> Account | None:
        """Who asks, if it is known."""
        return self.hub.store.account(self.token)

    @property
    def json(self) -> Any:
        """The values of the body."""
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """Model, dataset or space."""
        return self.parts.get("kind", "model")

    def repository(self) -> Repository | Answer:
        """Return the repository, or why there is none for whoever asks."""
        if self.token and self.account is None:
            return refusal(401, "", TOKEN)
        found = self.hub.store.find(self.parts["repo"], self.kind)
        hidden = found is not None and found.private and not self.owns
        if found is None or hidden:
            return refusal(404 if self.account else 401, "RepoNotFound", "Repository not found")
        return found

    def writable(self) -> Repository | Answer:
        """Return the repository if whoever asks may change it."""
        found = self.repository()
        if isinstance(found, Answer) or (self.account and self.account.may_write(self.parts["repo"])):
            return found
        if "create_pr" in self.query and self.account and self.account.writes:
            return found
        return refusal(403 if self.account else 401, "", "You don't have the rights to write to this repository")

    @property
    def owns(self) -> bool:
        """Whether the repository is in a namespace of whoever asks."""
        account = self.account
        return account is not None and self.parts["repo"].partition("/")[0] in (account.name, *account.organizations)


def refusal(status: int, code: str, message: str) -> Answer:
    """Return what the Hub says when it refuses."""
    headers = {"X-Error-Message": message, "Content-Type": "application/json", "X-Request-Id": "Root=1-0"}
    body = {"error": message} | ({"url": "https://huggingface.co/me/taken"} if status == 409 else {})  # as the Hub does
    return Answer(status, headers | ({"X-Error-Code": code} if code else {}), json.dumps(body).encode())


def said(values: Any, status: int = 200, **headers: str) -> Answer:
    """Return values as JSON."""
    return Answer(status, {"Content-Type": "application/json"} | headers, json.dumps(values).encode())


def whoami(asked: Asked) -> Answer:
    """Say whose token it is."""
    account = asked.account
    if account is None:
        return refusal(401, "", "Invalid username or password.")
    role = "write" if account.writes else "read"
    orgs = [{"type": "org", "name": name} for name in account.organizations]
    return said({"type": "user", "name": account.name, "orgs": orgs, "auth": {"accessToken": {"role": role}}})


def create(asked: Asked) -> Answer:
    """Make a repository, unless there is one of that name."""
    account, wanted = asked.account, asked.json
    if account is None:
        return refusal(401, "", TOKEN if asked.token else "Invalid username or password.")
    name = f"{wanted.get('organization') or account.name}/{wanted['name']}"
    if not all(NAME.fullmatch(part) for part in name.split("/")):
        return refusal(400, "", f"Invalid repository name: {wanted['name']}")
    if not account.may_write(name):
        return refusal(403, "", f"You don't have the rights to create a model under the namespace {name.split('/')[0]}")
    with asked.hub.store.lock:
        kind = wanted.get("type") or "model"
        if asked.hub.store.find(name, kind):
            return refusal(409, "", f"You already created this {kind} repo: {name}")
        private = bool(wanted.get("private") or wanted.get("visibility") == "private")
        asked.hub.store.create(name, kind=kind, private=private)
    return said({"url": f"{asked.hub.url}/{name}", "name": name, "id": "0"})


def validate(asked: Asked) -> Answer:
    """Refuse metadata that no card may have."""
    content = asked.json["content"]
    if content.startswith("---\nlicense: [\n"):
        return said({"errors": [{"message": "bad YAML"}], "warnings": []}, 400)
    warnings = [] if content.startswith("---\n") else [{"message": "empty or missing yaml metadata in repo card"}]
    return said({"errors": [], "warnings": warnings})


def preupload(asked: Asked) -> Answer:
    """Say how each file is to be sent and what stands there now."""
    found = asked.writable()
    if isinstance(found, Answer):
        return found
    commit = found.commit_of(asked.parts["revision"])
    if commit is None:
        return refusal(404, "RevisionNotFound", "Invalid rev id")
    tree, files = found.tree(commit), []
    for file in asked.json["files"]:
        large = file["path"].endswith(LARGE) or file["size"] > LARGEST
        there = tree.get(file["path"])
        oid = None if there is None else there.sha256 if there.large else there.oid
        mode = "lfs" if large else "regular"
        files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return said({"files": files})


def batch(asked: Asked) -> Answer:
    """Say where the content that is not there yet is to be put."""
    asked.query.setdefault("create_pr", [])
    found = asked.writable()
    if isinstance(found, Answer):
        return found
    base, objects = f"{asked.hub.url}/lfs/{asked.parts['repo']}", []
    for wanted in asked.json["objects"]:
        entry = {"oid": wanted["oid"], "size": wanted["size"]}
        known = found.blob(wanted["oid"]).is_file() or asked.hub.store.from_xet(found, wanted["oid"])
        if not known:
            entry["actions"] = {"upload": {"href": f"{base}/{wanted['oid']}"}, "verify": {"href": f"{base}/verify"}}
        objects.append(entry)
    return said({"transfer": "basic", "objects": objects})


def put(asked: Asked) -> Answer:
    """Keep content, if it is what it is said to be; the address is the permission."""
    if asked.token:
        asked.hub.authorized.append(asked.token)
    found = asked.hub.store[asked.parts["repo"]]
    if sha256(asked.body).hexdigest() != asked.parts["digest"]:
        return refusal(400, "", "The content has another digest")
    found.put(asked.body, large=True)
    return Answer()


def verify(asked: Asked) -> Answer:
    """Say whether content arrived whole."""
    blob = asked.hub.store[asked.parts["repo"]].blob(asked.json["oid"])
    if not blob.is_file() or blob.stat().st_size != asked.json["size"]:
        return refusal(404, "", "The object is not there")
    return said({})


def commit(asked: Asked) -> Answer:
    """Put a commit on a branch or open a pull request with it."""
    found = asked.writable()
    if isinstance(found, Answer):
        return found
    lines = [json.loads(line) for line in asked.body.splitlines()]
    head, revision = lines[0]["value"], asked.parts["revision"]
    opens = "create_pr" in asked.query
    with asked.hub.store.lock:
        found = asked.hub.store[asked.parts["repo"]]
        ref = revision if revision.startswith("refs/pr/") else revision.removeprefix("refs/heads/")
        if ref not in found.refs:
            return refusal(404, "RevisionNotFound", "Invalid rev id")
        if head.get("parentCommit") not in (None, found.refs[ref]):
            return refusal(412, "", MOVED)
        changes: dict[str, Entry | None] = {}
        for line in lines[1:]:
            change = _change(asked, found, line["key"], line["value"])
            if isinstance(change, Answer):
                return change
            changes[line["value"]["path"]] = change
        number = 1 + sum(name.startswith("refs/pr/") for name in found.refs)
        parent = found.refs[ref]
        oid = found.commit(f"refs/pr/{number}" if opens else ref, changes, title=head["summary"], parent=parent)
    made = {"success": True, "commitOid": oid, "commitUrl": f"{asked.hub.url}/{asked.parts['repo']}/commit/{oid}"}
    page = f"{asked.hub.url}/{asked.parts['repo']}/discussions/{number}"
    return said(made | ({"pullRequestUrl": page} if opens else {}))


def _change(asked: Asked, found: Repository, key: str, value: dict[str, Any]) -> Entry | Answer | None:
    """Return the entry that a line of a commit makes of a file; None where it removes it."""
    if key == "deletedFile":
        return None
    if key == "file":
        return found.put(b64decode(value["content"]), large=False)
    xet = asked.hub.store.from_xet(found, value["oid"])
    if not found.blob(value["oid"]).is_file():
        return refusal(400, "", f"The file {value['path']} was not uploaded")
    return found.entry(value["oid"], large=True, xet=xet)


def branch(asked: Asked) -> Answer:
    """Make a branch."""
    found = asked.writable()
    if isinstance(found, Answer):
        return found
    name = asked.parts["branch"]
    if name in found.refs:
        return refusal(409, "", f"Reference already exists: {name}")
    start = found.commit_of(asked.json.get("startingPoint") or "main")
    if start is None:
        return refusal(404, "RevisionNotFound", "Invalid rev id")
    found.refs[name] = start
    found.save()
    return said({})


def refs(asked: Asked) -> Answer:
    """List branches, tags and pull requests."""
    found = asked.repository()
    if isinstance(found, Answer):
        return found
    listed: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "converts": [], "pullRequests": []}
    for name, oid in found.refs.items():
        where = "pullRequests" if name.startswith("refs/pr/") else "tags" if name.startswith("tags/") else "branches"
        ref = name if where == "pullRequests" else f"refs/{name}" if where == "tags" else f"refs/heads/{name}"
        listed[where].append({"name": name.removeprefix("tags/"), "ref": ref, "targetCommit": oid})
    return said(listed)


def info(asked: Asked) -> Answer:
    """Describe a repository at a revision."""
    found = _at(asked)
    if isinstance(found, Answer):
        return found
    repository, oid, tree = found
    name = asked.parts["repo"]
    files = [{"rfilename": path} for path in sorted(tree)]
    flags = {"private": repository.private, "gated": "auto" if repository.gated else False, "disabled": False}
    counts = {"downloads": 0, "likes": 0, "tags": []}
    return said({"_id": "0", "id": name, "modelId": name, "sha": oid, "siblings": files, **flags, **counts})


def tree(asked: Asked) -> Answer:
    """List the files of a revision, below a folder."""
    found = _at(asked)
    if isinstance(found, Answer):
        return found
    below = asked.parts.get("path", "").rstrip("/")
    files = {path: entry for path, entry in found[2].items() if not below or path.startswith(f"{below}/")}
    if below and not files:
        return refusal(404, "EntryNotFound", f"{below} does not exist")
    listed = []
    for path, entry in sorted(files.items()):
        item: dict[str, Any] = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
        if entry.large:
            item["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": 130}
        if entry.xet and asked.hub.xet:
            item["xetHash"] = entry.xet
        listed.append(item)
    return said(listed)


def xet(asked: Asked) -> Answer:
    """Give access to hf_xet's store, to write or to read."""
    writes = asked.parts["way"] == "write"
    if writes and asked.parts["revision"] == "None":
        asked.query.setdefault("create_pr", [])
    found = asked.writable() if writes else asked.repository()
    if isinstance(found, Answer):
        return found
    folder = asked.hub.store.root / "xet"
    folder.mkdir(exist_ok=True)
    url, until = f"local://{folder}", int(time.time()) + 3600
    headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": "t", "X-Xet-Token-Expiration": str(until)}
    return said({"casUrl": url, "accessToken": "t", "exp": until}, 200, **headers)


def resolve(asked: Asked) -> Answer:
    """Give a file, or for a large one the place where it is."""
    found = _at(asked)
    if isinstance(found, Answer):
        return found
    repository, oid, files = found
    account = asked.account
    if repository.gated and not asked.owns and (account is None or account.name not in repository.readers):
        message = f"Access to model {asked.parts['repo']} is restricted"
        return refusal(403 if account else 401, "GatedRepo", message)
    entry = files.get(asked.parts["path"])
    if entry is None:
        refused = refusal(404, "EntryNotFound", "Entry not found")
        return Answer(404, refused.headers | {"X-Repo-Commit": oid}, refused.body)
    headers = {"X-Repo-Commit": oid, "Accept-Ranges": "bytes"}
    if not entry.large:
        return _ranged(asked, repository.blob(entry.sha256).read_bytes(), headers | {"ETag": f'"{entry.oid}"'})
    headers |= {"X-Linked-Size": str(entry.size), "X-Linked-ETag": f'"{entry.sha256}"'}
    if entry.xet and asked.hub.xet:
        route = f"{asked.hub.url}/api/models/{asked.parts['repo']}/xet-read-token/{oid}"
        headers |= {"X-Xet-Hash": entry.xet, "X-Xet-Refresh-Route": route}
    elsewhere = asked.hub.url.replace("127.0.0.1", "localhost")  # another host, as far as a client can tell
    return Answer(302, headers | {"Location": f"{elsewhere}/cdn/{asked.parts['repo']}/{entry.sha256}"})


def cdn(asked: Asked) -> Answer:
    """Give the content of a large file; whoever has the address may have it, and no token should come along."""
    if asked.token:
        asked.hub.authorized.append(asked.token)
    data = asked.hub.store[asked.parts["repo"]].blob(asked.parts["digest"]).read_bytes()
    return _ranged(asked, data, {"ETag": f'"{asked.parts["digest"]}"', "Accept-Ranges": "bytes"})


def _at(asked: Asked) -> tuple[Repository, str, dict[str, Entry]] | Answer:
    """Return the repository that is asked for, the commit, and its files."""
    found = asked.repository()
    if isinstance(found, Answer):
        return found
    oid = found.commit_of(asked.parts.get("revision", "main"))
    return refusal(404, "RevisionNotFound", "Invalid rev id") if oid is None else (found, oid, found.tree(oid))


def _ranged(asked: Asked, data: bytes, headers: dict[str, str]) -> Answer:
    """Return what is asked for of some content."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("Range") or "")
    if match is None:
        return Answer(200, headers, data)
    begin, end = int(match[1]), int(match[2] or len(data) - 1)
    if begin >= len(data):
        return Answer(416, {"Content-Range": f"bytes */{len(data)}"})
    part = data[begin : end + 1]
    return Answer(206, headers | {"Content-Range": f"bytes {begin}-{begin + len(part) - 1}/{len(data)}"}, part)
