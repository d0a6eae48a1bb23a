"""All rules of a site. The cost of a step grows with the rules that read what changed, not with all of them."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

from edge_agent.rules.machine import Phase, RuleMachine, Transition
from edge_agent.rules.rule import Rule
from edge_agent.rules.values import Value

_SLACK: Final = 64


class RuleSet:
    """Steps the rules that a change or a deadline concerns, in the order in which they were configured.

    `phases` says where rules stood before a restart; rules that are not in it start as normal.
    """

    def __init__(self, rules: Sequence[Rule], phases: Mapping[str, Phase] | None = None) -> None:
        before = phases or {}
        self._machines = [RuleMachine(rule, before.get(rule.id, Phase.NORMAL)) for rule in rules]
        self._index = {rule.id: index for index, rule in enumerate(rules)}
        self._readers: dict[int, list[int]] = {}
        for index, rule in enumerate(rules):
            for signal in rule.reads:
                self._readers.setdefault(signal.slot, []).append(index)
        self._queue: list[tuple[int, int]] = []
        self._queued: list[int | None] = [None] * len(self._machines)

    def __getitem__(self, rule: str) -> RuleMachine:
        """The machine of the rule with this id. Raises KeyError."""
        return self._machines[self._index[rule]]

    @property
    def phases(self) -> dict[str, Phase]:
        """Where every rule stands, by id: what to hand to the constructor after a restart."""
        return {machine.rule.id: machine.phase for machine in self._machines}

    def affected(self, slots: Iterable[int]) -> tuple[str, ...]:
        """The ids of the rules that read one of `slots`."""
        return tuple(self._machines[index].rule.id for index in self._reading(slots))

    def deadline(self) -> int | None:
        """The first instant at which a rule is due even if nothing changes."""
        while self._queue and self._is_stale(*self._queue[0]):
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def step(self, values: Sequence[Value], now_ns: int, changed: Iterable[int] = ()) -> list[Transition]:
        """Steps the rules that are due by `now_ns`, by deadline, then those that read a slot in `changed`."""
        transitions: list[Transition] = []
        while (due_ns := self.deadline()) is not None and due_ns <= now_ns:
            _, index = heapq.heappop(self._queue)
            self._queued[index] = None
            transitions += self._step_one(index, values, now_ns)
        for index in self._reading(changed):
            transitions += self._step_one(index, values, now_ns)
        return transitions

    def reset(self, rule: str, values: Sequence[Value], now_ns: int) -> list[Transition]:
        """A person's reset of a latched rule; nothing where its cause is still there. Raises KeyError."""
        return self[rule].reset(values, now_ns)

    def _reading(self, slots: Iterable[int]) -> list[int]:
        readers = self._readers
        lists = [readers[slot] for slot in slots if slot in readers]
        return lists[0] if len(lists) == 1 else sorted(set(chain.from_iterable(lists)))

    def _step_one(self, index: int, values: Sequence[Value], now_ns: int) -> list[Transition]:
        machine = self._machines[index]
        transitions = machine.step(values, now_ns)
        deadline_ns = machine.deadline()
        if deadline_ns != self._queued[index]:
            self._queued[index] = deadline_ns
            if deadline_ns is not None:
                heapq.heappush(self._queue, (deadline_ns, index))
                self._compact()
        return transitions

    def _is_stale(self, deadline_ns: int, index: int) -> bool:
        return self._queued[index] != deadline_ns

    def _compact(self) -> None:
        """A condition that flickers leaves a stale deadline each time: without this they would pile up."""
        if len(self._queue) > 2 * len(self._machines) + _SLACK:
            self._queue = [entry for entry in self._queue if not self._is_stale(*entry)]
            heapq.heapify(self._queue)
