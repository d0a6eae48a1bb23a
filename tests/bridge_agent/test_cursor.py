"""A place at the device as one number and back: no acknowledgement reaches another life of the device."""

from edge_agent.links.bridge_cursor import CursorsGiven, pack, unpack
from firmware_bridge.events import Cursor


def test_a_number_holds_boot_and_place_up_to_the_last_of_both() -> None:
    for boot, following in ((0, 0), (7, 4096), (2**32 - 1, 2**32 - 1)):
        number = pack(boot, following)
        assert number < 2**64
        assert unpack(number) == Cursor(boot, following)
    assert unpack(pack(7, 2**32)) == Cursor(7, 0)


def test_what_was_given_is_found_again_also_in_the_middle_of_a_batch() -> None:
    given = CursorsGiven()
    given.give(Cursor(7, 100))
    given.give(Cursor(7, 200))
    assert given.committed(pack(7, 150)) == Cursor(7, 150)
    assert given.committed(pack(7, 201)) is None
    assert given.committed(pack(8, 10)) is None


def test_a_late_commit_of_an_earlier_life_does_not_free_samples_of_this_one() -> None:
    given = CursorsGiven()
    given.give(Cursor(7, 5000, life=0))
    given.give(Cursor(7, 6000, life=1))
    assert given.committed(pack(7, 4000)) == Cursor(7, 4000, life=0)
    # beyond what the first life gave, so it can only be of the second
    assert given.committed(pack(7, 5500)) == Cursor(7, 5500, life=1)
    assert given.committed(pack(7, 5000)) == Cursor(7, 5000, life=1)


def test_places_are_followed_over_the_wrap() -> None:
    given = CursorsGiven()
    given.give(Cursor(7, 2**32 - 10))
    given.give(Cursor(7, 20))
    assert given.committed(pack(7, 2**32 - 5)) == Cursor(7, 2**32 - 5)
    assert given.committed(pack(7, 20)) == Cursor(7, 20)


def test_memory_is_bounded_by_the_boots_that_are_not_committed() -> None:
    given = CursorsGiven()
    for boot in range(1000):
        number = given.give(Cursor(boot, 5))
        assert given.committed(number) == Cursor(boot, 5)
    assert len(given._lives) == 1
