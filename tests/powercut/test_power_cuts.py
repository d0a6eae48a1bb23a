"""The power goes at any moment: what was promised is there, and the box starts by itself."""

import pytest

from tests.powercut.campaign import Campaign


def cut(box_folder, recorder, cuts, **options):
    return Campaign(box_folder, recorder, **options).run(cuts)


def holds(report):
    assert not report.faulty, "\n".join([str(report), *report.examples])
    assert report.seen["found a store"] > report.cuts * 3 / 4


def test_nothing_acknowledged_is_lost_in_60_power_cuts(box_folder, recorder):
    holds(cut(box_folder, recorder, 60, seed=3, commits=60, cuts_per_life=30))


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_in_600_power_cuts(box_folder, recorder):
    report = cut(box_folder, recorder, 600, seed=2, cuts_per_life=100, lives_per_box=3)
    holds(report)
    for reason in ("overload", "thinned", "quota", "rejected", "merged"):
        assert report.seen[reason] > 20, report


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_nothing_acknowledged_is_lost_in_10000_power_cuts(box_folder, recorder, capsys):
    def say(line):
        with capsys.disabled():
            print(line, flush=True)

    report = cut(box_folder, recorder, 10_000, seed=1, say=say)
    say(str(report))
    holds(report)


@pytest.mark.slow
def test_control_without_syncs_the_cuts_break_the_store(box_folder, recorder):
    report = cut(box_folder, recorder, 100, seed=1, synchronous="OFF", lives_per_box=1)
    assert report.share("moved aside") > 0.15, report
    assert report.share("lost") > 0.5, report


@pytest.mark.slow
def test_control_with_fewer_syncs_the_cuts_lose_rows_and_break_nothing(box_folder, recorder):
    report = cut(box_folder, recorder, 100, seed=1, synchronous="NORMAL", lives_per_box=1)
    assert report.share("lost") > 0.4, report
    assert not report.kinds.keys() - {"lost", "hole", "cursor"}, report
