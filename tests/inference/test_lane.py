"""A lane answers every input, with a prediction, an invalid one that says why, or a declared loss."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import struct
import time
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.inference.breaker import Breaker
from edge_agent.inference.package import load_package
from edge_agent.inference.wire import Ask, Load
from edge_agent.inference.worker_process import WorkerProcess
from edge_agent.types import Infer, Lost, SeqRange

from . import onnx_bytes
from .lane_rig import CLOCK, DirectSpawner, LaneRig, wait_gone, worker
from .packages import PLAIN_INPUT, PLAIN_OUTPUT, plain_package


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return plain_package(tmp_path / "plain", onnx_bytes.identity())


def test_prediction_names_its_input_model_and_latency(plain: Path) -> None:
    with LaneRig(plain) as rig:
        stamp = CLOCK.now()
        refs = (SeqRange("press", "epoch", 7, 10),)
        raw = struct.pack("<4f", 1, 2, 3, 4.5)
        rig.lane.submit_window(Infer("lane", 17, stamp, raw, (1, 4), refs), waiting=False)
        rig.wait(lambda: bool(rig.predictions))
        prediction = rig.predictions[0]
    assert prediction.valid
    assert prediction.outputs == {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.5}
    assert (prediction.lane, prediction.number, prediction.refs) == ("lane", 17, refs)
    assert prediction.input_stamp == stamp
    assert prediction.stamp.mono_ns >= stamp.mono_ns
    assert (prediction.model.name, prediction.model.version) == ("test-model", "1.0.0")
    assert prediction.digest == "sha256:" + hashlib.sha256(raw).hexdigest()
    assert 0 < prediction.latency_ms < 2000
    assert rig.trust == "trusted"


def test_replay_is_held_back_and_every_window_is_predicted_in_order(plain: Path) -> None:
    with LaneRig(plain) as rig:
        for n in range(500):
            rig.window(n, 0, 0, 0, waiting=True)
        rig.wait(lambda: len(rig.predictions) == 500)
        assert not rig.lane.busy
    assert [p.number for p in rig.predictions] == list(range(500))
    assert [p.outputs["a"] for p in rig.predictions] == list(range(500))
    assert rig.lost == 0


def test_input_sent_behind_one_that_hangs_is_answered_by_the_next_worker(tmp_path: Path) -> None:
    package = plain_package(tmp_path, onnx_bytes.endless(above=100), deadline_ms=300)
    with LaneRig(package) as rig:
        rig.ask(1, 2, 3, 4)
        for a in (1000, 5, 6):
            rig.window(a, 0, 0, 0)
        rig.wait(lambda: len(rig.predictions) == 4)
        assert [p.valid for p in rig.predictions] == [True, False, True, True]
        assert [p.outputs.get("a") for p in rig.predictions] == [1.0, None, 5.0, 6.0]
        assert rig.health.value("deadline") == 1
    assert rig.lost == 0


def test_inputs_that_wait_when_a_lane_stops_are_declared_also_the_one_that_was_sent_early(tmp_path: Path) -> None:
    package = plain_package(tmp_path, onnx_bytes.endless(above=100), deadline_ms=20_000)
    with LaneRig(package) as rig:
        rig.ask(1, 2, 3, 4)
        for a in (1000, 5, 6):
            rig.window(a, 0, 0, 0)
        rig.wait(lambda: rig.worker.owes)
        time.sleep(0.2)
        assert rig.lane.busy
    assert [p.valid for p in rig.predictions] == [True, False]
    assert rig.lost == 2


def test_deadline_of_an_input_sent_early_starts_when_its_forerunner_is_answered(plain: Path) -> None:
    clock = FakeClock()
    process = WorkerProcess(spawner=DirectSpawner(), memory_mb=512, mono_ns=clock.mono_ns)
    package = load_package(plain)
    slot, go_on = process.new_slot(), lambda: False
    process.load(Load(slot, str(package.model_path), package.manifest, 1), 20.0, go_on)
    try:
        for _ in range(2):
            process.send(Ask(slot), b"", 1.0, go_on)
        for _ in range(2):
            clock.advance(0.9)
            assert process.owes
            assert not process.receive(slot, 1.0, go_on).error
        assert not process.owes
    finally:
        process.close()


def test_live_windows_that_do_not_fit_are_declared_and_submitting_never_waits(plain: Path) -> None:
    with LaneRig(plain, queue=8) as rig:
        began = time.monotonic()
        for _ in range(2000):
            rig.window(0, 0, 0, 0)
        assert time.monotonic() - began < 0.5
        rig.wait(lambda: len(rig.predictions) + rig.lost == 2000)
    declared = rig.of(Lost)
    assert rig.lost > 1000
    assert {(lost.stream, lost.reason) for lost in declared} == {("infer-lane", "overload")}
    numbers = [p.number for p in rig.predictions]
    assert numbers == sorted(set(numbers))


def test_latest_infers_the_newest_and_declares_the_windows_it_replaced(plain: Path) -> None:
    with LaneRig(plain, policy="latest") as rig:
        for n in range(100):
            rig.window(n, 0, 0, 0)
        rig.wait(lambda: len(rig.predictions) + rig.lost == 100)
    assert rig.predictions[-1].outputs["a"] == 99.0


def test_model_that_hangs_is_killed_at_its_deadline_and_the_next_input_is_answered(tmp_path: Path) -> None:
    package = plain_package(tmp_path, onnx_bytes.endless(above=100), deadline_ms=300)
    with LaneRig(package) as rig:
        assert rig.ask(1, 2, 3, 4).valid
        pid = rig.worker.pid
        began = time.monotonic()
        late = rig.ask(1000, 0, 0, 0)
        assert time.monotonic() - began < 0.3 + 0.3
        assert not late.valid
        assert late.outputs == {}
        assert late.error == "no answer within 300 ms"
        wait_gone(pid, 1.0)
        began = time.monotonic()
        assert rig.ask(1, 2, 3, 4).valid
        assert time.monotonic() - began < 4.0
        assert rig.trust == "trusted"
        assert rig.health.value("deadline") == 1
        assert rig.last_error == late.error


def test_breaker_opens_on_a_hanging_model_and_its_first_good_answer_closes_it(tmp_path: Path) -> None:
    package = plain_package(tmp_path, onnx_bytes.endless(above=100), deadline_ms=100)
    with LaneRig(package, breaker=Breaker(failures=3, cooldown_s=1.0)) as rig:
        asked = 0
        while rig.trust != "unavailable":
            rig.ask(1000, 0, 0, 0)
            asked += 1
        assert asked == 3
        assert rig.reason == "no answer within 100 ms"
        assert rig.worker.pid is None
        rig.window(1, 1, 1, 1)
        rig.wait(lambda: rig.lost == 1)
        assert rig.of(Lost)[0].reason == "other"
        seen = len(rig.predictions)
        rig.wait(lambda: "half open" in str(rig.health.to_dict(0)["notes"]["state"]))
        assert rig.trust == "unavailable"
        rig.window(1, 2, 3, 4)
        rig.wait_trust("trusted")
        rig.wait(lambda: len(rig.predictions) == seen + 1)
        assert rig.predictions[-1].valid


@pytest.mark.slow
def test_model_that_never_answers_makes_the_lane_unavailable_and_leaves_no_process(tmp_path: Path) -> None:
    package = plain_package(tmp_path, onnx_bytes.endless(), deadline_ms=100)
    with LaneRig(package, breaker=Breaker(failures=2, cooldown_s=60)) as rig:
        pids = set()
        while rig.trust != "unavailable":
            pids |= {rig.worker.pid} - {None}
            time.sleep(0.02)
        assert "no answer within 2100 ms" in rig.reason
        assert rig.health.value("deadline") == 2
    assert len(pids) == 2
    for pid in pids:
        wait_gone(pid)


def test_lane_with_a_hung_worker_stops_at_once_and_leaves_no_process(tmp_path: Path) -> None:
    package = plain_package(tmp_path, onnx_bytes.endless(above=100), deadline_ms=60_000)
    with LaneRig(package) as rig:
        rig.ask(1, 2, 3, 4)
        pid = rig.worker.pid
        rig.window(1000, 0, 0, 0)
        time.sleep(0.2)
        began = time.monotonic()
    assert time.monotonic() - began < 1.0
    wait_gone(pid, 1.0)


def test_output_that_is_not_a_number_is_invalid_and_the_worker_goes_on(tmp_path: Path) -> None:
    with LaneRig(plain_package(tmp_path, onnx_bytes.not_a_number())) as rig:
        for _ in range(3):
            prediction = rig.ask(1, 2, 3, 4)
            assert not prediction.valid
            assert prediction.outputs == {}
            assert "1 of 4 output values are NaN or infinite" in prediction.error
        assert rig.trust == "trusted"
        assert rig.health.value("starts") == 1
        assert "NaN" in rig.last_error


def test_output_outside_its_plausible_range_is_invalid(tmp_path: Path) -> None:
    package = plain_package(tmp_path, onnx_bytes.identity(), output=PLAIN_OUTPUT + "\n[plausible]\na = [0.0, 10.0]\n")
    with LaneRig(package) as rig:
        assert rig.ask(10, 0, 0, 0).valid
        prediction = rig.ask(10.5, 0, 0, 0)
        assert not prediction.valid
        assert prediction.outputs == {}
        assert "a 10.5 is outside its plausible range" in prediction.error


def test_window_that_is_not_finite_is_invalid(plain: Path) -> None:
    with LaneRig(plain) as rig:
        assert "not finite" in rig.ask(1, float("nan"), 3, 4).error
        assert "expected 16" in rig.ask(1, 2, 3).error
        assert rig.ask(1, 2, 3, 4).valid


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("shape = [1, 4]", "shape = [1, 2, 2]", "float32 [1, 2, 2], the model has float32 [1, 4]"),
        ('dtype = "float32"', 'dtype = "int8"\nquantization = [1.0, 0]', "int8 [1, 4], the model has float32 [1, 4]"),
        ('kind = "values"', 'kind = "values"\ntensor = "z"', 'the manifest means "z", the model has y'),
    ],
)
def test_model_that_is_not_what_its_manifest_says_is_refused_at_once(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    tables = PLAIN_INPUT + PLAIN_OUTPUT
    assert old in tables
    package = plain_package(tmp_path, onnx_bytes.identity(), given=tables.replace(old, new, 1), output="")
    with LaneRig(package) as rig:
        rig.wait_trust("unavailable")
        assert said in rig.reason
        assert rig.health.value("refused") == 1
        assert rig.worker.pid is None


def test_shape_that_depends_on_the_input_is_checked_each_time(tmp_path: Path) -> None:
    names = "abcdefgh"
    output = PLAIN_OUTPUT.replace("shape = [1, 4]", "shape = [2, 4]").replace(
        'names = ["a", "b", "c", "d"]', f"names = {list(names)}"
    )
    with LaneRig(plain_package(tmp_path, onnx_bytes.as_many_as_not_zero(), output=output)) as rig:
        assert rig.ask(1, 2, 3, 4).outputs == dict(zip(names, [0.0] * 4 + [0.0, 1.0, 2.0, 3.0], strict=True))
        assert rig.ask(1, 0, 3, 4).error == "the model gave float32 [2, 3], expected float32 [2, 4]"
        assert rig.ask(1, 2, 3, 4).valid
        assert rig.trust == "trusted"


def test_model_that_takes_too_much_memory_is_killed_and_named(tmp_path: Path) -> None:
    package = plain_package(tmp_path, onnx_bytes.big(60_000_000))
    with LaneRig(package, memory_mb=200, breaker=Breaker(failures=1)) as rig:
        rig.wait_trust("unavailable")
        assert "more than memory_mb = 200" in rig.reason
        assert rig.health.value("memory") == 1
        assert rig.worker.pid is None


@pytest.mark.parametrize("elements", [2**40, 200_000_000])
def test_tensor_that_cannot_be_fails_alone(tmp_path: Path, elements: int) -> None:
    """Four terabytes, and 800 MB, which this box could give but the worker may not take."""
    with LaneRig(plain_package(tmp_path, onnx_bytes.big(elements)), memory_mb=200) as rig:
        prediction = rig.ask(1, 2, 3, 4)
        assert not prediction.valid
        assert "onnxruntime" in prediction.error
        assert rig.health.value("starts") == 1


def test_killed_worker_is_replaced_within_two_seconds_also_when_nothing_is_asked(plain: Path) -> None:
    with LaneRig(plain) as rig:
        rig.ask(1, 2, 3, 4)
        pid = rig.worker.pid
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        rig.wait(lambda: rig.worker.pid not in (None, pid) and rig.health.value("starts") == 2)
        assert time.monotonic() - began < 2.0
        assert "died of SIGKILL" in rig.last_error
        assert rig.ask(1, 2, 3, 4).valid
        assert all(p.valid for p in rig.predictions)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_worker_that_dies_with_an_input_in_hand_makes_it_invalid_with_the_signal(tmp_path: Path, number: int) -> None:
    package = plain_package(tmp_path, onnx_bytes.endless(above=100), deadline_ms=20_000)
    with LaneRig(package) as rig:
        rig.ask(1, 2, 3, 4)
        rig.window(1000, 0, 0, 0)
        time.sleep(0.3)
        os.kill(rig.worker.pid, number)
        rig.wait(lambda: len(rig.predictions) == 2, 5.0)
        assert rig.predictions[-1].error.startswith(f"the worker is gone: it died of {signal.Signals(number).name}")
        assert rig.ask(1, 2, 3, 4).valid


def test_stopped_worker_is_killed_at_the_deadline(plain: Path) -> None:
    with LaneRig(plain, deadline_ms=300) as rig:
        rig.ask(1, 2, 3, 4)
        pid = rig.worker.pid
        os.kill(pid, signal.SIGSTOP)
        assert rig.ask(1, 2, 3, 4).error == "no answer within 300 ms"
        wait_gone(pid, 1.0)


def test_provider_that_is_not_there_is_an_error_unless_the_fallback_is_allowed(plain: Path) -> None:
    with LaneRig(plain, providers=("CUDAExecutionProvider",)) as rig:
        rig.wait_trust("unavailable")
        assert "asked for CUDAExecutionProvider, but the session fell back to CPUExecutionProvider" in rig.reason
        assert rig.last_error == rig.reason
    with LaneRig(plain, providers=("CUDAExecutionProvider", "CPUExecutionProvider")) as rig:
        assert rig.ask(1, 2, 3, 4).valid
        assert "CPUExecutionProvider" in str(rig.health.to_dict(0)["notes"]["backend"])


def test_two_models_share_a_process_and_who_hangs_bears_the_blame(plain: Path, tmp_path: Path) -> None:
    shared = worker()
    hanging = plain_package(tmp_path / "h", onnx_bytes.endless(above=100), deadline_ms=200)
    with (
        LaneRig(plain, shared=shared, name="good") as good,
        LaneRig(hanging, shared=shared, name="bad", breaker=Breaker(failures=1)) as bad,
    ):
        assert good.ask(1, 2, 3, 4).outputs["d"] == 4.0
        assert bad.ask(5, 6, 7, 8).outputs["d"] == 8.0
        assert good.ask(1, 2, 3, 4).valid
        pid = shared.pid
        assert len([1 for rig in (good, bad) if rig.pids == {pid}]) == 2
        assert not bad.ask(1000, 0, 0, 0).valid
        assert bad.trust == "unavailable"
        assert good.ask(1, 2, 3, 4).valid
        assert good.trust == "trusted"
        assert good.health.value("deadline") == good.health.value("crash") == 0
        assert shared.pid != pid


def test_worker_knows_no_secrets_and_is_last_in_line(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    monkeypatch.setenv("NOTIFY_SOCKET", "@notify")
    monkeypatch.setenv("MQTT_PASSWORD", "hunter2")
    with LaneRig(plain) as rig:
        rig.ask(1, 2, 3, 4)
        proc = Path(f"/proc/{rig.worker.pid}")
        environment = proc.joinpath("environ").read_text()
        assert "CREDENTIALS" not in environment
        assert "NOTIFY" not in environment
        assert "hunter2" not in environment
        assert os.getpriority(os.PRIO_PROCESS, rig.worker.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 10
        assert proc.joinpath("oom_score_adj").read_text().strip() == "500"
        assert resource.prlimit(rig.worker.pid, resource.RLIMIT_CORE) == (0, 0)
        maps = proc.joinpath("maps").read_text()
        assert "cv2" not in maps
        assert "ai_edge_litert" not in maps
        sockets = [fd for fd in proc.joinpath("fd").iterdir() if "socket" in str(fd.readlink())]
        assert len(sockets) == 1


def test_worker_reports_to_nobody_and_writes_nothing_at_home(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    with LaneRig(plain) as rig:
        assert rig.ask(1, 2, 3, 4).valid
        files = {str(fd.readlink()) for fd in Path(f"/proc/{rig.worker.pid}/fd").iterdir()}
        assert not [name for name in files if name.startswith("/") and not name.startswith("/dev/")]
        assert "onnxruntime" in str(rig.health.to_dict(0)["notes"]["backend"])
    assert list(home.rglob("*")) == []


def test_lane_that_stands_down_starts_no_worker_and_comes_back_by_itself(plain: Path) -> None:
    rig = LaneRig(plain)
    rig.lane.stand_down(1.0, "safe mode")
    with rig:
        rig.wait_trust("unavailable")
        rig.window(1, 2, 3, 4)
        rig.wait(lambda: rig.lost == 1)
        assert (rig.reason, rig.pids, rig.predictions) == ("safe mode", set(), [])
        rig.wait(lambda: bool(rig.worker.pid))
        assert rig.ask(1, 2, 3, 4).valid
        rig.wait_trust("trusted")


def test_lane_that_waits_keeps_its_progress_fresh(tmp_path: Path) -> None:
    package = plain_package(tmp_path, onnx_bytes.endless(above=100), deadline_ms=3000)
    with LaneRig(package) as rig:
        rig.ask(1, 2, 3, 4)
        rig.window(1000, 0, 0, 0)
        oldest = 0.0
        while len(rig.predictions) < 2:
            oldest = max(oldest, (time.monotonic_ns() - rig.lane.progress_ns) / 1e9)
            time.sleep(0.02)
    assert oldest < 1.0
