"""Deploys into a running app: declares what is deployed when its engine starts, and answers on a socket of the store."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import sqlite3
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from forebay._app.deployed import DeployedFunction, check_start
from forebay._sam import secret
from forebay._sam.errors import NoChanges, StackNotFound, TemplateRefused
from forebay._stacks import configurations
from forebay._stacks import service as stacks
from forebay._stacks.artifacts import Artifacts
from forebay._stacks.attachments import Attachments
from forebay._stacks.buckets import Buckets
from forebay._stacks.function_states import IDLE, FunctionStates
from forebay._stacks.functions import Deployed
from forebay._stacks.kind import Request
from forebay._stacks.operation import revealed
from forebay._stacks.service import Asked, Service
from forebay._stacks.store import FILE, StackStore
from forebay._stacks.wire import Wire
from forebay._wire import payload
from forebay._worker.stack_socket import SOCKET
from forebay.errors import ForebayError, InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from forebay._app.deployed import Registers
    from forebay._stacks.assembly import Declaration
    from forebay._stacks.service import Place
    from forebay.clock import Clock

log = logging.getLogger("forebay.stacks")

LINE_BYTES_MAX: Final = 8 << 20
CLIENTS_MAX: Final = 64
AGAIN_SECONDS: Final = 5.0
"""Until an operation that the disk has stopped is tried again."""
SERVED: Final = ("SQS", "SNS", "KINESIS", "LAMBDA", "EVENTBRIDGE", "SCHEDULER", "SFN", "STS", "SSM", "SECRETS_MANAGER")
"""Services whose SDKs are sent here; the others go to AWS as before."""


@contextlib.contextmanager
def socket_path(store: Path) -> Iterator[str]:
    """Give a path of the socket that is short enough, for as long as the block lasts: an address has 108 bytes."""
    folder = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = Path(f"/proc/self/fd/{folder}")
        yield str((short if short.is_dir() else store) / SOCKET)
    finally:
        os.close(folder)


def runnable(function: Deployed, artifacts: Artifacts, attachments: tuple[dict[str, Any], ...]) -> DeployedFunction:
    """Give a function as an app runs it: its code in directories, and what its process is told of its attachments."""
    key = function.code.key or artifacts.add_text(function.code.text or "")
    limits = {
        "reserved_concurrency": function.reserved,
        "provisioned_concurrency": function.provisioned,
        "rate_limit": None,
    }
    return DeployedFunction(
        name=function.name,
        version=function.version,
        handler=function.handler if function.runtime.startswith("python") else None,
        directory=str(artifacts.path(key).absolute()),
        layers=tuple(str(artifacts.path(layer).absolute()) for layer in function.layers),
        variables=function.variables,
        timeout=function.timeout,
        memory=function.memory,
        limits=limits,
        asynchronous=function.asynchronous,
        attachments=attachments,
    )


class AppTarget:
    """An app that runs."""

    is_live = True

    def __init__(
        self,
        app: Registers,
        store: Path,
        place: Place,
        more: dict[str, str],
        attachments: Attachments,
        *,
        keeps_logs: bool = False,
    ) -> None:
        """Deploy into an app; `more` are variables that each function gets unless it has them."""
        self._app = app
        self._attachments = attachments
        self._keeps_logs = keeps_logs
        self._artifacts = Artifacts(store)
        self._buckets = Buckets(store)
        self.states = FunctionStates()
        self._place = place
        self._more = more

    async def request(self, request: Request) -> Any:
        """Ask the engine; buckets are directories of the store."""
        if request.verb.startswith("bucket."):
            return self._buckets.carry_out(request)
        if request.verb == "function.delete":
            self.states.forget(request.fields["name"])
            self._attachments.forget(request.fields["name"])
        return payload.loads(await self._app.request(request.verb, request.fields))

    async def register(self, function: Deployed) -> None:
        """Have a function run once what it needs is open and its code can be loaded. Until then the code before it serves."""
        with self.states.changing(function):
            try:
                await self._attachments.open(function)
                await check_start(self._app.registration(self.ready(function)))
                self.serve(function)
            finally:
                self._attachments.let_go()  # what was opened in vain

    def serve(self, function: Deployed) -> None:
        """Have a function run from now on."""
        self._app.register(self.ready(function))
        self._attachments.use(function)

    def state(self, function: str) -> dict[str, str] | None:
        """Give the states of a function; None: it serves as it was deployed, or it is not a stack's."""
        told = self.states.of(function)
        return IDLE if told is None and self._attachments.is_idle(function) else told

    def ready(self, function: Deployed) -> DeployedFunction:
        """Give a function as the app runs it."""
        variables = {name: stacks.address(self._place, value) for name, value in function.variables.items()}
        ready = runnable(function, self._artifacts, self._attachments.share(function))
        return replace(ready, variables={**self._more, **variables}, keeps_logs=self._keeps_logs)


class Host:
    """The stacks of a running app."""

    def __init__(
        self, store: Path, place: Place, aws_url: str | None, clock: Clock, logs: logging.Handler | None = None
    ) -> None:
        """Serve the stacks of a store.

        Args:
            store: its directory.
            place: the app.
            aws_url: where the app serves AWS's wire API.
            clock: the app's.
            logs: keeps what functions log.

        """
        self._attachments = Attachments(lambda arn: self._kept().secret_value(arn), clock)
        self._logs = logs
        self._directory = store
        self._place = place
        self._more = {} if aws_url is None else _endpoint(aws_url, place.region)
        self._service: Service | None = None
        self._target: AppTarget | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._clients = 0
        self._busy = asyncio.Lock()
        self._wire = Wire(self._kept, store, self._begin)
        self._listener: socket.socket | None = None
        self._server: asyncio.Server | None = None

    # --- what an app asks of it

    def declare(self, app: Registers) -> None:
        """Declare what is deployed, go on with what was interrupted, and answer from now on.

        What cannot be declared is logged: the app and its other stacks run on.
        """
        if self._listener is None:
            self._listener = _listener(self._directory)  # functions may ask as soon as they run
        keeps_logs = self._logs is not None
        self._target = target = AppTarget(
            app, self._directory, self._place, self._more, self._attachments, keeps_logs=keeps_logs
        )
        service = self._kept() if (self._directory / FILE).exists() else None
        for stack in service.store.stacks() if service is not None else ():
            if (stack.region, stack.account) != (self._place.region, self._place.account):
                text = "stack %s was deployed for %s in %s and is not served: this app is %s in %s"
                log.error(text, stack.name, stack.account, stack.region, self._place.account, self._place.region)
                continue
            for name, one in self._declarations(stack.name).items():
                self._declare(app, target, one, (f"{stack.name}: {name}", self._kept().store.secrets(stack.name)))
        self._start(self._open(target))

    def _kept(self) -> Service:
        """Open what is kept of stacks; a store without any gets its file with the first question."""
        if self._service is None:
            self._service = Service(StackStore(self._directory), self._place)
        return self._service

    def _declarations(self, stack: str) -> dict[str, Declaration]:
        try:
            return self._kept().declarations(stack)
        except InvalidParameterValue as error:  # as an earlier release took it
            log.error("stack %s is not served: %s", stack, error)  # noqa: TRY400  it says all
            return {}

    def _declare(
        self, app: Registers, target: AppTarget, one: Declaration, named: tuple[str, Mapping[str, str]]
    ) -> None:
        name, secrets = named

        def check(answer: asyncio.Future[bytes]) -> None:
            if not answer.cancelled() and answer.exception() is not None:
                log.error("%s is not served: %s", name, secret.concealed(str(answer.exception()), secrets.values()))

        if isinstance(one.what, Deployed):
            try:
                target.serve(revealed(one.what, secrets))
                target.states.serve(one.what)
            except ForebayError as error:
                text = secret.concealed(str(error), secrets.values())
                log.error("%s is not served: %s", name, text)  # noqa: TRY400  it says all
        elif isinstance(one.what, Request):
            app.request(one.what.verb, secret.revealed(one.what.fields, secrets)).add_done_callback(check)

    async def _open(self, target: AppTarget) -> None:
        if self._server is None and self._listener is not None:
            self._server = await asyncio.start_unix_server(self._answer, sock=self._listener, limit=LINE_BYTES_MAX)
        if self._service is not None:
            for operation in self._service.store.operations():
                log.info("stack %s: the operation that was interrupted goes on", operation.stack)
                self._start(self._run(self._service, operation.stack, target, resumed=True))

    def close(self) -> None:
        """Answer nothing more. An operation that is under way goes on at the next start."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._server is not None:
            self._server.close()
        elif self._listener is not None:
            self._listener.close()
        if self._listener is not None:
            (self._directory / SOCKET).unlink(missing_ok=True)
        self._server = self._listener = None
        if self._service is not None:
            self._service.store.close()
            self._service = None

    async def end(self) -> None:
        """Close what functions were attached to, behind the last of them."""
        await self._attachments.close()

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("stacks: %s", task.exception())

    # --- what clients ask

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients > CLIENTS_MAX:
                return
            while line := await reader.readline():
                writer.write(json.dumps(await self._carry_out(json.loads(line))).encode() + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError):
            return  # a client that does not speak as ours does is hung up on
        finally:
            self._clients -= 1
            writer.close()

    async def _carry_out(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self._target is None:
            return {"error": "AppClosed", "reasons": ["the app is not running"]}
        if asked["operation"] == "logged":
            self._keep(asked["function"], asked["lines"])
            return {"answer": None}
        if asked["operation"] == "state":
            return {"answer": self._target.state(asked["function"])}
        if asked["operation"] == "functions":
            return {"answer": self._functions(asked.get("function"))}
        if asked["operation"] == "wire":
            origin = asked.get("origin", "")
            return await self._wire.answer(asked["service"], asked["action"], asked["input"], origin)
        return carry_out(self._kept(), asked, self._begin)

    def _functions(self, function: str | None) -> dict[str, Any]:
        """Give what stacks say of functions; a store without stacks says nothing."""
        return configurations.told(self._kept(), function) if (self._directory / FILE).exists() else {}

    def _keep(self, function: str, lines: list[tuple[str, float, str, str]]) -> None:
        """Keep lines that a function logged in a process of its own."""
        for level, created, request, text in lines:
            known = logging.getLevelNamesMapping().get(level, logging.INFO)
            fields = {"levelname": level, "levelno": known, "created": created, "msecs": created % 1 * 1000}
            named = {"function_name": function, "aws_request_id": request}
            if self._logs is not None and known >= self._logs.level:
                self._logs.handle(logging.makeLogRecord({**fields, **named, "msg": text}))

    def _begin(self, name: str) -> None:
        """Carry out the operation that has begun on a stack."""
        if self._target is not None:
            self._start(self._run(self._kept(), name, self._target))

    async def _run(self, service: Service, name: str, target: AppTarget, *, resumed: bool = False) -> None:
        """Carry an operation out. Where the disk is full or broken, it goes on when that has passed."""
        artifacts = Artifacts(self._directory)
        while True:
            try:
                await asyncio.to_thread(artifacts.keep, service.store.all_resources())
                async with self._busy:
                    status = await service.run(name, target, resumed=resumed)
                break
            except (OSError, sqlite3.Error) as error:
                log.error("stack %s: %s: its operation goes on in %g s", name, str(error), AGAIN_SECONDS)  # noqa: TRY400  it says all
            await asyncio.sleep(AGAIN_SECONDS)
            resumed = True
        await asyncio.to_thread(artifacts.sweep, service.store.all_resources())
        log.info("stack %s: %s", name, status)


def carry_out(service: Service, asked: dict[str, Any], begun: Callable[[str], None]) -> dict[str, Any]:
    """Answer one question about stacks; `begun` is told of an operation that is to be carried out."""
    try:
        return {"answer": _OPERATIONS[asked["operation"]](service, asked, begun)}
    except TemplateRefused as error:
        return {"error": error.code, "reasons": [str(secret.shown(one)) for one in error.reasons]}
    except NoChanges as error:
        return {"error": "NoChanges", "reasons": [str(error)]}
    except StackNotFound as error:
        return {"error": "StackNotFound", "reasons": [str(error)]}
    except ForebayError as error:
        return {"error": "ValidationError", "reasons": [str(secret.shown(str(error)))]}


def _asked(asked: dict[str, Any]) -> Asked:
    given = asked["deploy"]
    return Asked(**{**given, "capabilities": tuple(given.get("capabilities", ()))})


def _preview(service: Service, asked: dict[str, Any], _begun: Callable[[str], None]) -> Any:
    preview = service.preview(_asked(asked))
    changes = [
        {
            "action": step.action,
            "logical": step.logical,
            "type": step.type,
            "replacement": None if step.action != "Modify" else step.replaces,
        }
        for step in preview.plan.steps
    ]
    return {"kind": preview.kind, "changes": changes, "notes": preview.plan.notes, "left_out": preview.left_out}


def _deploy(service: Service, asked: dict[str, Any], begun: Callable[[str], None]) -> Any:
    stack = service.begin(_asked(asked))
    begun(stack.name)
    return {"id": stack.id}


def _delete(service: Service, asked: dict[str, Any], begun: Callable[[str], None]) -> Any:
    stack = service.begin_deletion(asked["stack"])
    begun(stack.name)
    return {"id": stack.id}


def _describe(service: Service, asked: dict[str, Any], _begun: Callable[[str], None]) -> Any:
    return {**stacks.described(service, asked["stack"]), "resources": stacks.resources(service, asked["stack"])}


def _events(service: Service, asked: dict[str, Any], _begun: Callable[[str], None]) -> Any:
    found = service.store.events(asked["id"], asked.get("after", 0), asked.get("limit", 1000))
    return [asdict(one) for one in found]


def _template(service: Service, asked: dict[str, Any], _begun: Callable[[str], None]) -> Any:
    return service.store.stack(asked["stack"]).template


def _list(service: Service, _asked: dict[str, Any], _begun: Callable[[str], None]) -> Any:
    return [stacks.described(service, one.name) for one in service.store.stacks()]


def _parameters(service: Service, asked: dict[str, Any], _begun: Callable[[str], None]) -> Any:
    known = service.store.find(asked["stack"])
    return None if known is None else secret.shown(known.parameters.given)


_OPERATIONS: Final[dict[str, Callable[[Service, dict[str, Any], Callable[[str], None]], Any]]] = {
    "preview": _preview,
    "deploy": _deploy,
    "delete": _delete,
    "describe": _describe,
    "events": _events,
    "template": _template,
    "parameters": _parameters,
    "list": _list,
}


def _listener(store: Path) -> socket.socket:
    """Listen; only the owner of the store may connect."""
    listener = socket.socket(socket.AF_UNIX)
    with socket_path(store) as path:
        Path(path).unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            listener.bind(path)
            listener.listen()
        finally:
            os.umask(before)
    return listener


def _endpoint(url: str, region: str) -> dict[str, str]:
    """Give the variables with which SDKs find what this app serves. While it has no access keys, any will do."""
    ours = {f"AWS_ENDPOINT_URL_{service}": url for service in SERVED}
    rest = {"AWS_ACCESS_KEY_ID": "forebay", "AWS_SECRET_ACCESS_KEY": "forebay", "AWS_DEFAULT_REGION": region}
    return {**ours, **{name: value for name, value in rest.items() if name not in os.environ}}
