"""Fetching from an S3 server on loopback: listed, limited, resumed in pieces, refused when it changes."""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

pytest.importorskip("obstore", reason="needs obstore (extra objects)")

from peft_assay.core.errors import IntakeError
from peft_assay.intake import objects
from peft_assay.intake.admit import admit
from peft_assay.intake.interface import DEFAULT_LIMITS, WHOLE, Limits
from peft_assay.intake.reference import ObjectReference, parse_reference

FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": os.urandom(20_000_000), "sub/a.txt": b"text"}


class Bucket:
    def __init__(self):
        self.objects = {f"team/lora/{path}": body for path, body in FILES.items()} | {"team/other/x": b"x"}
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


@pytest.fixture
def bucket(monkeypatch):
    made = Bucket()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"bucket": made}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "eu-test-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    yield made
    server.shutdown()
    server.server_close()


def fetch(place, limits=DEFAULT_LIMITS, told=None):
    reference = parse_reference("s3://bucket/team/lora/")
    assert isinstance(reference, ObjectReference)
    return objects.fetch(reference, place, limits, (told if told is not None else []).append)


def test_the_objects_under_the_prefix_become_one_adapter(bucket, tmp_path):
    told: list[str] = []
    fetched = fetch(tmp_path, told=told)
    assert dict(admit(fetched.folder, hold=WHOLE).files) == FILES
    assert fetched.pinned.startswith("s3://bucket/team/lora@sha256:")
    assert len(told) == 3
    served = bucket.served
    again = fetch(tmp_path)
    assert (again.folder, again.pinned, bucket.served) == (fetched.folder, fetched.pinned, served)


def test_a_version_that_changed_is_another_version(bucket, tmp_path):
    first = fetch(tmp_path)
    bucket.objects["team/lora/adapter_config.json"] = b"[]"
    second = fetch(tmp_path)
    assert first.pinned != second.pinned
    assert admit(second.folder, hold=WHOLE).files["adapter_config.json"] == b"[]"


def test_what_was_altered_here_is_fetched_again(bucket, tmp_path):
    folder = fetch(tmp_path).folder
    (folder / "adapter_config.json").write_bytes(b"[]")
    (folder / "planted").write_bytes(b"")
    assert dict(admit(fetch(tmp_path).folder, hold=WHOLE).files) == FILES


def test_a_break_is_resumed_where_it_stopped(bucket, tmp_path):
    bucket.fail_after = 9_000_000
    with pytest.raises(IntakeError, match="broke off") as refusal:
        fetch(tmp_path)
    assert "goes on where it stopped" in str(refusal.value.next_step)
    bucket.fail_after, before = None, bucket.served
    assert dict(admit(fetch(tmp_path).folder, hold=WHOLE).files) == FILES
    assert bucket.served - before < len(FILES["adapter_model.safetensors"])


def test_an_object_that_changes_meanwhile_is_refused(bucket, tmp_path):
    bucket.change = {"team/lora/adapter_model.safetensors": os.urandom(20_000_000)}
    with pytest.raises(IntakeError, match="changed while it was fetched"):
        fetch(tmp_path)


def test_limits_absence_and_denial_are_told(bucket, tmp_path):
    for limits in (Limits(files=2), Limits(file_bytes=1000), Limits(total_bytes=1000)):
        with pytest.raises(IntakeError, match="over the limit"):
            fetch(tmp_path, limits)
    assert bucket.served == 0
    with pytest.raises(IntakeError, match="no files"):
        objects.fetch(ObjectReference("s3", "bucket", "nowhere"), tmp_path, DEFAULT_LIMITS, print)
    bucket.denied = True
    with pytest.raises(IntakeError, match="credentials"):
        fetch(tmp_path)


@pytest.mark.parametrize("key", ["team/lora/A.TXT", "team/lora/sub/A.txt"])
def test_names_that_collide_are_refused(bucket, tmp_path, key):
    bucket.objects[key] = b"1"
    bucket.objects[key.swapcase().replace("TEAM/LORA", "team/lora")] = b"2"
    with pytest.raises(IntakeError):
        fetch(tmp_path)
    assert bucket.served == 0
