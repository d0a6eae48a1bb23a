"""What stands between a box and its broker in a hotel: it speaks TLS with a certificate of its own, and answers every
request with the way to its sign-in page. Ended by `close`."""

import contextlib
import socket
import ssl
import threading

REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\nContent-Length: 0\r\n\r\n"


class TlsPortal:
    """`payload`: every byte that a client sent inside the encrypted connection; `connects`: how often one came.
    `mute`: it hangs up without an answer."""

    def __init__(self, cert, key, *, mute=False):
        self.payload = bytearray()
        self.connects = 0
        self._mute = mute
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(cert, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connects += 1
            with contextlib.suppress(OSError), connection:
                connection.settimeout(5)
                with self._context.wrap_socket(connection, server_side=True) as tls:
                    self.payload += tls.recv(65536)
                    if not self._mute:
                        tls.sendall(REDIRECT)
