"""The app: what starts and stops functions and their sources. How they are declared stands in `_app/`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar, cast

from forebay._app.account_limits import ChangesLimits
from forebay._app.declarations import Declarations
from forebay._app.declare_apis import DeclaresApis
from forebay._app.declare_events import DeclaresEvents
from forebay._app.declare_functions import DeclaresFunctions
from forebay._app.declare_sources import DeclaresSources
from forebay._app.declare_workflows import DeclaresWorkflows
from forebay._app.proxies import FUNCTION as PROXIES
from forebay._app.proxies import Proxied, Proxies
from forebay._app.shared import Shared
from forebay._model import checks, limits, names
from forebay._model.asynchronous import AsynchronousSettings
from forebay._model.http_address import HttpAddress
from forebay._model.metrics import MetricsAddress
from forebay._model.settings import AppSettings
from forebay._model.store_place import MEMORY, of_path, with_password
from forebay._model.wire import WireAddress
from forebay._runtime.caller import Caller
from forebay._runtime.context import current, parent
from forebay._runtime.handler_reference import IMPORTING
from forebay.clock import ManualClock, SystemClock
from forebay.errors import AppClosed, ForebayError
from forebay.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from forebay._app.run import AppRun
    from forebay._model.checks import Seconds
    from forebay._model.concurrency import Scaling
    from forebay._model.settings import Durability, Serve
    from forebay._model.workflow import WorkflowLimits
    from forebay.clock import Clock
    from forebay.mapping import Mapping

P = ParamSpec("P")
R = TypeVar("R")


class App(DeclaresSources, DeclaresEvents, DeclaresWorkflows, DeclaresApis, DeclaresFunctions, ChangesLimits):
    """An app: functions, their sources, and the store that keeps their work.

    Args:
        name: 1 to 128 letters, digits, '.', '-' and '_'.
        store: a directory; or ":memory:", which keeps nothing over a restart; or the URL of a PostgreSQL server (15 or newer),
            `postgresql://user:password@host/database`, which several processes share: one of them owns it and runs the app, the
            others stand by. A relative path is resolved at the first start; a later `os.chdir` does not change it.
        region: the region in ARNs, events and `AWS_REGION`.
        account: the account in ARNs and events, 12 digits.
        concurrency: attempts of all functions that run at once, 1 to 60,000. A synchronous invocation beyond it is refused
            (`TooManyRequests`); batches and events wait.
        unreserved_minimum: permits that no function can reserve, 0 to 60,000.
        scaling: how fast concurrency may rise. "2023": for each function 1,000 at once, then 1,000 every ten seconds. "2019":
            for all functions 1,000 at once, then 500 a minute. Or a `forebay.Scaling`.
        requests_per_second: synchronous invocations that may start in a second, all at once at most; None: no limit. AWS
            allows ten times the concurrency.
        workflow_limits: how often executions of workflows may begin and go on. None: no limit. "aws-2019" or "aws": AWS's token
            buckets, then or now. Or a `forebay.WorkflowLimits`.
        durability: what an acknowledged put survives: "power-loss", "process-crash", or "memory" (nothing).
        clock: None, or a `forebay.testing.VirtualClock`.
        serve: "elect": own the store, or be a client of its owner and take over when the owner is gone. True: own the store
            or fail. False: be a client only.
        store_app: name of the app that the store belongs to, if it is another one: to share its store, or to keep the store
            of an app that was renamed. None: this app.

    Raises:
        InvalidParameterValue: an option outside its range.

    """

    def __init__(
        self,
        name: str,
        *,
        store: str | os.PathLike[str] = "./data",
        region: str = names.REGION_DEFAULT,
        account: str = "000000000000",
        concurrency: int = limits.CONCURRENCY_DEFAULT,
        unreserved_minimum: int = limits.UNRESERVED_MINIMUM,
        scaling: str | Scaling = "2023",
        requests_per_second: float | None = None,
        workflow_limits: str | WorkflowLimits | None = None,
        durability: Durability = "power-loss",
        clock: Clock | None = None,
        serve: Serve = "elect",
        store_app: str | None = None,
    ) -> None:
        settings = AppSettings(
            name=name,
            store=of_path(store) if isinstance(store, os.PathLike) else store,
            region=region,
            account=account,
            concurrency=concurrency,
            unreserved_minimum=unreserved_minimum,
            scaling=cast("Scaling", scaling),
            requests_per_second=requests_per_second,
            workflow_limits=cast("WorkflowLimits", workflow_limits),
            durability=durability,
            serve=serve,
            store_app=store_app,
        )
        if clock is not None and not isinstance(clock, SystemClock | ManualClock):
            checks.refuse("clock", clock, "allowed are None and a forebay.testing.VirtualClock")
        if isinstance(clock, ManualClock) and settings.is_on_server:
            checks.refuse(
                "clock",
                clock,
                "a store on a server is shared with processes whose time does not stand still; allowed is None",
            )
        self.clock: Clock = clock if clock is not None else SystemClock()
        self._caller = Caller(name)
        self._declared = Declarations(settings, self._caller, self._declare_soon)
        self._proxies = Proxies(self.clock.time)
        self._opened = contextlib.AsyncExitStack()
        self._running: AppRun | None = None
        self._ended: asyncio.Future[None] | None = None
        self._fork_guarded = False

    def __repr__(self) -> str:
        return f"<forebay app {self.name!r}>"

    @property
    def name(self) -> str:
        """The app's name."""
        return self.settings.name

    @property
    def metrics(self) -> Metrics:
        """What the app has counted and measured."""
        return Metrics(self._caller)

    @property
    def mappings(self) -> tuple[Mapping, ...]:
        """The mappings that were declared here."""
        return tuple(self._declared.mappings.values())

    def attach(self, resource: AbstractAsyncContextManager[Any]) -> None:
        """Have a resource opened before the first event and closed after the last one.

        So does each process of a function, for itself; it has 2 s to close it, and one that is killed closes nothing. A
        `forebay.DBProxy` keeps its `maximum_connections` over this process and all of those.

        Args:
            resource: anything for `async with`, such as a `forebay.DBProxy`. Several are closed in reverse order; one that is
                attached twice is opened once.

        Raises:
            InvalidParameterValue: it is not an async context manager.
            ForebayError: the app is running.

        """
        if not (hasattr(resource, "__aenter__") and hasattr(resource, "__aexit__")):
            checks.refuse("resource", resource, "anything for `async with`")
        if self._running is not None:
            raise ForebayError("attach: attach resources before the app starts; this one is running")
        if not any(one is resource for one in self._declared.attached):
            self._declared.attached.append(resource)
            if isinstance(resource, Proxied):
                self._take_proxy(resource)

    def _take_proxy(self, proxy: Any) -> None:
        """Have AWS's wire API know a database proxy, by a function of the app that answers for all of them."""
        if PROXIES not in self._declared.functions:
            self._declared.function(self._proxies.handle, PROXIES, 60, "task", AsynchronousSettings())
        self._proxies.add(proxy)

    # --- life

    async def start(
        self,
        *,
        metrics_host: str = "127.0.0.1",
        metrics_port: int = 0,
        metrics_token: str | None = None,
        http_host: str = "127.0.0.1",
        http_port: int = 0,
        http_tls: tuple[str, str] | Literal[False] | None = None,
        http_truststore: str | os.PathLike[str] | None = None,
        http_trusted_proxies: Sequence[str] = (),
        http_access_log: str | None = None,
        http_access_log_format: str = "common",
        aws_host: str = "127.0.0.1",
        aws_port: int = 0,
        aws_access_log: str | os.PathLike[str] | None = None,
    ) -> None:
        """Open the store, open what is attached, and let the mappings run.

        Args:
            metrics_host: where `/metrics`, `/healthz` and `/readyz` are served.
            metrics_port: 0: nowhere. The process that owns the store serves them; one that takes it over while another program
                holds the port, as soon as that is free.
            metrics_token: what a scraper must give (`Authorization: Bearer`), 16 to 512 characters; needed where other machines
                reach the host. `/healthz` and `/readyz` answer anybody.
            http_host: where the app's APIs and the URLs of its functions are served.
            http_port: 0: nowhere. The process that owns the store serves them, also one that takes it over.
            http_tls: the files of a certificate and of its key, PEM, which are read anew when they change. False: other machines
                may reach `http_host` although nothing here is encrypted, since something before it does that. None: only this
                machine may.
            http_truststore: the file (PEM) of the authorities that sign the certificates of clients, read anew when it changes. A
                client without such a certificate is turned away. None: no client needs one. It needs `http_tls`.
            http_trusted_proxies: addresses, and networks such as "10.0.0.0/8", that are believed what `X-Forwarded-For`,
                `-Proto` and `-Port` say.
            http_access_log: a file to which a line is added for each request of an HTTP API or a URL; "-": standard output.
            http_access_log_format: "common", "json", or a template such as "$context.requestId $context.status".
            aws_host: where AWS's wire API is served. A host that other machines reach needs an access key, which
                `forebay aws keys create` makes.
            aws_port: 0: nowhere. AWS's SDKs and command line use it as their endpoint: `endpoint_url="http://127.0.0.1:4566"`.
                The process that owns the store serves it.
            aws_access_log: a file that gets one line of JSON for each request to that API: its time, its id, the key, the
                operation, the status and how long it took. `"-"`: standard error. None: no log.

        Raises:
            InvalidParameterValue: the owner cannot listen on the address, or other machines reach it and there is no token.
            ResourceConflict: the store belongs to another app.
            StoreLocked: another process owns the store, and `serve=True`; or it is on another machine, and `serve=False`.
            StoreFailed: the server of the store cannot be reached.
            StoreCorrupt | StoreNewerFormat: what is in the directory cannot be used.
            ResourceNotFound: a mapping's stream is not declared.
            ForebayError: the app is running already.

        """
        if self._running is not None:
            raise ForebayError(f"app {self.name!r} is running already")
        if IMPORTING in os.environ:
            raise ForebayError(
                f"app {self.name!r} was started while an execution environment imported it: start it under "
                '`if __name__ == "__main__":`'
            )
        metrics = MetricsAddress(host=metrics_host, port=metrics_port, token=metrics_token)
        http = HttpAddress(
            host=http_host,
            port=http_port,
            tls=http_tls,
            truststore=None if http_truststore is None else os.fspath(http_truststore),
            trusted_proxies=tuple(http_trusted_proxies),
            access_log=http_access_log,
            access_log_format=http_access_log_format,
        )
        access_log = None if aws_access_log is None else os.fspath(aws_access_log)
        wire = WireAddress(host=aws_host, port=aws_port, access_log=access_log)
        if self.settings.is_on_server:
            wire.check_without_keys()
        self._guard_forks()
        from forebay._app.run import AppRun  # noqa: PLC0415  a process that runs one function starts no app

        self._declared.as_declared()
        self._fix_store()
        addresses = (metrics, http, wire)
        self._running = running = AppRun(self.settings, self.clock, self._caller, self._declared, addresses)
        try:
            for resource in self._declared.attached:
                if isinstance(resource, Shared) and self.settings.serve is not False:
                    self._opened.push_async_callback(resource.unshare)
                    resource.share()
                await self._opened.enter_async_context(resource)
            for lifespan in self._declared.lifespans if self.settings.serve is not False else ():
                await self._opened.enter_async_context(lifespan)
            await running.begin(self._declared.attached)
        except BaseException:
            running.close()
            self._running = None
            if self._declared.stacks is not None:
                await self._declared.stacks.end()
            await self._opened.aclose()
            raise

    def _fix_store(self) -> None:
        """Make the store's path absolute: a start or a takeover after `os.chdir` finds the same directory.

        A URL gets the password of the environment if it has none.
        """
        store = self.settings.store
        if self.settings.is_on_server:
            self.settings = replace(self.settings, store=with_password(store))
        elif store != MEMORY:
            self.settings = replace(self.settings, store=str(Path(store).absolute()))

    async def stop(self, grace: Seconds = 30) -> None:
        """Begin nothing new, wait for what runs, and close. Does nothing when the app is not running.

        Whoever waits for an invocation that has not begun is told so at once, with `AppClosed`.

        Args:
            grace: seconds after which what still runs is interrupted; it will be run again after the next start. A second
                call while the first is under way can make the grace shorter. The lifespan of an ASGI app has what is left
                of it to end, and 2 s in any case; then it is cut off.

        Raises:
            InvalidParameterValue: `grace` is out of its range.
            ForebayError: a handler of the app called this: it would wait for itself.

        """
        grace = checks.seconds("grace", grace, low=0, high=86_400)
        running = self._running
        if running is None:
            self._refuse_from_process()
            return
        self._refuse_from_handler(running)
        if self._ended is not None:
            running.hurry(grace)
            await asyncio.shield(self._ended)
            return
        self._ended = ended = asyncio.get_running_loop().create_future()
        try:
            await running.end(grace)
        finally:
            running.close()
            self._running = self._ended = None
            ended.set_result(None)
            await self._opened.aclose()

    def _refuse_from_handler(self, running: AppRun) -> None:
        request = parent()
        attempts = running.runner.attempts() if request is not None else ()
        of = next((attempt.function for attempt in attempts if attempt.request_id == request), None)
        if of is not None:
            raise ForebayError(
                f"stop: function {of!r} of app {self.name!r} is running this, and stop waits until it has ended: set an "
                "asyncio.Event here, and await it and then `app.stop()` in the program outside; of `forebay run` end the "
                "process with `os.kill(os.getpid(), signal.SIGTERM)`"
            )

    def _refuse_from_process(self) -> None:
        """Refuse to stop what runs elsewhere: calls come through in a process of a function, and no app runs in it."""
        if self._caller.is_open:
            context = current()
            of = "a function" if context is None else f"function {context.function_name!r}"
            raise ForebayError(
                f"stop: {of} of app {self.name!r} is running this in a process of its own, and the app runs in another: return "
                "something that the program outside awaits `app.stop()` for; of `forebay run` end that process with "
                "`os.kill(os.getppid(), signal.SIGTERM)`"
            )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def role(self) -> Literal["owner", "client", "standby"] | None:
        """What this process is to its store; None while the app does not run. The owner serves APIs and metrics."""
        engine = None if self._running is None else self._running.runner.engine
        return None if engine is None else engine.role

    async def store_failure(self) -> ForebayError:
        """Wait until the store takes no further write, and give the reason. For whoever wants to end a process then.

        Raises:
            AppClosed: the app is not running, or was stopped meanwhile.

        """
        if self._running is None:
            raise AppClosed(f"app {self.name!r} is not running")
        return await self._running.store_failure()

    def _guard_forks(self) -> None:
        if self._fork_guarded:
            return
        self._fork_guarded = True
        mine = weakref.ref(self)

        def in_child() -> None:
            app = mine()
            if app is not None and app._running is not None:  # noqa: SLF001  the app's own closure
                app._running.forked()  # noqa: SLF001
                app._running = None  # noqa: SLF001

        os.register_at_fork(after_in_child=in_child)
