"""What the box says of itself is told where it is known, and left out where it is not."""

from pathlib import Path

from edge_agent import machine


def zone(folder, number, text):
    (folder / f"thermal_zone{number}").mkdir()
    (folder / f"thermal_zone{number}" / "temp").write_text(text)


def test_the_hottest_zone_counts_and_nonsense_does_not(tmp_path):
    zone(tmp_path, 0, "48250\n")
    zone(tmp_path, 1, "61500\n")
    zone(tmp_path, 2, "-274000\n")
    zone(tmp_path, 3, "not a number")
    zone(tmp_path, 4, "")
    assert machine.temperature_c(tmp_path) == 61.5


def test_a_box_without_zones_has_no_temperature(tmp_path):
    assert machine.temperature_c(tmp_path) is None
    assert machine.temperature_c(tmp_path / "nothing") is None


def test_disk_and_memory_are_those_of_this_machine(tmp_path):
    total, free = machine.disk_bytes(tmp_path)
    assert 0 < free <= total
    assert machine.disk_bytes(Path("/nothing/of/the/kind")) is None
    assert 5_000_000 < machine.rss_bytes() < 10_000_000_000
    assert machine.load_1m() >= 0
