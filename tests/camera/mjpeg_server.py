"""An MJPEG camera over HTTP with faults by query: fps, stall_after, drop_after, hang_headers, corrupt, frozen_after,
password. Real sockets, a free port, ended with the test."""

from __future__ import annotations

import base64
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from .pictures import jpeg


class _Camera(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        options = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        ended: threading.Event = self.server.ended  # type: ignore[attr-defined]
        if "hang_headers" in options:
            ended.wait(60)
            return
        wanted = options.get("password")
        if wanted and self.headers["Authorization"] != "Basic " + base64.b64encode(f"eye:{wanted}".encode()).decode():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        self._stream(options, ended)

    def _stream(self, options: dict[str, str], ended: threading.Event) -> None:
        limits = {key: int(options.get(key, 1 << 30)) for key in ("stall_after", "drop_after", "frozen_after")}
        for number in itertools.count():
            if number >= limits["stall_after"]:
                ended.wait(60)
            if ended.is_set() or number >= limits["drop_after"]:
                return
            picture = jpeg(min(number, limits["frozen_after"]) % 32)
            if number % 10 == 9 and "corrupt" in options:
                picture = picture[: len(picture) // 2]
            try:
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + picture + b"\r\n")
            except OSError:
                return
            ended.wait(1 / float(options.get("fps", 50)))

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def mjpeg_camera() -> Iterator[str]:
    """Its address, without a query."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Camera)
    server.ended = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/video"
    finally:
        server.ended.set()  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()
        thread.join()
