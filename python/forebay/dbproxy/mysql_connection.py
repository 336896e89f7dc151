"""A connection of asyncmy that takes an answer only for the question in flight, and knows its end as the protocol tells it.

Written against asyncmy 0.2.18. With CLIENT_DEPRECATE_EOF, asyncmy takes a row whose first column is 16 MiB or longer for the end
of the result: what follows stays unread, and the next client gets it as its answer. Without that flag a result ends with an EOF
packet, which asyncmy tells from a row by its length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncmy import errors
from asyncmy.connection import Connection
from asyncmy.constants.CLIENT import DEPRECATE_EOF, FOUND_ROWS, MULTI_STATEMENTS
from asyncmy.constants.COMMAND import COM_QUERY
from asyncmy.constants.CR import CR_COMMANDS_OUT_OF_SYNC
from asyncmy.constants.SERVER_STATUS import SERVER_STATUS_AUTOCOMMIT, SERVER_STATUS_IN_TRANS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_driver: Any = Connection  # asyncmy's types show none of these, and it has no public place for any
_set_nodelay = _driver._set_nodelay  # noqa: SLF001
_read_greeting = _driver._get_server_information  # noqa: SLF001
_send_command = _driver._execute_command  # noqa: SLF001
_read_result = _driver._read_query_result  # noqa: SLF001
_next_result = _driver.next_result


class GuardedConnection(Connection):
    """A connection of asyncmy whose answers cannot slip by one."""

    _client_flag: int
    _proto: Any
    _result: Any
    _transport: Any
    server_capabilities: int
    server_status: int

    def __init__(self, **options: Any) -> None:
        self.has_warned = False  # an answer had warnings, which the session goes on to tell
        super().__init__(**options)  # type: ignore[no-untyped-call]  # asyncmy's types know no keywords
        self._client_flag |= FOUND_ROWS  # an UPDATE counts the rows it finds, as on PostgreSQL
        self._client_flag &= ~MULTI_STATEMENTS  # one text, one statement: an injected second one is refused

    def _set_keep_alive(self) -> None:
        """Do nothing: the duplicate of the socket sets it."""

    def _set_nodelay(self, value: bool) -> None:
        """Set it, unless the server has hung up already: what it has said, such as that it is full, is read next."""
        if self._transport.get_extra_info("socket") is not None:
            _set_nodelay(self, value)

    async def _get_server_information(self) -> None:
        """Read the server's greeting, and take no notice that it can leave EOF packets out."""
        await _read_greeting(self)
        self.server_capabilities &= ~DEPRECATE_EOF

    async def ask(self, text: bytes, given: Callable[[Any], Any]) -> Any:
        """Run a statement to its very last answer, with fewer calls on the way than ``query``.

        Args:
            text: the statement.
            given: makes what the caller is given of the first result. Called here, because another coroutine would cost more.

        """
        received = self._proto
        if received is not None and received.pos != received.length:
            self._see_that_it_is_read()
        await _send_command(self, COM_QUERY, text)
        await _read_result(self)
        first = result = self._result
        received = self._proto
        if result.description is not None and received.pos == received.length:  # as `_note_end`, without a call
            buffer, end = received.buffer, received.pos
            self.server_status = result.server_status = buffer[end - 2] | buffer[end - 1] << 8
            if buffer[end - 4] or buffer[end - 3]:
                self.has_warned = True
        else:
            self._note_end()
        while result.has_next:
            await _next_result(self)
            result = self._result
            if not first.description and result.description:
                first = result
        return given(first)

    def _execute_command(self, command: int, text: str | bytes) -> Awaitable[None]:
        """Send a command, if nothing unread lies before its answer."""
        received = self._proto
        if received is not None and received.pos != received.length:
            self._see_that_it_is_read()
        return _send_command(self, command, text)  # type: ignore[no-any-return]

    def _see_that_it_is_read(self) -> None:
        """Allow unread bytes only where asyncmy reads them before it sends: rows of a stream, or further results."""
        rest = self._result
        if rest is None or not (rest.unbuffered_active or rest.has_next):
            self._hang_up()

    async def _read_query_result(self, unbuffered: bool = False) -> None:
        """Read a result, and see that its end is where the bytes end."""
        await _read_result(self, unbuffered)
        self._note_end()

    def _note_end(self) -> None:
        """Note the server's status after a result, and see that its end is where the bytes end."""
        result, received = self._result, self._proto
        if result.unbuffered_active:  # its end will tell; asyncmy drops that, and only a stream of ours looks
            if not self.server_status & SERVER_STATUS_AUTOCOMMIT:
                self.server_status |= SERVER_STATUS_IN_TRANS
            return
        if result.description is None:
            self.server_status = result.server_status
            self.has_warned = self.has_warned or result.warning_count != 0
        else:
            self.server_status = result.server_status = self.status_of_rows()
            self.has_warned = self.has_warned or any(received.buffer[received.pos - 4 : received.pos - 2])
        if received.pos != received.length and not result.has_next:
            self._hang_up()

    def status_of_rows(self) -> int:
        """Give the server's status from the EOF packet that was read last: asyncmy drops it."""
        received = self._proto
        buffer, end = received.buffer, received.pos
        return buffer[end - 2] | buffer[end - 1] << 8  # type: ignore[no-any-return]

    def _hang_up(self) -> None:
        """Close a connection that is out of step: which answer belongs to which question cannot be told any more.

        Raises:
            OperationalError: always.

        """
        self.close()
        raise errors.OperationalError(CR_COMMANDS_OUT_OF_SYNC, "the server sent more than the answer to the question")
