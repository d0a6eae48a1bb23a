"""A TCP proxy that misbehaves on request: swallows, cuts, delays. One thread; ended by `close`."""

import selectors
import socket
import struct
import threading
import time


class TcpProxy:
    """Forwards 127.0.0.1:`port` to `target`. `swallow`: takes bytes and passes none on, either way."""

    def __init__(self, target):
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.swallow = False
        self.accepting = True
        self.connects = []
        self.forwarded = 0
        self.cut_after_s = None
        self._pairs = {}
        self._born = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._stop.set()
        self._thread.join(5)
        for sock in list(self._pairs):
            self._drop(sock)
        self._listener.close()
        self._selector.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _run(self):
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.02):
                try:
                    self._accept() if key.fileobj is self._listener else self._forward(key.fileobj)
                except OSError:
                    self._drop(key.fileobj)
            self._cut_old()

    def _cut_old(self):
        """RST on connections that are older than `cut_after_s`."""
        for sock, born in list(self._born.items()):
            if sock in self._pairs and self.cut_after_s is not None and time.monotonic() - born > self.cut_after_s:
                for s in (sock, self._pairs[sock]):
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._drop(sock)

    def _accept(self):
        near, _ = self._listener.accept()
        self.connects.append(time.monotonic())
        if not self.accepting:
            near.close()
            return
        far = socket.create_connection(("127.0.0.1", self._target))
        for a, b in ((near, far), (far, near)):
            self._pairs[a] = b
            self._born[a] = time.monotonic()
            self._selector.register(a, selectors.EVENT_READ)

    def _forward(self, sock):
        if self.swallow:
            time.sleep(0.01)
            return  # unread: the peer's TCP sees a window that fills
        data = sock.recv(65536)
        if not data:
            self._drop(sock)
            return
        self._pairs[sock].sendall(data)
        self.forwarded += len(data)

    def _drop(self, sock):
        for s in (sock, self._pairs.get(sock)):
            if s in self._pairs:
                del self._pairs[s]
                self._born.pop(s, None)
                self._selector.unregister(s)
                s.close()
