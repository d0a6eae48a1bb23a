"""What the backend is told of losses is what was declared since the start."""

from edge_agent.control import Tally
from edge_agent.store.writer import Committed


def test_declared_numbers_add_up_by_reason():
    tally = Tally()
    for lost in ({}, {"overload": 3}, {"quota": 10, "overload": 1}, {}):
        tally.add(Committed((1, 1, 1), lost=lost))
    assert tally.lost == {"overload": 4, "quota": 10}
