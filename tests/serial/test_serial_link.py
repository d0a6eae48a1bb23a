"""The one owner of a port, on real pseudo-terminals: what fails is named, shared, and never waited for too long."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from doubles.pty_device import PtyDevice, Relays

from edge_agent.errors import Rejected, Retryable
from edge_agent.links.answers import SetCommand, parse_answer
from edge_agent.links.registry import Links
from edge_agent.links.serial import SerialConnection, SerialSettings

TIOCGEXCL = 0x80045440
ANOTHER_PROCESS = """
import serial, sys
port = serial.Serial(sys.argv[1], exclusive=True)
print("open", flush=True)
sys.stdin.read()
"""


def settings(device, **options):
    return SerialSettings(device.path, **options)


def retryable(call, *args, **options):
    with pytest.raises(Retryable) as e:
        call(*args, **options)
    return str(e.value)


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_missing_device_and_no_serial_port_are_named(device, tmp_path):
    links = Links()
    assert "no such device; is it plugged in?" in retryable(links.serial, settings(device))
    (tmp_path / "file").write_text("")
    for path in ("/dev/null", str(tmp_path), str(tmp_path / "file"), ""):
        retryable(links.serial, SerialSettings(path))


def test_failed_opens_leak_no_descriptor(device):
    links = Links()
    with device:
        links.serial(settings(device)).close()
        before = open_descriptors()
        for _ in range(10):
            links.serial(settings(device), reading=True).close()
    for path in (device.path, "/dev/null"):
        retryable(links.serial, SerialSettings(path))
    assert open_descriptors() == before - 2  # the device's own two


def test_a_read_pauses_only_where_chunks_follow_closely(device, monkeypatch):
    now, step, pauses = 0.0, 0.0, []

    def monotonic():
        nonlocal now
        now += step
        return now

    monkeypatch.setattr("edge_agent.links.serial.monotonic", monotonic)
    monkeypatch.setattr("edge_agent.links.serial.sleep", pauses.append)
    with device:
        port = Links().serial(settings(device), reading=True)

        def pauses_of_a_read():
            pauses.clear()
            device.send(b"x")
            assert port.read(1.0) == b"x"
            return pauses

        assert pauses_of_a_read() == []
        assert pauses_of_a_read() == [0.001]
        step = 0.01
        assert pauses_of_a_read() == [0.001]
        assert pauses_of_a_read() == []
        port.close()


def test_port_held_by_another_process_is_refused_with_its_name(device):
    with device:
        argv = [sys.executable, "-c", ANOTHER_PROCESS, device.path]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout.readline() == b"open\n"
            message = retryable(Links().serial, settings(device))
            other.stdin.close()
        assert "busy, opened by" in message
        assert f"(pid {other.pid})" in message
        Links().serial(settings(device)).close()


def test_an_open_port_keeps_another_process_out(device):
    with device:
        port = Links().serial(settings(device), reading=True)
        argv = [sys.executable, "-c", ANOTHER_PROCESS, device.path]
        other = subprocess.run(argv, input=b"", capture_output=True, timeout=20, check=False)
        assert other.returncode != 0
        # programs that know no lock are kept out by the kernel; root is not, so the flag is looked at
        assert fcntl.ioctl(device.slave, TIOCGEXCL, bytes(4)) != bytes(4)
        device.send(b"mine\n")
        assert port.read(1.0) == b"mine\n"
        port.close()


def test_the_agent_itself_under_another_name_is_named(device):
    with device:
        links = Links()
        port = links.serial(settings(device))
        message = retryable(links.serial, SerialSettings(os.ttyname(device.slave)))
        assert "this agent itself, under another name" in message
        port.close()


def test_users_of_one_port_must_agree(device):
    with device:
        links = Links()
        source = links.serial(settings(device), reading=True)
        with pytest.raises(Rejected, match="9600"):
            links.serial(settings(device, baud=9600))
        with pytest.raises(Rejected, match="already has a source"):
            links.serial(settings(device), reading=True)
        source.close()
        links.serial(settings(device, baud=9600), reading=True).close()


def test_read_honours_its_timeout_and_returns_at_once_when_data_comes(device):
    with device:
        port = Links().serial(settings(device), reading=True)
        for timeout_s in (0.0, 0.1, 0.7):
            start = time.monotonic()
            assert port.read(timeout_s) == b""
            assert timeout_s <= time.monotonic() - start < timeout_s + 0.3
        threading.Timer(0.1, device.send, [b"x"]).start()
        start = time.monotonic()
        assert port.read(5.0) == b"x"
        assert time.monotonic() - start < 1.0
        port.close()


def test_what_came_before_the_hang_up_is_delivered(device):
    device.plug()
    port = Links().serial(settings(device), reading=True)
    heard = []

    def listen():
        while True:
            heard.append(port.read(5.0))

    reader = threading.Thread(target=lambda: retryable(listen), daemon=True)
    reader.start()
    device.send(b"last words\n")
    time.sleep(0.1)  # the kernel itself forgets what nobody has read when it hangs up
    device.unplug()
    reader.join(2.0)
    assert heard == [b"last words\n"]
    port.close()


def test_a_lost_link_is_lost_for_all_its_users_and_found_within_a_second(device):
    links = Links()
    device.plug()
    source = links.serial(settings(device), reading=True)
    actuator = links.serial(settings(device))
    device.unplug()
    start = time.monotonic()
    retryable(source.read, 5.0)
    retryable(actuator.write, b"x\n", 1.0)
    assert time.monotonic() - start < 1.0
    device.plug()
    source.close()
    # the idle actuator still has its dead share; that keeps nobody from the new port
    again = links.serial(settings(device), reading=True)
    device.send(b"back\n")
    assert again.read(1.0) == b"back\n"
    for port in (actuator, again, actuator, again):
        port.close()


def test_a_writer_that_finds_the_link_lost_wakes_the_reader(device):
    links = Links()
    device.plug()
    source = links.serial(settings(device), reading=True)
    writer = links.serial(settings(device))
    outcome = []
    reader = threading.Thread(target=lambda: outcome.append(retryable(source.read, 30.0)), daemon=True)
    reader.start()
    device.unplug()
    retryable(writer.write, b"x\n", 1.0)
    reader.join(2.0)
    assert outcome
    source.close()
    writer.close()


def test_dropping_a_connection_wakes_its_reader_before_the_descriptor_is_closed(device):
    with device:
        connection = SerialConnection(settings(device))
        outcome = []
        reader = threading.Thread(target=lambda: outcome.append(retryable(connection.read, 30.0)), daemon=True)
        reader.start()
        time.sleep(0.1)
        start = time.monotonic()
        connection.drop()
        connection.drop()
        assert time.monotonic() - start < 1.0
        reader.join(2.0)
        assert "link lost" in outcome[0]


def test_a_name_that_points_to_another_tty_is_a_lost_link(device, tmp_path):
    """Re-enumerated: the old tty stays open and mute."""
    other = PtyDevice(tmp_path)
    device.plug()
    port = Links().serial(settings(device), reading=True)
    other.plug()  # takes over the same name
    start = time.monotonic()
    assert "renumbered" in retryable(port.read, 5.0)
    assert time.monotonic() - start < 1.0
    port.close()
    port = Links().serial(settings(device), reading=True)
    other.send(b"new\n")
    assert port.read(1.0) == b"new\n"
    port.close()
    other.hang_up()


def test_silence_beyond_the_idle_limit_is_a_lost_link(device):
    with device:
        port = Links().serial(settings(device), reading=True)
        assert port.read(0.2, 0.5) == b""
        assert "silent for 0.5 s" in retryable(port.read, 1.0, 0.5)
        port.close()


def test_a_device_that_takes_no_data_fails_the_write_in_time_and_gets_no_stale_command(device):
    with device:
        port = Links().serial(settings(device))
        start = time.monotonic()
        assert "takes no data" in retryable(port.write, b"x" * 1_000_000, 0.3)
        assert 0.3 <= time.monotonic() - start < 0.8
        while device.receive(0.1):
            pass
        port.write(b"fresh\n", 1.0)
        assert device.receive().endswith(b"\nfresh\n")
        port.close()


def test_input_that_nobody_read_is_not_stamped_late(device):
    with device:
        links = Links()
        actuator = links.serial(settings(device))
        device.send(b"old\n")
        source = links.serial(settings(device), reading=True)
        assert source.read(0.1) == b""
        device.send(b"new\n")
        assert source.read(1.0) == b"new\n"
        source.close()
        actuator.close()


@pytest.mark.parametrize("check", ["none", "crc16"])
def test_an_answer_finds_who_asked_with_and_without_a_source(device, check):
    with device:
        links = Links()
        actuator = links.serial(settings(device))
        if check == "none":
            Relays(device).start()
            answer = actuator.ask(SetCommand(set="relay", value=1, id=7), check, 2.0)
            assert (answer.ack, answer.value) == (7, 1)
        source = links.serial(settings(device), reading=True)
        outcome = []
        asking = threading.Thread(
            target=lambda: outcome.append(actuator.ask(SetCommand(set="relay", value=0, id=8), "none", 2.0)),
            daemon=True,
        )
        asking.start()
        if check == "crc16":
            device.receive()
            device.send(b'{"ack":8,"value":0}\n')
        seen = b""
        while not seen.endswith(b"\n"):
            seen += source.read(2.0)
        assert source.answered(parse_answer(seen))
        asking.join(2.0)
        assert outcome[0].value == 0
        assert not source.answered(parse_answer(seen)), "nobody waits any more"
        source.close()
        actuator.close()


def test_a_link_lost_while_waiting_for_the_answer_ends_the_wait(device):
    device.plug()
    links = Links()
    actuator = links.serial(settings(device))
    pulled = threading.Timer(0.2, device.unplug)
    pulled.start()
    start = time.monotonic()
    retryable(actuator.ask, SetCommand(set="relay", value=1, id=7), "none", 10.0)
    assert time.monotonic() - start < 2.0
    pulled.join()
    actuator.close()
