"""The status document of a running agent (`control.Control.status`) as a page: the verdict first, then each part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edge_agent.cli.page import Line, Section
from edge_agent.cli.show import age, ago, counted, size

Document = Mapping[str, Any]

_OLD_BACKLOG_S = 10.0
_DAY_S = 86_400
_SHOWN_ELSEWHERE = {"opened", "items", "downs", "connects", "inbound", "predictions", "invalid", "starts", "done"}
_TRUST = {"trusted": "good", "watch": "odd", "degraded": "bad", "quarantined": "bad", "unavailable": "bad"}


def live_page(status: Document) -> list[Section]:
    return [
        _verdict(status),
        Section("trouble", [Line(text=reason) for reason in status["trouble"]]),
        Section("agent", list(_agent(status))),
        Section("alerts", [_alert(alert) for alert in status["alerts"]]),
        Section("rules", list(_rules(status["rules"]))),
        Section("held", [_hold(rule, hold) for rule, hold in status["holds"].items()]),
        Section("models", [line for lane in status["lanes"] for line in _lane(lane)]),
        Section("sources", [line for s in status["sources"] for line in _source(s, status["engine"]["shed"])]),
        Section("actuators", [_actuator(actuator) for actuator in status["actuators"]]),
        Section("updates", [_mcu(mcu) for mcu in status["mcus"] if mcu["stage"] or mcu["end"]]),
        Section("store", list(_store(status["store"]))),
        Section("uplink", list(_uplink(status["uplink"], status["store"]["backlog"]))),
        Section("certs", [_certificate(certificate) for certificate in status["certificates"]]),
    ]


def _verdict(status: Document) -> Section:
    title, tone = ("OK", "good") if status["ok"] else ("TROUBLE", "bad")
    return Section(title, [Line(text=f"{status['gateway']}: {_summary(status)}")], tone)


def _summary(status: Document) -> str:
    alerts = status["alerts"]
    raised = f"{counted(len(alerts), 'alert')} raised" if alerts else "no alerts"
    wrong = counted(len(status["trouble"]), "thing is wrong", "things are wrong")
    safe = "SAFE MODE, " if status["safe_mode"] else ""
    return f"{safe}{'all parts work' if status['ok'] else wrong}, rung {status['rung']}, {raised}"


def _agent(status: Document) -> Iterator[Line]:
    why = status.get("time", {}).get("why_not") or "times may be wrong"
    clock = {"synced": "clock synced", "guessed": f"CLOCK GUESSED: {why}"}[status["clock"]]
    up = f"up {age(status['uptime_s'])}, start {status['start_no']}, {clock}"
    yield Line(text=f"edge-agent {status['version']}, {up}")
    latency = status["engine"]["latency"]
    if latency["count"]:
        quantiles = f"p50 {_ms(latency['p50_ms'])}, p99 {_ms(latency['p99_ms'])}"
        yield Line(text=f"reading to action {quantiles}, {counted(latency['count'], 'reading')}")


def _alert(alert: Document) -> Line:
    by = alert.get("acked_by")
    acked = f", acknowledged by {by}" if by else ""
    tone = "bad" if alert["severity"] == "critical" and not by else "odd"
    when = "before a restart of the box" if alert["age_s"] is None else ago(alert["age_s"])
    return Line("", alert["severity"], tone, f"{when}{acked}: {alert['text']} ({alert['alert_id']})")


def _rules(rules: Mapping[str, str]) -> Iterator[Line]:
    tones = {"raised": "bad", "latched": "bad", "unknown": "odd", "pending": "odd"}
    for phase, tone in tones.items():
        names = [rule for rule, its in rules.items() if its == phase]
        if names:
            yield Line("", phase, tone, ", ".join(names))
    if normal := sum(phase == "normal" for phase in rules.values()):
        yield Line("", "normal", "good", counted(normal, "rule"))


def _hold(rule: str, hold: Document) -> Line:
    why = f": {hold['why']}" if hold["why"] else ""
    return Line(rule, "held", "odd", f"neither acts nor alerts for {age(hold['left_s'])} more, by {hold['by']}{why}")


def _mcu(mcu: Document) -> Line:
    if mcu["stage"]:
        done = f", {mcu['offset']:,} of {mcu['size']:,} bytes" if mcu["stage"] == "upload" else ""
        what = f"to {mcu['version']} " if mcu["version"] else ""
        return Line(mcu["name"], mcu["stage"], "odd", f"{what}by {mcu['by']}{done}")
    tone = "good" if mcu["end"] == "confirmed" else "odd" if mcu["end"] == "refused" else "bad"
    why = f": {mcu['reason']}" if mcu["reason"] else ""
    return Line(mcu["name"], mcu["end"], tone, f"{mcu['version']}, {ago(mcu['ended_s'])}{why}")


def _lane(lane: Document) -> Iterator[Line]:
    notes, counts, latency = lane.get("notes", {}), lane["counts"], lane["latency"]
    said = [lane["model"]]
    if latency["count"]:
        said.append(f"p50 {_ms(latency['p50_ms'])}, p99 {_ms(latency['p99_ms'])}")
    said += [f"{counted(counts.get('predictions', 0), 'prediction')}, {counts.get('invalid', 0):,} invalid"]
    yield Line(lane["name"], lane["trust"], _TRUST.get(lane["trust"], "bad"), ", ".join(said))
    worker = [str(notes[key]) for key in ("state", "backend") if key in notes]
    worker += [f"pid {notes['pid']}"] if notes.get("pid") else []
    worker += [f"{notes['rss_mb']:.0f} MB"] if notes.get("rss_mb") else []
    yield Line(text=", ".join(worker + _counts(counts)))
    if "last_error" in notes:
        yield Line(text=f"last error: {notes['last_error']}")


def _source(source: Document, shed: Mapping[str, int]) -> Iterator[Line]:
    said = []
    if source["up"] is False:
        said.append(f"for {age(source['since_s'])}: {source.get('reason') or 'no reason given'}")
    if "age_s" in source:
        said.append(f"last heard {ago(source['age_s'])}, {source['rate_hz']:g}/s")
    said += _counts(source["counts"])
    said += [f"{key} {value}" for key, value in source.get("notes", {}).items()]
    if shed.get(source["name"]):
        said.append(f"SHED {shed[source['name']]:,}: too fast")
    yield _part(source, "up", "nothing heard yet", said)
    for bad in source.get("quarantine", ())[-1:]:
        yield Line(text=f"newest refused item ({bad['reason']}): {bad['item'][:60]}")


def _actuator(actuator: Document) -> Line:
    said = []
    if actuator["up"] is False:
        said.append(f"for {age(actuator['since_s'])}: {actuator.get('reason') or 'no reason given'}")
    done = actuator["counts"].get("done", 0)
    said += [f"{done:,} done"] if done else []
    return _part(actuator, "works", "not used yet", said + _counts(actuator["counts"]))


def _part(part: Document, good: str, unknown: str, said: Sequence[str]) -> Line:
    state, tone = {True: (good, "good"), False: ("down", "bad"), None: (unknown, "odd")}[part["up"]]
    return Line(part["name"], state, tone, ", ".join(said))


def _store(store: Document) -> Iterator[Line]:
    used = store["file_bytes"] / store["quota_bytes"]
    file = f"{size(store['file_bytes'])} of {size(store['quota_bytes'])} ({used:.0%})"
    kept = f"{counted(store['readings'], 'reading')} kept since the start"
    if store["failing"]:
        yield Line("", "fails", "bad", store["failing"])
        yield Line(text=f"{file}, {kept}")
    else:
        yield Line("", "works", "good", f"{file}, {kept}")
    yield from _flash(store["flash"])


def _flash(flash: Document) -> Iterator[Line]:
    ours, all_of_it = flash["process_bytes_per_day"], flash["device_bytes_per_day"]
    said = [f"{size(ours)} a day by the agent"] if ours is not None else []
    if all_of_it is not None:
        said.append(f"{size(all_of_it)} a day to {flash['device']} by all, its journal included")
    if said:
        yield Line(text=f"writes {', '.join(said)}{_lasts(flash)}")
    if flash["why_not"]:
        yield Line(text=f"not known what is written: {flash['why_not']}")


def _lasts(flash: Document) -> str:
    years, tbw = flash["years"], flash["card_tbw"]
    if years is None:
        return ""
    lasts = f"{years:,.1f} years" if years >= 0.1 else "less than 5 weeks"
    card = f"a card of {tbw:g} TB written" if tbw else "each terabyte of a card's life"
    return f": {card} lasts {lasts}"


def _uplink(uplink: Document, backlog: Document) -> Iterator[Line]:
    if "sent" not in uplink:
        yield Line("", "none", "", "results stay on this box")
        return
    if uplink["connected"]:
        said = uplink["reason"] or f"{counted(uplink['in_flight'], 'row')} in flight"
        yield Line("", "connected", "odd" if uplink["reason"] else "good", said)
    else:
        since = f"for {age(uplink['since_s'])}: " if uplink.get("up") is False else ""
        yield Line("", "not connected", "bad", since + (uplink["reason"] or "the first attempt is under way"))
    refused = f", {uplink['refused']:,} refused" if uplink["refused"] else ""
    yield Line(text=f"{counted(uplink['delivered'], 'row')} delivered since the start{refused}")
    yield from (Line(text=told) for told in _uplink_notes(uplink))
    if "budget" in uplink:
        yield _budget(uplink["budget"], uplink.get("thinned", 0))
    if backlog["rows"]:
        yield Line(text=_backlog(backlog))


def _budget(budget: Document, thinned: int) -> Line:
    """What a link that costs has cost today, and who waits for how long."""
    if not budget["metered"]:
        return Line("budget", "free link", "good", "nothing is counted")
    used = f"{size(budget['used_bytes'])} of {size(budget['per_day_bytes'])} used"
    names = {"urgent": "ALERTS", "prediction": "predictions", "live": "live telemetry", "backlog": "backlog"}
    waits = [f"{names[who]} {age(wait)}" for who, wait in budget["waits_s"].items()]
    waiting = f"; on hold: {', '.join(waits)}" if waits else ""
    dropped = f"; {counted(thinned, 'row')} thinned" if thinned else ""
    tone = "bad" if "urgent" in budget["waits_s"] else "odd" if waits else "good"
    return Line("budget", "metered", tone, f"{used}, day ends in {age(budget['day_ends_s'])}{waiting}{dropped}")


def _uplink_notes(uplink: Document) -> Iterator[str]:
    counts, notes = uplink.get("counts", {}), uplink.get("notes", {})
    if uplink.get("last_dead_letter"):
        yield f"newest dead letter: {uplink['last_dead_letter']}"
    if nobody := counts.get("no_subscribers"):
        rows = counted(nobody, "row")
        yield f"nobody was subscribed to {rows}: the broker took and dropped them; is the ingest there?"
    if "subscription_refused" in notes:
        yield f"the broker lets nothing come back ({notes['subscription_refused']}): allow it in its ACL"


def _certificate(certificate: Document) -> Line:
    days, name, file = certificate["days"], certificate["name"], certificate["file"]
    if days is None:
        return Line(name, "unknown", "odd", f"{file}: {certificate['why_not'] or 'not read yet'}")
    if days <= 0:
        return Line(name, "expired", "bad", f"{age(-days * _DAY_S)} ago: {file}")
    tone = "bad" if days <= 3 else "odd" if days <= 30 else "good"
    return Line(name, "valid", tone, f"for {age(days * _DAY_S)} more: {file}")


def _backlog(backlog: Document) -> str:
    oldest, gone_in = backlog["oldest_s"], backlog["gone_in_s"]
    said = counted(backlog["rows"], "row waits", "rows wait")
    if oldest is not None:
        said += f", the oldest for {age(oldest)}"
    if gone_in is not None and (oldest or 0) > _OLD_BACKLOG_S:
        said += f"; gone in about {age(gone_in)} at this speed"
    return said


def _counts(counts: Mapping[str, int]) -> list[str]:
    """What went otherwise than it should: everything that a part counts beside its ordinary work."""
    return [f"{n:,} {name}" for name, n in counts.items() if n and name not in _SHOWN_ELSEWHERE]


def _ms(value: float) -> str:
    if value < 999.5:
        return f"{value:.3g} ms"
    return f"{value / 1000:.3g} s" if value < 120_000 else age(value / 1000)
