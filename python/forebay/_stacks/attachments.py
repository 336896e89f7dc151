"""What deployed functions need from outside: opened in the app when a function is deployed or changed, once for all that need it.

A function's process opens no connection before it needs one, and only with a permit of the app's own proxy: the maximum holds
over all functions and all of their processes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, Final

from forebay._model import limits
from forebay._stacks.proxies import login
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay._stacks.functions import Deployed
    from forebay._stacks.proxies import Attachment
    from forebay.clock import Clock
    from forebay.dbproxy import DBProxy

log = logging.getLogger("forebay.stacks")

IDLE_SECONDS: Final = 14 * 86_400.0
"""Without a process of any function for so long, an attachment is idle. AWS's own time is "several weeks" or 14 days.

Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
"""
LOOK_SECONDS: Final = 3_600.0
LEFT_SECONDS: Final = float(limits.TIMEOUT_SECONDS_MAX)
"""How long an attachment that no function has any more serves those that run: the longest invocation."""


class CannotAttach(ForebayError):
    """What a function needs from outside cannot be opened; the text says what and why."""


class _AppSecret:
    """A secret of a stack, in the app itself."""

    def __init__(self, secret_of: Callable[[str], str], arn: str) -> None:
        self._secret_of = secret_of
        self._arn = arn

    async def get(self) -> Any:
        return json.loads(self._secret_of(self._arn))


class _Opened:
    """An attachment that is open."""

    def __init__(self, described: dict[str, Any], proxy: DBProxy, now: float) -> None:
        self.described = described
        self.proxy = proxy
        self.users: set[str] = set()
        self.leaving: asyncio.TimerHandle | None = None
        self.used_at = now
        self.joins = 0
        self.is_idle = False


class Attachments:
    """What the functions of an app's stacks are attached to."""

    def __init__(self, secret_of: Callable[[str], str], clock: Clock) -> None:
        """Open nothing yet.

        Args:
            secret_of: gives the value of a secret by its ARN, as it is now.
            clock: the app's.

        """
        self._secret_of = secret_of
        self._clock = clock
        self._opened: dict[str, _Opened] = {}
        """By everything that a process is told of it, so that another password alone opens nothing anew."""
        self._closing: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None

    def share(self, function: Deployed) -> tuple[dict[str, Any], ...]:
        """Give what a function's process is to be told of its attachments. Nothing is connected for it.

        Raises:
            InvalidParameterValue: a secret is gone, or it is not what a proxy needs.

        """
        return tuple(self._of(one).described for one in function.attachments)

    async def open(self, function: Deployed) -> None:
        """Open what a function needs, and see that it can be used.

        Raises:
            CannotAttach: says what cannot, and why.

        """
        for attachment in function.attachments:
            try:
                proxy = self._of(attachment).proxy
                proxy.reconnect()  # by the password that the secret has now
                async with proxy.connect() as client:
                    await client.fetch_value("SELECT 1")
            except ForebayError as error:
                raise CannotAttach(f"database proxy {attachment.name}: {error}") from error

    def use(self, function: Deployed) -> None:
        """Record what a function is attached to from now on; what nobody is attached to any more is closed."""
        mine = [self._of(attachment) for attachment in function.attachments]
        for one in self._opened.values():
            one.users.discard(function.qualified)
        for one in mine:
            one.users.add(function.qualified)
        self.let_go()

    def forget(self, qualified: str) -> None:
        """Record that a function, or a version, is gone."""
        for one in self._opened.values():
            one.users.discard(qualified)
        self.let_go()

    def let_go(self) -> None:
        """Close what no function is attached to, once what runs has had the time to end."""
        loop = asyncio.get_running_loop()
        for key, one in self._opened.items():
            if one.users and one.leaving is not None:
                one.leaving.cancel()
                one.leaving = None
            elif not one.users and one.leaving is None:
                one.leaving = loop.call_later(LEFT_SECONDS, self._leave, key)

    def is_idle(self, function: str) -> bool:
        """Whether a function is attached to something, and nobody has used any of it for long."""
        mine = [one for one in self._opened.values() if function in one.users]
        for one in mine:
            self._look(one)
        return bool(mine) and all(one.is_idle for one in mine)

    async def close(self) -> None:
        """Close everything."""
        if self._looking is not None:
            self._looking.cancel()
        for key in tuple(self._opened):
            self._leave(key)
        await asyncio.gather(*self._closing)

    def _of(self, attachment: Attachment) -> _Opened:
        described = describe(attachment, self._secret_of)
        key = json.dumps(described)
        opened = self._opened.get(key)
        if opened is None:
            from forebay.dbproxy.attached import proxy_of  # noqa: PLC0415  few stacks have a proxy

            proxy = proxy_of(described, lambda arn: _AppSecret(self._secret_of, arn))
            proxy.share()
            opened = _Opened(described | {"address": proxy.permit_address}, proxy, self._clock.monotonic())
            self._opened[key] = opened
            if self._looking is None:
                self._looking = asyncio.get_running_loop().create_task(self._keep_looking(), name="forebay-attachments")
        return opened

    def _leave(self, key: str) -> None:
        opened = self._opened.pop(key)
        if opened.leaving is not None:
            opened.leaving.cancel()
        task = asyncio.get_running_loop().create_task(opened.proxy.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _keep_looking(self) -> None:
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            for one in tuple(self._opened.values()):
                self._look(one)

    def _look(self, one: _Opened) -> None:
        """See whether a process has joined since the last look; what is idle gives its connections back."""
        joins, joined = one.proxy.joins
        now = self._clock.monotonic()
        if joined or joins != one.joins:
            one.joins, one.used_at, one.is_idle = joins, now, False
        elif not one.is_idle and now - one.used_at >= IDLE_SECONDS:
            one.is_idle = True
            one.proxy.reconnect()
            log.info("database proxy %s is idle: no function has used it for 14 days", one.described["names"][1])


def describe(attachment: Attachment, secret_of: Callable[[str], str]) -> dict[str, Any]:
    """Give an attachment as a function's process is told of it: no password is in it.

    Raises:
        InvalidParameterValue: a secret is gone, or it is not what a proxy needs.

    """
    logins = [login(arn, secret_of(arn), needs_database=at == 0) for at, arn in enumerate(attachment.secrets)]
    first = logins[0]
    others = zip(logins[1:], attachment.secrets[1:], strict=True)
    return {
        "names": [attachment.endpoint, attachment.name, attachment.arn],
        "address": None,
        "engine": attachment.engine,
        "host": first.host,
        "port": first.port,
        "database": first.database,
        "username": first.username,
        "secret": attachment.secrets[0],
        "users": {one.username: arn for one, arn in others},
        "settings": dict(attachment.settings),
    }
