"""Tables come to their version once, whole, whoever asks, and never go back."""

from __future__ import annotations

import threading

import pytest

from edge_agent.errors import Fatal
from edge_agent.fleet.database import DatabaseSettings, connected
from edge_agent.fleet.schema import Migration, migrate, migrations
from tests.doubles.postgres import Postgres

pytestmark = pytest.mark.timeout(60)


def test_processes_that_start_at_once_migrate_once(cluster: Postgres, database: str) -> None:
    settings = DatabaseSettings(cluster.url(database))
    versions: list[int] = []

    def start() -> None:
        with connected(settings) as connection:
            versions.append(migrate(connection))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions == [len(migrations())] * 4
    applied = cluster.sql("select number from edge.migration order by number", database)
    assert applied == [(m.number,) for m in migrations()]


def test_migration_that_fails_leaves_the_version_before(cluster: Postgres, database: str) -> None:
    bad = Migration(len(migrations()) + 1, "bad", "create table edge.half (); select nonsense")
    with connected(DatabaseSettings(cluster.url(database))) as connection:
        migrate(connection)
        with pytest.raises(Fatal, match="the database is as it was before"):
            migrate(connection, [*migrations(), bad])
        assert migrate(connection) == len(migrations())
    assert cluster.sql("select to_regclass('edge.half')", database) == [(None,)]


def test_database_of_a_newer_version_is_refused_with_what_to_do(cluster: Postgres, database: str) -> None:
    with connected(DatabaseSettings(cluster.url(database))) as connection:
        migrate(connection)
        with pytest.raises(Fatal, match="upgrade this ingest"):
            migrate(connection, migrations()[:-1])


def test_role_that_may_not_create_is_told_what_it_lacks(cluster: Postgres, database: str) -> None:
    cluster.sql(f"create role {database}_poor login", database)
    poor = DatabaseSettings(cluster.url(database, user=f"{database}_poor"))
    with pytest.raises(Fatal, match="grant create on database"), connected(poor) as connection:
        migrate(connection)
