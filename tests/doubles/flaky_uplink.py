"""ports.Uplink that a test plays: an ordinary implementation that confirms at once, or not at all."""

import threading

from edge_agent.ports import Acked


class FlakyUplink:
    """`say` puts in an event. `deaf`: rows are taken and never confirmed."""

    def __init__(self):
        self.sent = []
        self.documents = {}
        self.answers = []
        self.deaf = False
        self.closed = False
        self._events = []
        self._news = threading.Condition()
        self._woken = False

    def say(self, *events):
        with self._news:
            self._events.extend(events)
            self._news.notify()

    def send(self, row):
        self.sent.append(row)
        if not self.deaf:
            self.say(Acked(((row.prio, row.id),)))

    def publish_latest(self, suffix, body):
        self.documents[suffix] = body

    def answer(self, suffix, body, correlation):
        self.answers.append((suffix, body, correlation))

    def poll(self, timeout_s):
        with self._news:
            self._news.wait_for(lambda: self._events or self._woken, timeout_s)
            events, self._events, self._woken = self._events, [], False
        return events

    def wake(self):
        with self._news:
            self._woken = True
            self._news.notify()

    def close(self):
        self.closed = True
