"""How a connection to a server is opened: credentials first, and once more when the server has refused them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from forebay.dbproxy.secrets import Credentials, credentials_of
from forebay.errors import AuthenticationFailed

if TYPE_CHECKING:
    from forebay.dbproxy.driver import Wire
    from forebay.dbproxy.pool import Pool


async def open_wire(pool: Pool) -> Wire:
    """Open a connection with what the secret says.

    Raises:
        DBProxyError: the secret cannot be read, or the server is not reached, has no room or refuses.

    """
    secret = pool.settings.secret
    credentials = await _credentials(pool)
    try:
        return await _wire(pool, credentials)
    except AuthenticationFailed:
        if hasattr(secret, "forget"):
            secret.forget()
        fresh = await _credentials(pool)
        if fresh == credentials:
            raise
        return await _wire(pool, fresh)


async def _credentials(pool: Pool) -> Credentials:
    secret = pool.settings.secret
    pool.waits_for = f"secret {type(secret).__name__} has not answered yet"
    return await credentials_of(secret, pool.settings.target.username)


async def _wire(pool: Pool, credentials: Credentials) -> Wire:
    pool.waits_for = f"{pool.where} has not answered yet"
    try:
        async with asyncio.timeout(pool.settings.connect_timeout):
            return await pool.driver.open(pool.address, credentials, pool.settings)
    except Exception as error:  # every way in which a driver can fail to connect ends here
        failure = pool.driver.translate(error, None, pool.where)
        raise failure.error from error
