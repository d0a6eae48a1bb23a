"""What the types cannot say about one table: keys that belong together, or that exclude one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from edge_agent.config.folders import Outside, PackageFolders, belongs_to_system, is_there
from edge_agent.config.problems import KeyPath, Severity
from edge_agent.config.report import Report
from edge_agent.config.site import (
    ActionConfig,
    AgentConfig,
    BudgetConfig,
    DeliveryConfig,
    McuConfig,
    ModelConfig,
    RuleConfig,
    SignalConfig,
    SourceConfig,
    StoreConfig,
    TlsConfig,
    UplinkConfig,
    size_bytes,
)
from edge_agent.ports import FieldSpec

_Doubt = tuple[str, str, str] | tuple[str, str, str, Severity]
"""Key, reason, hint; and how bad it is, where that is not an error."""

_RELATIVE = "must be an absolute path", "it must not depend on where the agent is started"
_LONGEST_RUN_DIR = 90
_LENDERS: Final = ("serial_lines", "serial_bridge")
"""Their ports have one owner that gives them up for a while (links.registry.Links.lend)."""
_LEAST_QUOTA = 1_000_000
_LEAST_BUDGET = 100_000


def check_sense(built: Mapping[KeyPath, object], folders: PackageFolders, report: Report) -> None:
    """Looks at every table that came out well, so that one mistake is reported once."""
    for path, config in built.items():
        check = _CHECKS.get(type(config))
        for doubt in check(config) if check else ():
            report.add((*path, doubt[0]), *doubt[1:])
        if isinstance(config, ModelConfig):
            _check_package(config, path, folders, report)
        if isinstance(config, McuConfig):
            _check_lender(config, path, built, report)
    _check_delivery(built, report)


def _check_delivery(built: Mapping[KeyPath, object], report: Report) -> None:
    uplink, delivery = built.get(("uplink",)), built.get(("delivery",), DeliveryConfig())
    if not (isinstance(uplink, UplinkConfig) and isinstance(delivery, DeliveryConfig)):
        return
    if uplink.kind == "mqtt" and uplink.version == "3.1.1" and delivery.ack == "broker":
        reason = "on MQTT 3.1.1 a broker acknowledges also what it refuses: such rows are lost without a word"
        report.add(("uplink", "version"), reason, 'use version = "5", or delivery.ack = "backend"', "warning")


def _check_lender(mcu: McuConfig, path: KeyPath, built: Mapping[KeyPath, object], report: Report) -> None:
    for owner in built.values():
        if not isinstance(owner, SourceConfig) or owner.name != mcu.source:
            continue
        if owner.kind not in _LENDERS or not getattr(owner.driver, "device", ""):
            reason = f"source {owner.name}, a {owner.kind}, has no serial port to lend"
            report.add((*path, "source"), reason, f"name one of kind {' or '.join(_LENDERS)}; or give port instead")


def _check_package(model: ModelConfig, path: KeyPath, folders: PackageFolders, report: Report) -> None:
    if belongs_to_system(model.package):
        return  # refused by inline_secrets already
    try:
        directory = folders.resolve(model.package)
    except Outside as e:
        report.add((*path, "package"), e.reason, e.hint)
        return
    if not is_there(directory):
        hint = f"install it there: {directory}"
        report.add((*path, "package"), "is not installed; until it is, the model is unavailable", hint, "warning")


def _agent(agent: AgentConfig) -> Iterator[_Doubt]:
    for key, folder in (("data_dir", agent.data_dir), ("run_dir", agent.run_dir)):
        if not Path(folder).is_absolute():
            yield key, *_RELATIVE
        elif len(Path(folder).parts) < 3:
            yield key, "is a system folder", "give a folder of its own, such as /var/lib/edge-agent"
    if len(agent.run_dir.encode()) > _LONGEST_RUN_DIR:
        yield "run_dir", f"is longer than {_LONGEST_RUN_DIR} bytes, too long for a socket", "give a short path"


def _field(spec: FieldSpec) -> Iterator[_Doubt]:
    if spec.min is not None and spec.max is not None and spec.min >= spec.max:
        yield "min", "is not below max", "outside of min to max a value is of bad quality"
    if spec.type not in ("double", "int") and (spec.min is not None or spec.max is not None):
        yield "min" if spec.min is not None else "max", f"a {spec.type} has no range", "leave it out"


def _signal(signal: SignalConfig) -> Iterator[_Doubt]:
    if signal.window is None and signal.last is None:
        yield "window", "is missing", 'add window = "30s", or last = 20 for a count of readings'
    elif signal.window is not None and signal.last is not None:
        yield "last", "window and last exclude one another", "keep one of the two"
    if signal.fn == "absent" and signal.last is not None:
        yield "last", "absent looks at a time, not at a count", 'write window = "30s"'
    if signal.fn == "percentile" and signal.p is None:
        yield "p", "is missing", "add p = 95, from 0 to 100"
    if signal.fn != "percentile" and signal.p is not None:
        yield "p", f"is for percentile only, not for {signal.fn}", 'leave it out, or write fn = "percentile"'


def _model(model: ModelConfig) -> Iterator[_Doubt]:
    if len(set(model.providers)) < len(model.providers):
        yield "providers", "names one provider twice", "name each once, in the order of preference"


def _rule(rule: RuleConfig) -> Iterator[_Doubt]:
    if not rule.alert and not rule.actions:
        yield "alert", "without an alert and without actions nobody notices", "add actions or an alert", "warning"


def _action(action: ActionConfig) -> Iterator[_Doubt]:
    if action.else_value is not None and action.else_value == action.value:
        yield "else_value", "is the same as value", "leave it out"


def _mcu(mcu: McuConfig) -> Iterator[_Doubt]:
    if (mcu.source is None) == (mcu.port is None):
        hint = "name the source that owns its port; or, where none does, the port"
        yield "source", "give one of source and port", hint
    elif mcu.port is not None and not Path(mcu.port).is_absolute():
        yield "port", *_RELATIVE
    elif mcu.source is None and mcu.health != "answers":
        yield "health", f"{mcu.health} is seen by a source", 'add source, or write health = "answers"'


def _store(store: StoreConfig) -> Iterator[_Doubt]:
    if size_bytes(store.quota) < _LEAST_QUOTA:
        yield "quota", "is too small for a database", 'give at least "1MB"'
    if not 1024 <= size_bytes(store.row_limit) <= _LEAST_QUOTA:
        yield "row_limit", "is out of range", 'give from "1KiB" to "1MB"'


def _uplink(uplink: UplinkConfig) -> Iterator[_Doubt]:
    if uplink.kind == "file" and not uplink.dir:
        yield "dir", "is missing", "a file uplink needs the folder that rows go into"
    if uplink.dir and not Path(uplink.dir).is_absolute():
        yield "dir", *_RELATIVE
    if uplink.kind != "mqtt":
        return
    if uplink.budget is not None and size_bytes(uplink.budget.per_day) < 2 * (upkeep := _upkeep_bytes(uplink)):
        reason = f"the idle connection alone costs about {upkeep / 1e6:.1f} MB a day"
        yield "keepalive_s", reason, "raise it: a dead connection is then noticed later", "warning"
    if uplink.password_file and not uplink.username:
        yield "username", "is missing beside password_file", "add username"
    if uplink.password_file and uplink.tls is None and uplink.host not in ("localhost", "127.0.0.1", "::1"):
        yield "password_file", "the password crosses the network in clear", "add [uplink.tls]", "warning"
    if uplink.tls is not None and uplink.port == 1883:
        yield "port", "1883 is the port without TLS", "brokers mostly speak TLS on 8883", "warning"


def _upkeep_bytes(uplink: UplinkConfig) -> float:
    """Of pings and their answers, about 240 bytes each time, at three quarters of the keepalive."""
    return 86_400 / (uplink.keepalive_s * 0.75) * 240


def _budget(budget: BudgetConfig) -> Iterator[_Doubt]:
    if size_bytes(budget.per_day) < _LEAST_BUDGET:
        yield "per_day", "is too small for a connection", 'give at least "100kB"'
    if budget.reserve is not None and size_bytes(budget.reserve) > size_bytes(budget.per_day):
        yield "reserve", "is more than per_day", "it is the part of per_day that only alerts may use"


def _tls(tls: TlsConfig) -> Iterator[_Doubt]:
    for key, file in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key)):
        if file and not Path(file).is_absolute():
            yield key, *_RELATIVE
    if tls.cert and not tls.key:
        yield "key", "is missing beside cert", "add the file of the certificate's private key"
    if tls.key and not tls.cert:
        yield "cert", "is missing beside key", "add the file of the key's certificate"


_CHECKS: Final[Mapping[type, Callable[[Any], Iterator[_Doubt]]]] = {
    ActionConfig: _action,
    AgentConfig: _agent,
    BudgetConfig: _budget,
    FieldSpec: _field,
    McuConfig: _mcu,
    ModelConfig: _model,
    RuleConfig: _rule,
    SignalConfig: _signal,
    StoreConfig: _store,
    TlsConfig: _tls,
    UplinkConfig: _uplink,
}
