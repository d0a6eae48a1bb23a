"""Campaigns run with --long, or when -m names them."""

import pytest
from hypothesis import settings

# Whatever the profile in force says, plus this: shared machines stall for longer than a deadline allows.
settings.register_profile("bridge", parent=settings(), deadline=None)
settings.load_profile("bridge")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long", default=False) or "long" in (config.option.markexpr or ""):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="a campaign: run with --long or -m long"))
