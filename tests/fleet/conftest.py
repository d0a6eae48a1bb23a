from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.postgres import Postgres


@pytest.fixture(scope="session")
def cluster() -> Iterator[Postgres]:
    pytest.importorskip("psycopg", reason="the extra fleet is not installed here")
    postgres = Postgres()
    try:
        yield postgres.start()
    finally:
        postgres.close()


@pytest.fixture
def database(cluster: Postgres) -> str:
    """The name of an empty database."""
    return cluster.database()
