"""An S3 server on loopback that speaks the few requests obstore makes of one: listing, ranges, conditions."""

import contextlib
import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class Bucket:
    """Objects by key, and what goes wrong with them."""

    def __init__(self, objects):
        self.objects = dict(objects)
        self.fail_after: int | None = None
        self.served = 0
        self.denied = False
        self.change: dict[str, bytes] = {}


class Handler(BaseHTTPRequestHandler):
    bucket: Bucket
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        parts = urlsplit(self.path)
        query, bucket = parse_qs(parts.query), self.bucket
        if bucket.denied:
            self.answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif "list-type" in query:
            prefix = query.get("prefix", [""])[0]
            found = "".join(
                f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f"<ETag>&quot;{tag(body)}&quot;</ETag><Size>{len(body)}</Size></Contents>"
                for key, body in sorted(bucket.objects.items())
                if key.startswith(prefix)
            )
            text = f"<?xml version='1.0'?><ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
            self.answer(200, text.encode(), {"Content-Type": "application/xml"})
        else:
            self.get(unquote(parts.path).split("/", 2)[2])

    def get(self, key):
        bucket = self.bucket
        if bucket.fail_after is not None and bucket.served >= bucket.fail_after:
            self.answer(400, b"<Error><Code>Broken</Code></Error>")
            return
        body = bucket.objects.get(key)
        if body is None:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        if self.headers.get("If-Match", f'"{tag(body)}"') != f'"{tag(body)}"':
            self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        begin, end = (int(x) for x in self.headers["Range"].removeprefix("bytes=").split("-"))
        part = body[begin : end + 1]
        bucket.served += len(part)
        head = {"ETag": f'"{tag(body)}"', "Content-Range": f"bytes {begin}-{begin + len(part) - 1}/{len(body)}"}
        self.answer(206, part, head | {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"})
        if bucket.change and bucket.served > 1_000_000:
            bucket.objects.update(bucket.change)

    def answer(self, status, body, head=None):
        self.send_response(status)
        for name, value in (head or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def tag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


@contextlib.contextmanager
def serving(bucket, monkeypatch):
    """`bucket` on loopback, in the environment that obstore reads."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"bucket": bucket}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "eu-test-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
