"""A process between callers and the local AWS that writes down every request: boto3's and delta-rs's alike.

`python -m lakehouse_tests.deploy.witness PORT TARGET FILE`: a line of JSON a request, before its answer is given.
"""

import http.client
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

HOP = {"connection", "expect", "transfer-encoding", "content-length", "keep-alive"}


class Witness(BaseHTTPRequestHandler):
    """Passes a request on. `target`: whom to; `file`: where it is told."""

    protocol_version = "HTTP/1.1"
    target: str
    file: Path
    lock = threading.Lock()

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        assert "chunked" not in (self.headers.get("Transfer-Encoding") or "")
        passed = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        asked = http.client.HTTPConnection(self.target)
        asked.request(self.command, self.path, body, passed | {"Content-Length": str(len(body))})
        answer = asked.getresponse()
        given = answer.read()
        self.note(body, answer.status)
        self.send_response_only(answer.status)
        length = answer.headers.get("Content-Length") if self.command == "HEAD" else str(len(given))
        for name, value in answer.headers.items():
            if name.lower() not in HOP:
                self.send_header(name, value)
        if length is not None and answer.status not in (204, 304):
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(given)
        asked.close()

    def note(self, body: bytes, status: int) -> None:
        target = self.headers.get("X-Amz-Target")
        form = "form-urlencoded" in (self.headers.get("Content-Type") or "")
        told = body.decode() if target or form or "delete" in urlsplit(self.path).query else ""
        line = {"verb": self.command, "path": self.path, "target": target, "body": told, "status": status}
        with self.lock, self.file.open("a") as out:
            out.write(json.dumps(line) + "\n")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, *_: object) -> None: ...


if __name__ == "__main__":
    Witness.target, Witness.file = sys.argv[2], Path(sys.argv[3])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Witness).serve_forever()
