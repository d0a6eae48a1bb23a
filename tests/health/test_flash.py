"""What is written is metered where the kernel tells, said so where it does not, and put in years of a card."""

import os

import pytest

from edge_agent.clock import FakeClock
from edge_agent.flash import FlashMeter

GB = 10**9


class Kernel:
    """A /proc of its own; `write` moves its counters."""

    def __init__(self, folder, holder):
        self.proc = folder
        (folder / "self").mkdir()
        device = holder.stat().st_dev
        self._device = (os.major(device), os.minor(device))
        self._process = self._sectors = 0
        self.write(5 * GB, 7 * GB)

    def write(self, process_bytes, device_bytes):
        self._process += process_bytes
        self._sectors += device_bytes // 512
        (self.proc / "self" / "io").write_text(
            f"rchar: 1\nwchar: 2\nwrite_bytes: {self._process + 4096}\ncancelled_write_bytes: 4096\n"
        )
        major, minor = self._device
        (self.proc / "diskstats").write_text(
            " 999 0 other 1 2 3 4 5 6 77 8 9 10 11\n"
            f" {major:4} {minor:4} mmcblk0p2 1 2 3 4 5 6 {self._sectors} 8 9 10 11\n"
        )


@pytest.fixture
def kernel(tmp_path):
    (tmp_path / "proc").mkdir()
    return Kernel(tmp_path / "proc", tmp_path)


def test_rate_of_a_day_and_years_of_a_card_come_from_the_device(tmp_path, kernel):
    clock = FakeClock()
    meter = FlashMeter(tmp_path, clock, card_tbw=15, proc=kernel.proc)
    assert meter.to_dict()["years"] is None
    clock.advance(43_200)
    kernel.write(GB // 4, GB // 2 // 512 * 512)
    told = meter.to_dict()
    assert (told["device"], told["process_bytes"], told["why_not"]) == ("mmcblk0p2", GB // 4, "")
    assert told["process_bytes_per_day"] == GB // 2
    assert told["device_bytes_per_day"] == pytest.approx(GB, rel=1e-6)
    assert told["years"] == pytest.approx(15_000 / 365.25, abs=0.1)


def test_without_a_card_in_the_site_file_the_years_are_those_of_a_terabyte(tmp_path, kernel):
    clock = FakeClock()
    meter = FlashMeter(tmp_path, clock, proc=kernel.proc)
    clock.advance(86_400)
    kernel.write(GB, GB)
    assert meter.to_dict()["years"] == pytest.approx(1000 / 365.25, abs=0.1)


def test_rate_is_that_of_the_last_day(tmp_path, kernel):
    clock = FakeClock()
    meter = FlashMeter(tmp_path, clock, proc=kernel.proc)
    kernel.write(100 * GB, 100 * GB)
    for _ in range(3 * 144):
        clock.advance(600)
        kernel.write(GB // 144, GB // 144)
        told = meter.to_dict()
    assert told["process_bytes_per_day"] == pytest.approx(GB, rel=0.01)
    assert told["process_bytes"] == pytest.approx(103 * GB, rel=0.01)


@pytest.mark.parametrize("content", [None, "", "nonsense\n", "write_bytes: x\ncancelled_write_bytes: 0\n"])
def test_what_the_system_does_not_tell_is_said_so(tmp_path, kernel, content):
    for name in ("self/io", "diskstats"):
        path = kernel.proc / name
        path.unlink()
        if content is not None:
            path.write_text(content)
    clock = FakeClock()
    meter = FlashMeter(tmp_path, clock, card_tbw=15, proc=kernel.proc)
    clock.advance(86_400)
    told = meter.to_dict()
    assert (told["process_bytes"], told["device_bytes"], told["years"]) == (None, None, None)
    assert "self/io cannot be read" in told["why_not"]
    assert "diskstats does not tell" in told["why_not"]


def test_this_kernel_counts_what_this_process_writes(tmp_path):
    meter = FlashMeter(tmp_path, FakeClock())
    before = meter.to_dict()["process_bytes"]
    if before is None:
        pytest.skip("this kernel has no /proc/self/io")
    with (tmp_path / "file").open("wb") as file:
        file.write(os.urandom(1_000_000))
        file.flush()
        os.fsync(file.fileno())
    written = meter.to_dict()["process_bytes"] - before
    if not written:
        pytest.skip("this file system does not count, as overlays in a sandbox")
    assert written >= 900_000
