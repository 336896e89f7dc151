"""What PostgreSQL has prepared on a connection means the same after a change that was undone, or never made."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from forebay.dbproxy.sqlalchemy import create_async_engine


@pytest.mark.parametrize("adapter", [True, False], ids=["sqlalchemy", "client"])
@pytest.mark.parametrize("gone", ["DROP TABLE coming", "ALTER TABLE coming RENAME TO going"])
@pytest.mark.parametrize("undone", ["ROLLBACK", "ROLLBACK TO before"])
async def test_a_temporary_table_that_comes_back_is_meant_again(undone, gone, adapter, postgres, proxies):
    """Its DROP was rolled back, and what was prepared meanwhile still read the other table of that name."""
    postgres.sql("CREATE TABLE coming AS SELECT 'other' AS a; GRANT ALL ON coming TO app")
    proxy = proxies(postgres, maximum_connections=1)
    async with create_async_engine(proxy).connect() if adapter else proxy.connect() as client:

        async def do(text):
            await client.execute(sa.text(text) if adapter else text)

        async def found():
            asked = "SELECT a FROM coming"
            return await (client.scalar(sa.text(asked)) if adapter else client.fetch_value(asked))

        await do("CREATE TEMP TABLE coming AS SELECT 1 AS a")
        await (client.commit() if adapter else do("BEGIN"))
        await do("SAVEPOINT before")
        await do(gone)
        assert await found() == "other"
        await (client.rollback() if adapter and undone == "ROLLBACK" else do(undone))
        assert await found() == 1
    postgres.sql("DROP TABLE coming")


async def test_a_commit_that_fails_ends_its_local_settings(postgres, proxies):
    """They stayed in the books of SQLAlchemy's connection: what was prepared after it was held for read by them."""
    engine = create_async_engine(proxies(postgres, maximum_connections=1))
    postgres.sql("CREATE TABLE late (a INT UNIQUE DEFERRABLE INITIALLY DEFERRED); GRANT ALL ON late TO app")
    hour = sa.text(r"SELECT extract(epoch FROM '1970-01-01 00:00'\:\:timestamptz)\:\:int / 3600")
    async with engine.connect() as connection:
        await connection.execute(sa.text("SET LOCAL TimeZone TO 'Asia/Tokyo'"))
        await connection.execute(sa.text("INSERT INTO late VALUES (1), (1)"))
        with pytest.raises(sa.exc.IntegrityError):
            await connection.commit()
        await connection.rollback()
        assert await connection.scalar(hour) == 0
        await connection.rollback()
        await connection.execute(sa.text("SET LOCAL TimeZone TO 'Asia/Tokyo'"))
        assert await connection.scalar(hour) == -9
    postgres.sql("DROP TABLE late")
