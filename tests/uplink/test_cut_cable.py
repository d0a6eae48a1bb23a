"""Row 10 of the failure modes on a real network stack: packets that vanish, with nobody to say so."""

import time

import pytest
from doubles.cable import Cable
from running import running


@pytest.mark.slow
def test_row_10_with_data_in_flight_a_cut_cable_is_noticed_within_5_seconds_and_costs_no_row(tmp_path):
    with Cable(tmp_path) as cable, running(cable.port, host=cable.far, reconnect_max="2s") as agent:
        agent.commit(5)
        agent.delivered(5)
        cable.cut()
        started = time.monotonic()
        agent.commit(20)
        reason = agent.down_reason(10)
        assert time.monotonic() - started < 5.0
        assert "does not answer" in reason
        cable.mend()
        agent.delivered(25, timeout_s=40)
        assert agent.outbox.dead == {}


@pytest.mark.slow
def test_row_10_on_an_idle_line_a_cut_cable_is_noticed_within_one_and_a_half_keepalives(tmp_path):
    with Cable(tmp_path) as cable, running(cable.port, host=cable.far, keepalive_s=5) as agent:
        agent.connected()
        time.sleep(0.3)
        cable.cut()
        started = time.monotonic()
        reason = agent.down_reason(15)
        assert time.monotonic() - started < 8.0, "1.5 x keepalive, and half a second"
        assert "does not answer" in reason or "is silent" in reason
