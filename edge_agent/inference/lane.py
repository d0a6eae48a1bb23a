"""A lane: runs one model beside the engine, in a worker process that may hang, crash, leak or talk nonsense.

Promise: `submit_*` never waits unless it is told to; every window that comes in becomes a prediction (perhaps an
invalid one that says why) or a declared loss; and a model that fails moves the lane's trust, not the agent.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator

import msgspec

from edge_agent.errors import Retryable
from edge_agent.inference.breaker import Breaker
from edge_agent.inference.lane_inputs import FramePace, Input, LaneInputs
from edge_agent.inference.manifest import ImageInput
from edge_agent.inference.package import Package
from edge_agent.inference.wire import Answer, Ask, Load
from edge_agent.inference.worker_process import ModelRefused, WorkerFailed, WorkerProcess
from edge_agent.metrics import Histogram
from edge_agent.ports import Clock, Counters
from edge_agent.types import Event, Frame, ImageView, Infer, LaneChange, Lost, Prediction

_TURN_S = 0.25
_LOAD_S = 60.0
_WARM_UP_S = 2.0
"""On top of the deadline, for the first input after a load: memory is touched for the first time."""
_EVERY_NS = 1_000_000_000
"""How often skipped inputs are declared and figures noted."""


class LaneOptions(msgspec.Struct, frozen=True):
    """What the site decides; what it leaves out comes from the manifest."""

    policy: str
    deadline_ms: int
    threads: int = 1
    providers: tuple[str, ...] = ()
    delegate: str = ""
    max_rate_hz: float | None = None
    queue: int = 64
    """Inputs that may wait under the policy `every`."""


class Lane:
    """ports.Body `lane:<name>`. `post` takes its events for the engine and never waits.

    `clock` stamps events; `mono_ns` measures deadlines, which are real time even in a replay.
    """

    def __init__(
        self, name: str, package: Package, options: LaneOptions, *, worker: WorkerProcess, clock: Clock,
        post: Callable[[list[Event]], None], counters: Counters, view_index: int = 0,
        breaker: Breaker | None = None, mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:  # fmt: skip
        self.name = f"lane:{name}"
        self.progress_ns = 0
        self.latency = Histogram()
        """Of answers: from an input being sent to the worker to its outputs."""
        self.view_index = view_index
        """Which image of a frame is this lane's."""
        self._lane = name
        self._package = package
        self._options = options
        self._worker = worker
        self._slot = worker.new_slot()
        self._clock = clock
        self._post = post
        self._counters = counters
        self._mono_ns = mono_ns
        self._breaker = breaker or Breaker()
        self._inputs = LaneInputs(latest=options.policy == "latest", limit=options.queue)
        self._early: Input | None = None
        """The next input, sent while its forerunner was inferred: the worker need not wait for it."""
        self._pace = FramePace(options.max_rate_hz)
        self._stopping = threading.Event()
        self._trust = self._stood_down = ""
        self._rehearsed = False
        self._number = 0
        self._owed = 0
        self._declared_ns = 0
        self._noted_ns = 0
        counters.note("state", "starting")

    @property
    def view(self) -> ImageView | None:
        """What this lane asks of a camera; None for a window."""
        given = self._package.manifest.input
        return given.image_view() if isinstance(given, ImageInput) else None

    @property
    def busy(self) -> bool:
        """Whether an input waits or is being inferred; what it becomes is posted before this turns False."""
        return self._inputs.busy

    def submit_frame(self, frame: Frame, *, waiting: bool) -> None:
        """Any thread. `waiting`: until there is room, instead of replacing or skipping."""
        if waiting or self._pace.due(frame.stamp.mono_ns):
            self._inputs.put(frame, waiting=waiting)

    def submit_window(self, infer: Infer, *, waiting: bool) -> None:
        """Any thread. `waiting`: until there is room, instead of replacing or skipping."""
        self._inputs.put(infer, waiting=waiting)

    def wait_answered(self, timeout_s: float) -> bool:
        """Any thread: until everything submitted was answered or given up, and that was posted."""
        return self._inputs.wait_idle(timeout_s)

    def stand_down(self, for_s: float, reason: str) -> None:
        """Before `run`: no worker for so long; then the next input decides, as after any open breaker."""
        self._stood_down = reason
        self._breaker.open_for(self._mono_ns(), round(for_s * 1e9))
        self._counters.note("state", f"left out: {reason}")

    def stop(self) -> None:
        self._stopping.set()
        self._inputs.close()

    def run(self) -> None:
        if self._stood_down:
            self._move("unavailable", self._stood_down)
        try:
            while not self._stopping.is_set():
                self._turn()
        finally:
            with self._worker.lock:
                self._worker.close()
            self._discard()
            self._declare(0)

    def _turn(self) -> None:
        now_ns = self._mono_ns()
        self.progress_ns = now_ns
        self._declare(now_ns)
        if not self._breaker.ready(now_ns):
            self._rest(now_ns)
            return
        with self._worker_to_itself() as ours:
            if not ours:
                return
            if not self._worker.holds(self._slot):
                self._start()
                return
        item = self._early or self._inputs.take(_TURN_S)
        self._early = None
        with self._worker_to_itself() as ours:
            if item is None:
                if ours:
                    self._watch()
            elif ours and (self._worker.holds(self._slot) or self._start()):
                self._serve(item)
            else:
                self._give_up(item, "the worker could not be started")
        if self._early is None:
            self._inputs.done()

    @contextlib.contextmanager
    def _worker_to_itself(self) -> Iterator[bool]:
        """Waits while another lane's model is loaded or asked; False when the lane is to stop."""
        ours = self._worker.lock.acquire(blocking=False)
        while not ours and not self._turned():
            ours = self._worker.lock.acquire(timeout=_TURN_S)
        try:
            yield ours
        finally:
            if ours:
                self._worker.lock.release()

    def _rest(self, now_ns: int) -> None:
        """Back-off: inputs wait. Open: nobody will answer them."""
        if self._breaker.state == "open":
            self._discard()
        self._stopping.wait(min((self._breaker.retry_ns - now_ns) / 1e9, _TURN_S))

    def _discard(self) -> None:
        self._inputs.discard()
        if self._early is not None:
            self._early = None
            self._owed += 1
            self._inputs.done()

    def _start(self) -> bool:
        """Loads the model and warms it up; False when that failed."""
        self._counters.note("state", "starting")
        try:
            ready = self._worker.load(self._load(), _LOAD_S, self._turned)
            self._rehearsed = True
            self._worker.ask(Ask(self._slot), b"", self._options.deadline_ms / 1e3 + _WARM_UP_S, self._turned)
        except ModelRefused as e:
            self._failed("refused", str(e), hopeless=True)
        except WorkerFailed as e:
            self._failed(e.kind, f"{e.message} (while the model loaded and ran its first input)")
        except Retryable as e:
            self._failed("spawn", str(e))
        else:
            self._started(ready.backend)
            return True
        return False

    def _load(self) -> Load:
        options = self._options
        manifest = msgspec.structs.replace(self._package.manifest, heldout={})
        path = str(self._package.model_path.resolve())
        # a fork has no use of a GPU
        rehearse = not self._rehearsed and not options.providers and options.delegate in ("", "none")
        return Load(self._slot, path, manifest, options.threads, options.providers, options.delegate, rehearse)

    def _started(self, backend: str) -> None:
        self._counters.count("starts")
        self._counters.note("backend", backend)
        self._counters.note("pid", self._worker.pid or 0)
        closed = self._breaker.state == "closed"
        self._counters.note("state", "serving" if closed else "half open: the next input decides")
        if closed:
            self._move("trusted", f"loaded by {backend}")

    def _serve(self, item: Input) -> None:
        """One input to its prediction."""
        timeout_s = self._options.deadline_ms / 1e3
        began_ns = self._mono_ns()
        digest = ""
        try:
            if not self._worker.owes:
                self._send(item, timeout_s)
            # while the worker infers: hashing does not hold the interpreter
            digest = f"sha256:{hashlib.sha256(self._payload(item)).hexdigest()}"
            self._send_early(timeout_s)
            answer = self._worker.receive(self._slot, timeout_s, self._turned)
        except WorkerFailed as e:
            self._give_up(item, e.message, digest)
            self._failed(e.kind, e.message)
            return
        self._answered(item, answer, digest, self._mono_ns() - began_ns)
        self._watch()

    def _send(self, item: Input, timeout_s: float) -> None:
        ask = Ask(self._slot)
        if not isinstance(item, Infer):
            image = item.images[self.view_index]
            ask = Ask(self._slot, image.scale, image.dx, image.dy)
        self._worker.send(ask, self._payload(item), timeout_s, self._turned)

    def _send_early(self, timeout_s: float) -> None:
        """Of a shared worker another lane may be the next to ask."""
        if self._worker.shared:
            return
        self._early = self._inputs.take_early()
        if self._early is not None:
            self._send(self._early, timeout_s)

    def _payload(self, item: Input) -> bytes:
        return item.window if isinstance(item, Infer) else item.images[self.view_index].pixels

    def _answered(self, item: Input, answer: Answer, digest: str, took_ns: int) -> None:
        self.latency.add_us(took_ns // 1000)
        self._counters.count("invalid" if answer.error else "predictions")
        if answer.error:
            self._counters.note("last_error", answer.error)
        if self._breaker.succeeded():
            self._counters.note("state", "serving")
            self._move("trusted", "it answers again")
        self._predict(item, answer, digest, took_ns / 1e6)

    def _give_up(self, item: Input, error: str, digest: str = "") -> None:
        self._counters.count("invalid")
        self._predict(item, Answer(self._slot, {}, error=error), digest, 0.0, answered=False)

    def _predict(
        self, item: Input, answer: Answer, digest: str, latency_ms: float, *, answered: bool = True
    ) -> None:  # fmt: skip
        number, refs = (item.number, item.refs) if isinstance(item, Infer) else (self._next_number(), ())
        prediction = Prediction(
            self._lane, number, item.stamp, self._clock.now(), self._package.ref, not answer.error, answer.outputs,
            answer.detail, answer.error, latency_ms, digest, refs, answered,
        )  # fmt: skip
        self._post([prediction])

    def _next_number(self) -> int:
        number = self._number
        self._number += 1
        return number

    def _watch(self) -> None:
        """Between inputs: is the worker alive, and not too fat?"""
        try:
            self._worker.watch()
        except WorkerFailed as e:
            self._failed(e.kind, e.message)
        self._note_figures()

    def _failed(self, kind: str, reason: str, *, hopeless: bool = False) -> None:
        if kind == "cancelled":
            return
        self._counters.count(kind)
        self._counters.note("last_error", reason)
        if self._breaker.failed(self._mono_ns(), hopeless=hopeless):
            self._counters.count("opened")
            self._worker.release()
            self._counters.note("state", "open: left alone for a while")
            self._move("unavailable", reason)
        else:
            self._counters.note("state", "backing off")

    def _move(self, trust: str, reason: str) -> None:
        if trust != self._trust:
            self._trust = trust
            self._post([LaneChange(self._lane, trust, self._clock.now(), reason)])

    def _declare(self, now_ns: int) -> None:
        """Says what was skipped, at most once a second; 0: now. A camera's older frames are meant to be skipped."""
        self._owed += self._inputs.skipped()
        if not self._owed or 0 < now_ns < self._declared_ns + _EVERY_NS:
            return
        self._declared_ns = now_ns
        self._counters.count("skipped", self._owed)
        if self.view is None or self._options.policy == "every":
            reason = "other" if self._breaker.state == "open" else "overload"
            self._post([Lost(f"infer-{self._lane}", self._owed, reason, self._clock.now())])
            self._number += self._owed
        self._owed = 0

    def _note_figures(self) -> None:
        now_ns = self._mono_ns()
        if now_ns < self._noted_ns + _EVERY_NS:
            return
        self._noted_ns = now_ns
        self._counters.note("rss_mb", round(self._worker.rss_bytes / 1e6, 1))
        self._counters.note("p50_ms", round(self.latency.quantile_ms(0.5), 3))
        self._counters.note("p99_ms", round(self.latency.quantile_ms(0.99), 3))

    def _turned(self) -> bool:
        """Called while the worker is awaited; True when the lane is to stop."""
        self.progress_ns = self._mono_ns()
        return self._stopping.is_set()
