"""Words for rows that the other side does not take: for people, in status and in alerts."""

from __future__ import annotations

import msgspec

from edge_agent.uplink.set_aside import DISCONNECTS

_KIND = {0: "an alert, decision or ledger entry", 1: "a prediction", 2: "a row of telemetry"}
_WHAT_NOW = {
    "not_authorized": "let this client write to its topics in the broker's ACL",
    "quota_exceeded": "the broker's quota is used up: ask its operator",
    "packet_too_large": "lower store.row_limit, or raise the broker's packet size limit",
    DISCONNECTS: "the broker hangs up whenever it gets this row: see its log, and its limits",
}
_ELSE = "see the log of who refused it"


class DeadLetter(msgspec.Struct, frozen=True):
    """A row that will never be taken. `by`: `the broker` or `the backend`."""

    row: tuple[int, int]
    code: str
    by: str

    def __str__(self) -> str:
        kept = "it is kept among the dead letters, and its numbers are declared lost"
        what_now = _WHAT_NOW.get(self.code, _ELSE)
        return f"{self.by} refused {_KIND[self.row[0]]} for good: {self.code}; {kept}; {what_now}"


def door(code: str) -> str:
    """A refusal that concerns all rows alike."""
    return f"{code}; {_WHAT_NOW.get(code, _ELSE)}"
