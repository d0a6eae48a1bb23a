"""From rule transitions to what leaves the engine: decisions with their evidence, actions, alerts; people's holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from edge_agent.alerts import NEVER, Alerts
from edge_agent.config.site import ActionConfig
from edge_agent.durations import LONGEST_HOLD_NS
from edge_agent.lane_state import FULL, LaneState
from edge_agent.plan import Plan, RulePlan
from edge_agent.rules.machine import Outcome, Phase, Transition
from edge_agent.rules.ruleset import RuleSet
from edge_agent.rules.values import Known
from edge_agent.types import (
    Act,
    Alert,
    Command,
    Decision,
    Effect,
    HealthChange,
    ModelRef,
    Receipt,
    Stamp,
    Value,
)  # fmt: skip


class Hold(msgspec.Struct, frozen=True):
    """A person's hold on a rule: it goes on deciding, but neither acts nor alerts."""

    by: str
    why: str
    since: Stamp
    for_ns: int
    was_raised: bool
    """When the hold began: what has changed since is made up for at its end."""

    @property
    def until_ns(self) -> int:
        """On the monotonic clock of `since`."""
        return self.since.mono_ns + self.for_ns

    def carried_over(self, now: Stamp) -> Hold:
        """The same on the clock of this boot, and no longer than a hold may be. Where nobody knows for how long the
        box was off, it is held for its whole time again: somebody may have a hand in the machine."""
        for_ns = min(self.for_ns, LONGEST_HOLD_NS)
        if now.boot == self.since.boot:
            return msgspec.structs.replace(self, for_ns=for_ns)
        gone_ns = min(self.since.age_ns(now) or 0, for_ns)
        return msgspec.structs.replace(self, since=now, for_ns=for_ns - gone_ns)

    def __str__(self) -> str:
        return f"held by {self.by}" + (f": {self.why}" if self.why else "")


class Remembered(msgspec.Struct, frozen=True):
    """What outlives a restart: where rules stand (raised and latched), what is raised and acknowledged, and holds."""

    phases: dict[str, Phase] = {}
    alerts: tuple[Alert, ...] = ()
    acked: dict[str, str] = {}
    holds: dict[str, Hold] = {}


NOTHING = Remembered()


class Decider:
    """Steps the rules and numbers what follows. Reads `values`, which the engine owns."""

    def __init__(self, plan: Plan, values: list[Any], epoch: str, before: Remembered) -> None:
        self._plans = plan.rule_plans
        self._rules = RuleSet(plan.rules, before.phases)
        self._values = values
        self._epoch = epoch
        self._next_decision = 0
        self._next_action = 0
        self._acting: dict[int, Act] = {}
        self.alerts = Alerts(epoch, self._still_there(before), before.acked)
        self._holds = {rule: hold for rule, hold in before.holds.items() if rule in self._plans}
        self.due_ns = NEVER
        """When a rule's timer or a hold ends, if nothing changes before."""

    # -- rules -----------------------------------------------------------------------------------------------------

    def step(self, changed: Iterable[int], now: Stamp, rung: str, lanes: Mapping[str, LaneState]) -> list[Effect]:
        """Steps the rules that read a changed slot or are due."""
        out: list[Effect] = []
        if self._holds:
            for rule in [r for r, hold in self._holds.items() if hold.until_ns <= now.mono_ns]:
                out.extend(self._let_go(rule, "expired", now, rung))
        if self.alerts.due_ns <= now.mono_ns:
            out.extend(self.alerts.settle(now))
        for transition in self._rules.step(self._values, now.mono_ns, changed):
            self._follow(transition, now, rung, lanes, out)
        self._look_ahead()
        return out

    def _look_ahead(self) -> None:
        due_ns, alerts_ns = self._rules.deadline(), self.alerts.due_ns
        self.due_ns = alerts_ns if due_ns is None or alerts_ns < due_ns else due_ns
        for hold in self._holds.values():
            self.due_ns = min(self.due_ns, hold.until_ns)

    def _follow(
        self, t: Transition, now: Stamp, rung: str, lanes: Mapping[str, LaneState], out: list[Effect]
    ) -> None:
        plan = self._plans[t.rule]
        held = self._holds.get(t.rule)
        acts = [] if held else self._acts(plan, t.outcome, now)
        out.extend(acts)
        shown = self._action_evidence(plan, t.outcome, acts)
        models = tuple(m for m in (lanes[name].model for name in plan.lanes) if m is not None)
        overrides = (str(held),) if held else ()
        out.append(self._decision(plan, t, now, rung, shown, overrides, models))
        if plan.config.alert and not held:
            out.extend(self._rule_alert(plan, t.outcome, now))

    def _acts(self, plan: RulePlan, outcome: Outcome, now: Stamp) -> list[Act]:
        acts = []
        for action in plan.config.actions:
            value = _commanded(action, outcome)
            if value is not None:
                actuator, _, target = action.set.partition(".")
                act = Act(self._next_action, actuator, target, value, plan.config.id, now)
                self._acting[act.id] = act
                self._next_action += 1
                acts.append(act)
        return acts

    @staticmethod
    def _action_evidence(plan: RulePlan, outcome: Outcome, acts: list[Act]) -> dict[str, object] | None:
        wanted = [a for a in plan.config.actions if _commanded(a, outcome) is not None]
        if not wanted:
            return None
        result = "sent" if acts else "suppressed"
        shown = [{"set": a.set, "value": _commanded(a, outcome)} for a in wanted]
        return {**shown[0], "result": result} if len(shown) == 1 else {"all": shown, "result": result}

    def _decision(
        self, plan: RulePlan, t: Transition, now: Stamp, rung: str, action: dict[str, object] | None,
        overrides: tuple[str, ...], models: tuple[ModelRef, ...],
    ) -> Decision:  # fmt: skip
        seq = self._decision_seq()
        inputs = {name: _shown(value) for name, value in t.inputs.items()}
        return Decision(
            seq, plan.config.id, plan.sha256, t.outcome.value, t.branch, inputs, t.unknown,
            plan.config.severity, now, action, overrides, rung, models,
        )  # fmt: skip

    def _decision_seq(self) -> int:
        seq = self._next_decision
        self._next_decision += 1
        return seq

    # -- actions that came to an end -------------------------------------------------------------------------------

    def receipt(self, receipt: Receipt, now: Stamp, rung: str) -> list[Effect]:
        """The action's outcome as a decision; an alert where it failed, cleared by the next that worked."""
        act = self._acting.pop(receipt.action_id, None)
        if act is None:
            return []
        result = "done" if receipt.done else "superseded" if receipt.superseded else "failed"
        action: dict[str, object] = {"set": f"{act.actuator}.{act.target}", "value": act.value, "result": result}
        if receipt.detail:
            action["detail"] = receipt.detail
        if receipt.read_back is not None:
            action["read_back"] = receipt.read_back
        out: list[Effect] = [self._noted(act.rule, "acted", "", now, rung, action)]
        if not receipt.superseded:
            text = f"{act.actuator}: {receipt.detail or 'no answer'}"
            out.extend(self.alerts.turn(f"actuator/{act.actuator}", not receipt.done, "critical", text, now))
        return out

    def _noted(
        self, rule: str, outcome: str, note: str, now: Stamp, rung: str, action: dict[str, object] | None = None
    ) -> Decision:
        plan = self._plans[rule]
        overrides = (note,) if note else ()
        return Decision(
            self._decision_seq(), rule, plan.sha256, outcome, "", {}, (), plan.config.severity, now, action,
            overrides, rung,
        )  # fmt: skip

    # -- alerts ----------------------------------------------------------------------------------------------------

    def _rule_alert(self, plan: RulePlan, outcome: Outcome, now: Stamp) -> list[Alert]:
        if outcome not in (Outcome.RAISED, Outcome.CLEARED, Outcome.RESET):
            return []
        config, up = plan.config, outcome is Outcome.RAISED
        return self.alerts.turn(f"rule/{config.id}", up, config.severity, config.text or config.id, now)

    def rung_alert(self, rung: str, text: str, now: Stamp) -> list[Alert]:
        """Each step down is an alert of its own; back on `full` clears it."""
        return self._turned("agent/rung", rung != FULL, "warning", text, now, again=True)

    def lane_alert(self, lane: LaneState, reason: str, now: Stamp) -> list[Alert]:
        """A model that is not trusted, also one that never was since the start."""
        name = lane.plan.spec.name
        text = f"model {name} is {lane.trust}" + (f": {reason}" if reason else "")
        return self._turned(f"model/{name}", lane.trust != "trusted", "warning", text, now)

    def health_alert(self, change: HealthChange, now: Stamp) -> list[Alert]:
        text = f"{change.part}: {'works again' if change.up else change.reason}"
        key = f"health/{change.part}"
        return self._turned(key, not change.up, change.severity, text, now, again=change.again)

    def _turned(
        self, dedupe_key: str, up: bool, severity: str, text: str, now: Stamp, *, again: bool = False
    ) -> list[Alert]:
        out = self.alerts.turn(dedupe_key, up, severity, text, now, again=again)
        self._look_ahead()
        return out

    def holds(self) -> dict[str, Hold]:
        """By rule."""
        return dict(self._holds)

    # -- people ----------------------------------------------------------------------------------------------------

    def command(
        self, command: Command, now: Stamp, rung: str, lanes: Mapping[str, LaneState]
    ) -> list[Effect]:  # fmt: skip
        """`reset`, `hold` (with `for_s` and `why`), `release` of a rule; `ack` of an alert by its id. A command that
        fits nothing has no effect: whoever took it in has checked it."""
        if command.name == "ack":
            return [*self.alerts.ack(str(command.args.get("alert")), command.by, now)]
        rule = str(command.args.get("rule"))
        if rule not in self._plans:
            return []
        if command.name == "reset":
            out: list[Effect] = []
            for t in self._rules.reset(rule, self._values, now.mono_ns):
                self._follow(t, now, rung, lanes, out)
            return out
        return self._hold(rule, command, now, rung)

    def _hold(self, rule: str, command: Command, now: Stamp, rung: str) -> list[Effect]:
        if command.name == "hold":
            for_ns = round(float(command.args.get("for_s", 3600)) * 1e9)
            why, was_raised = str(command.args.get("why", "")), self._rules[rule].is_raised
            hold = self._holds[rule] = Hold(command.by, why, now, for_ns, was_raised)
            self._look_ahead()
            return [self._noted(rule, "held", str(hold), now, rung)]
        if command.name == "release" and rule in self._holds:
            return self._let_go(rule, f"released by {command.by}", now, rung)
        return []

    def _let_go(self, rule: str, how: str, now: Stamp, rung: str) -> list[Effect]:
        """Ends a hold. What the rule would have done meanwhile, and still stands, is done now."""
        hold, plan = self._holds.pop(rule), self._plans[rule]
        raised = self._rules[rule].is_raised
        if raised == hold.was_raised:
            return [self._noted(rule, "released", f"{hold}, {how}", now, rung)]
        outcome = Outcome.RAISED if raised else Outcome.CLEARED
        acts = self._acts(plan, outcome, now)
        evidence = self._action_evidence(plan, outcome, acts)
        alerts = self._rule_alert(plan, outcome, now) if plan.config.alert else []
        return [*acts, self._noted(rule, "released", f"{hold}, {how}", now, rung, evidence), *alerts]

    def restore(self, now: Stamp, rung: str) -> list[Effect]:
        """At the start: what rules that were raised before had commanded is commanded again. A device may have gone
        to its safe state since. A rule that is held commands nothing, and is held on."""
        out: list[Effect] = []
        for rule, hold in self._holds.items():
            self._holds[rule] = hold.carried_over(now)
            out.append(self._noted(rule, "held", f"{hold}, since before a restart", now, rung))
        self._look_ahead()
        for rule, plan in self._plans.items():
            if self._rules[rule].is_raised and rule not in self._holds:
                acts = self._acts(plan, Outcome.RAISED, now)
                evidence = self._action_evidence(plan, Outcome.RAISED, acts)
                out += [*acts, self._noted(rule, "restored", "", now, rung, evidence)]
        return out

    def remember(self) -> Remembered:
        """From any thread."""
        phases = {rule: phase for rule, phase in self._rules.phases.items() if self._rules[rule].is_raised}
        return Remembered(phases, tuple(self.alerts.raised()), self.alerts.acked(), dict(self._holds))

    def _still_there(self, before: Remembered) -> list[Alert]:
        """Alerts of rules that are raised; a model's or a part's trouble shows itself anew."""
        keys = {f"rule/{rule}" for rule in before.phases if rule in self._plans}
        return [alert for alert in before.alerts if alert.dedupe_key in keys]

    def phases(self) -> dict[str, str]:
        """Where each rule stands, for status."""
        return {rule: ("unknown" if self._rules[rule].is_unknown and phase == "normal" else phase.value)
                for rule, phase in self._rules.phases.items()}  # fmt: skip


def _commanded(action: ActionConfig, outcome: Outcome) -> Value | None:
    if outcome is Outcome.RAISED:
        return action.value
    return action.else_value if outcome in (Outcome.CLEARED, Outcome.RESET) else None


def _shown(value: Known | None) -> Value | None:
    """A list, which a decision has no column for, is shown as text."""
    return str(list(value)) if isinstance(value, tuple) else value
