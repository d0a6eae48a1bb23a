"""Whether a broker's shared subscriptions do what it grants: tried, not believed.

Brokers exist that grant `$share/…` and deliver nothing on it. So a message goes through a shared subscription of this
process's own before the real one is trusted.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import msgspec

from edge_agent.contract import topics
from edge_agent.errors import Retryable
from edge_agent.links import mqtt_reasons as reasons
from edge_agent.links.mqtt import Session, open_session
from edge_agent.links.mqtt_types import (
    Confirmed,
    Lost,
    Message,
    Publication,
    Settings,
    Subscription,
    SubscriptionRefused,
)

OPEN_S = 10.0
ECHO_S = 5.0
ALL_UP = f"edge/{topics.VERSION}/+/+/+/{topics.UP}/#"


class Verdict(msgspec.Struct, frozen=True):
    """`why` says what did not work."""

    shared: bool
    why: str = ""


def subscription(group: str, verdict: Verdict) -> Subscription:
    """What to subscribe to: the group's share, or everything where the broker does not share."""
    return Subscription(f"$share/{group}/{ALL_UP}" if verdict.shared else ALL_UP, retained=False)


def try_share(
    settings: Settings, *, echo_s: float = ECHO_S, monotonic: Callable[[], float] = time.monotonic
) -> Verdict:
    """A message through a shared subscription, on a short session. Raises Retryable where there is no broker."""
    me = f"{settings.client_id}-selftest"
    topic = f"edge/{topics.VERSION}/selftest/{me}/{secrets.token_hex(8)}"
    wanted = Subscription(f"$share/{me}/{topic}", retained=False)
    probe = msgspec.structs.replace(settings, client_id=me, session_expiry_s=0, owed=0, subscriptions=(wanted,))
    session = open_session(probe, OPEN_S)
    try:
        return _echo(session, topic, monotonic() + echo_s, monotonic)
    finally:
        session.close()


def _echo(session: Session, topic: str, end_s: float, monotonic: Callable[[], float]) -> Verdict:
    asked = False
    while (left_s := end_s - monotonic()) > 0:
        if session.subscribed and not asked:
            asked = True
            session.publish(Publication(topic, b"{}", expiry_s=60))
        for event in session.poll(left_s):
            match event:
                case Message():
                    return Verdict(shared=True)
                case SubscriptionRefused(_, code):
                    return Verdict(False, f"the broker refuses it: {reasons.publish_code(code)}")
                case Confirmed(_, code) if code >= 0x80:
                    said = reasons.publish_code(code)
                    return Verdict(False, f"the broker does not let this client publish to {topic}: {said}")
                case Lost():
                    raise Retryable(event.reason, hint=event.hint)
    return Verdict(False, "the broker grants it and delivers nothing on it")
