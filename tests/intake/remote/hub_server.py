"""A Hub on loopback: the few routes that fetching a model uses, over real HTTP, with faults on request."""

import hashlib
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = 1_000
"""Files from this size on are announced as LFS files, with their sha256."""


@dataclass
class Repository:
    refs: dict[str, str]
    commits: dict[str, dict[str, bytes]]
    gated: bool = False
    terms: str | bool = False
    """What the listing says of gating: False, "auto" or "manual"."""
    card: dict[str, object] | None = None
    """The card's metadata as the Hub has read it."""
    altered: dict[str, bytes] = field(default_factory=dict)
    """Content that is served instead of what was announced."""
    announced: dict[str, int] = field(default_factory=dict)
    """Sizes that are announced instead of the true ones."""


@dataclass
class Hub:
    repositories: dict[str, Repository] = field(default_factory=dict)
    cut_after: int | None = None
    """The next download ends after so many bytes of its body, the connection with it."""
    busy: list[tuple[int, str | None]] = field(default_factory=list)
    """Statuses (and Retry-After) that the next requests get instead of an answer."""
    missing: set[str] = field(default_factory=set)
    requests: list[tuple[str, str]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    served: Counter[str] = field(default_factory=Counter)
    """Body bytes sent, by path."""
    ranges: list[str] = field(default_factory=list)
    token: str | None = None

    def serve(self) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.route()

    def do_GET(self) -> None:
        self.route()

    def route(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.requests.append((self.command, path))
        if "Authorization" in self.headers:
            hub.authorizations.append(self.headers["Authorization"])
        if hub.busy:
            status, after = hub.busy.pop(0)
            self.answer(status, b"busy", {"Retry-After": after} if after else {})
        elif path.startswith("/api/models/"):
            self.listing(path.removeprefix("/api/models/"))
        elif path == "/api/agent-harnesses":  # huggingface_hub asks for it by itself, at most once a day
            self.answer(404, b"", {})
        elif path.startswith("/api/datasets/"):
            self.listing(path.removeprefix("/api/"))
        else:
            self.file(path.removeprefix("/"))

    def listing(self, path: str) -> None:
        name, _, revision = path.partition("/revision/")
        repository = self.hub.repositories.get(name)
        if repository is None or (self.hub.token and f"Bearer {self.hub.token}" not in self.hub.authorizations):
            self.answer(401, b"", {"X-Error-Code": "RepoNotFound"})
            return
        commit = repository.refs.get(revision or "main", revision)
        if commit not in repository.commits:
            self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return
        siblings = [
            entry(path, body, repository.announced.get(path)) for path, body in repository.commits[commit].items()
        ]
        body = json.dumps(
            {"id": name, "modelId": name, "sha": commit, "private": False, "tags": [], "siblings": siblings}
            | {"gated": repository.terms, "cardData": repository.card}
        )
        self.answer(200, body.encode(), {"Content-Type": "application/json"})

    def file(self, path: str) -> None:
        name, _, rest = path.partition("/resolve/")
        commit, _, file = rest.partition("/")
        repository = self.hub.repositories[name]
        if repository.gated:
            self.answer(403, b"", {"X-Error-Code": "GatedRepo"})
            return
        body = repository.commits.get(commit, {}).get(file)
        if body is None or file in self.hub.missing:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        large = len(body) >= LARGE
        etag = hashlib.sha256(body).hexdigest() if large else git_id(body)
        body = repository.altered.get(file, body)
        head = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if large:
            head |= {"X-Linked-ETag": f'"{etag}"', "X-Linked-Size": str(len(body))}
        begin, status = 0, 200
        if "Range" in self.headers:
            self.hub.ranges.append(self.headers["Range"])
            begin, status = int(self.headers["Range"].removeprefix("bytes=").split("-")[0]), 206
            head["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        self.answer(status, body[begin:], head, counted=file)

    def answer(self, status: int, body: bytes, head: dict[str, str], counted: str | None = None) -> None:
        self.send_response(status)
        for key, value in head.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = (
            self.hub.cut_after
            if counted and self.hub.cut_after is not None and len(body) > self.hub.cut_after
            else None
        )
        sent = body if cut is None else body[:cut]
        if counted:
            self.hub.served[counted] += len(sent)
        self.wfile.write(sent)
        if cut is not None:
            self.hub.cut_after = None
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()


def git_id(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


def entry(path: str, body: bytes, size: int | None) -> dict[str, object]:
    told: dict[str, object] = {"rfilename": path, "size": len(body) if size is None else size, "blobId": git_id(body)}
    if len(body) >= LARGE:
        told["lfs"] = {"sha256": hashlib.sha256(body).hexdigest(), "size": told["size"], "pointerSize": 134}
    return told
