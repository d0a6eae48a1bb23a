from hypothesis import given
from hypothesis import strategies as st

from edge_agent.store.ranges import Ranges

pairs = st.lists(st.tuples(st.integers(0, 60), st.integers(-2, 12)).map(lambda t: (t[0], t[0] + t[1])), max_size=20)


@given(pairs, st.integers(0, 70), st.integers(-2, 30))
def test_ranges_are_the_set_of_their_numbers(added, low, width):
    ranges = Ranges(added)
    numbers = {n for first, last in added for n in range(first, last + 1)}
    assert {n for first, last in ranges for n in range(first, last + 1)} == numbers
    assert all(b + 1 < c for (_, b), (c, _) in zip(ranges, list(ranges)[1:], strict=False))
    assert ranges.size == len(numbers)
    assert ranges.highest == max(numbers, default=None)
    assert all((n in ranges) == (n in numbers) for n in range(-1, 80))
    holes = {n for first, last in ranges.holes(low, low + width) for n in range(first, last + 1)}
    assert holes == {n for n in range(low, low + width + 1) if n not in numbers}
    assert ranges == Ranges(reversed(added))
