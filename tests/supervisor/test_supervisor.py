"""What breaks is restarted, what breaks again and again is parked, and the watchdog hears when the engine stands."""

import socket
import threading

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import Fatal, Retryable
from edge_agent.health import Health
from edge_agent.supervisor import Supervisor


class ScriptedBody:
    """Runs until it is stopped; `bugs` of its runs end in an error of nobody's class before that."""

    def __init__(self, name, bugs=0):
        self.name = name
        self.progress_ns = 0
        self.runs = 0
        self.running = threading.Event()
        self._bugs = bugs
        self._stopped = threading.Event()

    def run(self):
        self.runs += 1
        if self.runs <= self._bugs:
            raise ZeroDivisionError(self.name)
        self.running.set()
        self._stopped.wait(30)

    def stop(self):
        self._stopped.set()


class Scene:
    """A supervisor on a clock that is turned by hand, and what it posts to the rules."""

    def __init__(self):
        self.clock = FakeClock()
        self.health = Health()
        self.news = []
        self.told = threading.Event()
        self.supervisor = Supervisor(self.clock, self.health, self._post)

    def _post(self, events):
        self.news += events
        self.told.set()

    def turns(self, *each):
        """One turn of the main loop before each of these, and one after the last."""
        left = list(each)

        def on_turn():
            if left:
                left.pop(0)()
            else:
                self.supervisor.ask_stop()

        self.supervisor.serve(0.001, on_turn)


@pytest.fixture
def scene():
    scene = Scene()
    yield scene
    assert scene.supervisor.stop() == []


@pytest.fixture
def watchdog(tmp_path, monkeypatch):
    """systemd's end of the notification socket: how often it was fed since it was last asked."""
    path = str(tmp_path / "notify")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(path)
    listener.setblocking(False)
    monkeypatch.setenv("NOTIFY_SOCKET", path)

    def fed():
        count = 0
        while True:
            try:
                count += listener.recv(100) == b"WATCHDOG=1"
            except BlockingIOError:
                return count

    yield fed
    listener.close()


def test_row_27_the_watchdog_is_fed_only_while_the_engine_moves(scene, watchdog):
    engine = ScriptedBody("engine")
    scene.supervisor.start(engine, fatal=True)
    seen = []

    def stands_for(seconds):
        scene.clock.advance(seconds)
        seen.append(watchdog())

    def moves():
        stands_for(0)
        engine.progress_ns = scene.clock.mono_ns()

    scene.turns(lambda: stands_for(9), lambda: stands_for(2), lambda: stands_for(60), moves, lambda: stands_for(0))
    assert seen == [1, 1, 0, 0, 1]


def test_a_stuck_body_beside_the_engine_is_named_and_costs_no_restart(scene, watchdog):
    stuck = ScriptedBody("uplink")
    scene.supervisor.start(stuck)
    assert stuck.running.wait(10)
    scene.turns(lambda: scene.clock.advance(11), lambda: None)
    assert watchdog() == 3
    assert [(change.part, change.up) for change in scene.news] == [("uplink", False)]


def test_a_body_with_a_bug_is_started_again_and_the_others_go_on(scene):
    other, broken = ScriptedBody("other"), ScriptedBody("broken", bugs=2)
    for body in (other, broken):
        scene.supervisor.start(body)
    assert broken.running.wait(10)
    assert other.running.wait(10)
    assert (broken.runs, other.runs) == (3, 1)
    assert scene.news[0].part == "broken"
    assert "ZeroDivisionError" in scene.news[0].reason


def test_three_bugs_in_ten_minutes_park_a_body(scene):
    broken = ScriptedBody("broken", bugs=1000)
    scene.supervisor.start(broken)
    (thread,) = scene.supervisor._threads
    thread.thread.join(10)
    assert (broken.runs, thread.parked) == (3, True)


def test_a_crash_of_the_engine_ends_the_process_with_its_own_code(scene):
    scene.supervisor.start(ScriptedBody("engine", bugs=1), fatal=True)
    scene.supervisor.serve(30, lambda: None)
    assert isinstance(scene.supervisor.fatal, Fatal)
    assert scene.supervisor.fatal.exit_code == 70


def test_a_program_that_is_not_there_is_named_to_the_thread_that_asked(scene):
    said = []

    def ask():
        try:
            scene.supervisor.spawner.spawn(["/no/such/program"])
        except Retryable as error:
            said.append(str(error))
        scene.supervisor.ask_stop()

    threading.Thread(target=ask).start()
    scene.supervisor.serve(30, lambda: None)
    assert "/no/such/program" in said[0]
