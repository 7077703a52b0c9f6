"""The world's services on loopback, as far as a signer asks them: an issuer's, Fulcio's and Rekor's one route each."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from trust.publisher.sigstore_world import START, Sigstore, timestamp

CLIENT = "sigstore"


def identity_token(issuer: str, subject: str) -> str:
    """What an issuer gives out; the services here believe it, as a client does."""
    now = int(datetime.now(UTC).timestamp())
    claims = {"iss": issuer, "sub": subject, "aud": CLIENT, "iat": now - 5, "nbf": now - 5, "exp": now + 600}
    return jwt.encode(claims, "0" * 64, algorithm="HS256")


@contextmanager
def served(world: Sigstore):
    """`world` on loopback, with its url put right; gives the ClientTrustConfig document of it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            assert self.path == "/.well-known/openid-configuration"
            self._answer({"authorization_endpoint": f"{world.url}/auth", "token_endpoint": f"{world.url}/token"})

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/api/v2/signingCert":
                self._answer(_certified(world, asked, self.headers["Authorization"].removeprefix("Bearer ")))
            else:
                assert self.path == "/api/v1/log/entries"
                self._answer(_logged(world, asked))

        def _answer(self, document):
            content = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    world.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield client_config(world)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def client_config(world: Sigstore) -> dict:
    service = {
        "url": world.url, "majorApiVersion": 1, "operator": "test", "validFor": {"start": timestamp(START)},
    }  # fmt: skip
    return {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": world.trusted_root(),
        "signingConfig": {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service],
            "oidcUrls": [service],
            "rekorTlogUrls": [service],
            "rekorTlogConfig": {"selector": "ANY"},
        },
    }


def _certified(world: Sigstore, asked: dict, token: str) -> dict:
    request = x509.load_pem_x509_csr(base64.b64decode(asked["certificateSigningRequest"]))
    claims = jwt.decode(token, options={"verify_signature": False})
    now = datetime.now(UTC).replace(microsecond=0)
    leaf = world.certificate(request.public_key(), at=now, issuer=claims["iss"], subject=claims["sub"])
    chain = [each.public_bytes(Encoding.PEM).decode() for each in (leaf, *world.authority.chain)]
    return {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}


def _logged(world: Sigstore, asked: dict) -> dict:
    """What Rekor v1 makes of a proposed dsse entry, in the spelling of its interface."""
    proposed = asked["spec"]["proposedContent"]
    envelope = json.loads(proposed["envelope"])
    body = {
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(proposed["envelope"].encode()).hexdigest()},
            "payloadHash": {
                "algorithm": "sha256", "value": hashlib.sha256(base64.b64decode(envelope["payload"])).hexdigest(),
            },
            "signatures": [
                {"signature": envelope["signatures"][0]["sig"], "verifier": proposed["verifiers"][0]},
            ],
        },
    }  # fmt: skip
    entry = world.log.entry("dsse", "0.0.1", rfc8785.dumps(body), datetime.now(UTC))
    proof = entry["inclusionProof"]

    def hexed(text: str) -> str:
        return base64.b64decode(text).hex()

    return {
        "a" * 64: {
            "body": entry["canonicalizedBody"],
            "integratedTime": int(entry["integratedTime"]),
            "logID": hexed(entry["logId"]["keyId"]),
            "logIndex": int(entry["logIndex"]),
            "verification": {
                "inclusionProof": {
                    "checkpoint": proof["checkpoint"]["envelope"],
                    "hashes": [hexed(each) for each in proof["hashes"]],
                    "logIndex": int(proof["logIndex"]),
                    "rootHash": hexed(proof["rootHash"]),
                    "treeSize": int(proof["treeSize"]),
                },
                "signedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
            },
        }
    }
