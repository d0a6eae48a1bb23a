"""A broker of a few lines that says what a test wants to hear: reason codes, limits, silence."""

import socket
import struct
import threading

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 8, 12, 14


class ScriptedBroker:
    """MQTT 5. `connack` is (reason code, properties); `puback(topic, payload)` gives a reason code, None for silence;
    `suback` the code of every filter. `greeting` is all that is said to a client, instead of MQTT."""

    def __init__(self, *, connack=(0, b""), puback=lambda topic, payload: 0, suback=1, greeting=None):
        self.connack = connack
        self.puback = puback
        self.suback = suback
        self.greeting = greeting
        self.connects = 0
        self.published = []
        self.received = bytearray()
        self._connection = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def say(self, data):
        self._connection.sendall(data)

    def disconnect(self, code):
        self.say(bytes([0xE0, 2, code, 0]))

    def close(self):
        self._listener.close()
        if self._connection is not None:
            self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _serve(self):
        while True:
            try:
                self._connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self.greeting is not None:
                    self.received += self._connection.recv(65536)
                    if self.greeting:
                        self._connection.sendall(self.greeting)
                        self._connection.recv(65536)  # until the client has had enough
                    self._connection.close()
                    continue
                while self._packet():
                    pass
            except OSError:
                continue

    def _packet(self):
        head = self._exactly(1)
        if not head:
            return False
        length, shift = 0, 0
        while True:
            (digit,) = self._exactly(1)
            length |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                break
        self._answer(head[0], self._exactly(length))
        return True

    def _answer(self, head, body):
        kind = head >> 4
        if kind == CONNECT:
            self.connects += 1
            code, properties = self.connack
            self.say(bytes([0x20, 3 + len(properties), 0, code, len(properties)]) + properties)
        elif kind == SUBSCRIBE:
            count = sum(1 for _ in _filters(body))
            self.say(bytes([0x90, 3 + count]) + body[:2] + b"\0" + bytes([self.suback]) * count)
        elif kind == PINGREQ:
            self.say(b"\xd0\0")
        elif kind == PUBLISH:
            self._published(body)

    def _published(self, body):
        (size,) = struct.unpack_from("!H", body)
        topic, mid, rest = body[2 : 2 + size].decode(), body[2 + size : 4 + size], body[4 + size :]
        payload = rest[1 + rest[0] :]
        self.published.append((topic, payload))
        code = self.puback(topic, payload)
        if code is not None:
            self.say(b"\x40\x04" + mid + bytes([code, 0]))

    def _exactly(self, n):
        data = b""
        while len(data) < n:
            chunk = self._connection.recv(n - len(data))
            if not chunk:
                return b""
            data += chunk
        return data


def _filters(body):
    at = 3  # packet id, and no properties
    while at < len(body):
        (size,) = struct.unpack_from("!H", body, at)
        yield body[at + 2 : at + 2 + size]
        at += 3 + size
