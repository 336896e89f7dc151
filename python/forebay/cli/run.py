"""`forebay run` serves an app until it is told to stop; `forebay invoke` runs one of its functions."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import cast

import click
import uvloop

from forebay import logs
from forebay._core import end_with_parent
from forebay._model.http_address import HttpAddress
from forebay._model.metrics import MetricsAddress
from forebay._model.wire import WireAddress
from forebay._wire import event
from forebay._wire import payload as wire
from forebay.app import App
from forebay.cli import moments
from forebay.cli.arn import named
from forebay.cli.connect import connect, store_option
from forebay.cli.host_stacks import STACKS_PORT, host_stacks, stacks_app
from forebay.cli.qualifier import qualified, qualifier_option
from forebay.cli.show import output_option, show
from forebay.cli.store_place import StorePlace, as_text, directory, read
from forebay.cli.workers import PARENT_OPTION, WORKERS_MAX, ProcessFilter, Workers, worker_command
from forebay.errors import FunctionError, InvalidParameterValue

log = logging.getLogger("forebay")


@click.command()
@click.argument("target", metavar="[MODULE:APP]", required=False)
@click.option(
    "--store",
    type=read,
    metavar="DIRECTORY|URL",
    help="Directory or URL of the store, instead of the one that the app names. FOREBAY_STORE does not set it.",
)
@click.option(
    "--metrics-host", default="127.0.0.1", show_default=True, help="Where /metrics, /healthz and /readyz are served."
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65_535),
    default=9464,
    show_default=True,
    envvar="FOREBAY_METRICS_PORT",
    show_envvar=True,
    help="0: nowhere.",
)
@click.option(
    "--metrics-token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="FOREBAY_METRICS_TOKEN_FILE",
    show_envvar=True,
    help="Holds what a scraper must give (Authorization: Bearer); needed where other machines reach the host. "
    "Without it, FOREBAY_METRICS_TOKEN is looked at.",
)
@click.option(
    "--http-host",
    default="127.0.0.1",
    show_default=True,
    help="Where the app's APIs and the URLs of its functions are served.",
)
@click.option(
    "--http-port",
    type=click.IntRange(0, 65_535),
    default=None,
    envvar="FOREBAY_HTTP_PORT",
    show_envvar=True,
    help=f"0: nowhere, as without it; without an app {STACKS_PORT}.",
)
@click.option(
    "--http-certificate",
    type=click.Path(exists=True, dir_okay=False),
    help="PEM file of the certificate with which APIs are served; read anew when it changes.",
)
@click.option("--http-key", type=click.Path(exists=True, dir_okay=False), help="PEM file of the certificate's key.")
@click.option(
    "--http-truststore",
    type=click.Path(exists=True, dir_okay=False),
    help="PEM file of the authorities that sign the certificates of clients: a client without one is turned away.",
)
@click.option(
    "--http-trusted-proxy",
    "http_trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Who is believed what X-Forwarded-For says: an address, or a network as 10.0.0.0/8; repeatable.",
)
@click.option(
    "--http-access-log", metavar="FILE", help="Where a line is added for each request of an API; -: standard output."
)
@click.option(
    "--http-access-log-format",
    default="common",
    show_default=True,
    metavar="FORMAT",
    help="common, json, or a template such as '$context.requestId $context.status'.",
)
@click.option(
    "--http-no-tls",
    is_flag=True,
    help="Other machines may reach --http-host although nothing here is encrypted: something before it does that.",
)
@click.option("--aws-host", default="127.0.0.1", show_default=True, help="Where AWS's wire API is served.")
@click.option(
    "--aws-name",
    "aws_names",
    multiple=True,
    metavar="NAME",
    help="Name under which clients reach AWS's wire API, such as a proxy's: S3 is answered under it; repeatable.",
)
@click.option(
    "--aws-port",
    type=click.IntRange(0, 65_535),
    default=0,
    show_default=True,
    envvar="FOREBAY_AWS_PORT",
    show_envvar=True,
    help="Port of AWS's wire API, the endpoint of AWS's SDKs: 4566, for example. 0: nowhere.",
)
@click.option(
    "--aws-access-log",
    metavar="FILE",
    help="Add a line of JSON for each request to that API to a file; -: to standard error.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, WORKERS_MAX),
    default=1,
    show_default=True,
    help="Processes of the app on this machine. On a PostgreSQL server all run handlers, else one does.",
)
@click.option(PARENT_OPTION, "parent", type=int, hidden=True)
@click.option("--grace", type=click.FloatRange(0), default=30.0, show_default=True, help="Seconds to drain within.")
@click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json", "none"]),
    default="auto",
    show_default=True,
    envvar="FOREBAY_LOG_FORMAT",
    show_envvar=True,
    help="auto: text in a terminal, else JSON with Lambda's fields. none: the app sets its logging up itself.",
)
@click.option(
    "--log-level",
    type=click.Choice(logs.LEVELS, case_sensitive=False),
    default="INFO",
    show_default=True,
    envvar="FOREBAY_LOG_LEVEL",
    show_envvar=True,
    help="The least important lines that are shown.",
)
def run(
    *,
    target: str | None,
    store: StorePlace | None,
    metrics_host: str,
    metrics_port: int,
    metrics_token_file: Path | None,
    http_host: str,
    http_port: int | None,
    http_certificate: str | None,
    http_key: str | None,
    http_truststore: str | None,
    http_trusted_proxies: tuple[str, ...],
    http_access_log: str | None,
    http_access_log_format: str,
    http_no_tls: bool,
    aws_host: str,
    aws_names: tuple[str, ...],
    aws_port: int,
    aws_access_log: str | None,
    workers: int,
    parent: int | None,
    grace: float,
    log_format: str,
    log_level: str,
) -> None:
    """Serve the app APP of MODULE, and what was deployed to its store, until SIGTERM or SIGINT.

    Without MODULE:APP serve what was deployed to the store (`forebay deploy`); FOREBAY_STORE names it then, too.

    The first signal drains within the grace, a second one stops at once. The status is 0, or 1 when the store failed.
    """
    if log_format != "none" and not logging.getLogger().hasHandlers():
        handler = logs.install(form=cast("logs.Form", log_format), level=log_level)
        if parent is not None:
            handler.addFilter(ProcessFilter())
    if workers > 1:
        sys.exit(_run_workers(target, workers, grace))
    if parent is not None:
        # Nobody would end it any more, and what is started instead would stand by for it.
        end_with_parent(parent)
    # Taken out: what the app starts has no use for it.
    token = os.environ.pop("FOREBAY_METRICS_TOKEN", None)
    if metrics_token_file is not None:
        token = metrics_token_file.read_text().strip()
    address = MetricsAddress(host=metrics_host, port=metrics_port, token=token)
    if (http_certificate is None) != (http_key is None):
        raise click.UsageError("give both --http-certificate and --http-key")
    if http_truststore is not None and (http_certificate is None or http_no_tls):
        raise click.UsageError("--http-truststore: give --http-certificate and --http-key, too, and no --http-no-tls")
    files = None if http_certificate is None or http_key is None else (http_certificate, http_key)
    port = http_port if http_port is not None else 0 if target is not None else STACKS_PORT
    http = HttpAddress(
        host=http_host,
        port=port,
        tls=False if http_no_tls else files,
        truststore=http_truststore,
        trusted_proxies=http_trusted_proxies,
        access_log=http_access_log,
        access_log_format=http_access_log_format,
    )
    wire_address = WireAddress(host=aws_host, port=aws_port, access_log=aws_access_log, names=aws_names)
    if target is None:
        app = stacks_app(directory(store or read(os.environ.get("FOREBAY_STORE", "data"))))
    else:
        app = load(target)
        if store is not None:
            app.settings = dataclasses.replace(app.settings, store=as_text(store))
    host_stacks(app, http, wire_address)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(serve(app, grace, metrics=address, http=http, aws=wire_address)))


def _run_workers(target: str | None, workers: int, grace: float) -> int:
    if target is None:
        raise click.UsageError("--workers needs MODULE:APP: what was deployed to a store is served by one process")
    command = worker_command(sys.argv[1:], os.getpid())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Workers(command, workers, grace).run())


def load(target: str) -> App:
    """Import an app by its name; the working directory is looked in first."""
    module_name, colon, name = target.partition(":")
    if not colon or not module_name or not name:
        raise click.UsageError(f"{target!r}: give MODULE:APP, for example main:app")
    sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # something that the module itself imports: its traceback is what helps
        raise click.ClickException(f"there is no module {module_name!r}, seen from here") from None
    found = getattr(module, name, None)
    if isinstance(found, App):
        return found
    apps = [known for known, value in vars(module).items() if isinstance(value, App)]
    there = f"there {'is' if len(apps) == 1 else 'are'} {', '.join(apps)}" if apps else "there is none"
    raise click.ClickException(f"{module_name!r} has no forebay.App named {name!r}: {there}")


async def serve(app: App, grace: float, *, metrics: MetricsAddress, http: HttpAddress, aws: WireAddress) -> int:
    """Run an app until a signal comes or its store fails; give the exit status."""
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[str] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number.name)
    await app.start(
        metrics_host=metrics.host,
        metrics_port=metrics.port,
        metrics_token=metrics.token,
        http_host=http.host,
        http_port=http.port,
        http_tls=http.tls,
        http_truststore=http.truststore,
        http_trusted_proxies=http.trusted_proxies,
        http_access_log=http.access_log,
        http_access_log_format=http.access_log_format,
        aws_host=aws.host,
        aws_port=aws.port,
        aws_access_log=aws.access_log,
    )
    told = "%s is on %s" if app.role == "owner" else "%s will be on %s once this process owns the store"
    for what, where in (("HTTP", http.base), ("AWS's wire API", aws.url)):
        if where and app.settings.serve is not False:  # who never owns the store serves neither
            log.info(told, what, where)
    log.info("app %r runs on %s", app.name, app.settings.place)
    failure = loop.create_task(app.store_failure())
    called = loop.create_task(signals.get())
    try:
        await asyncio.wait({failure, called}, return_when=asyncio.FIRST_COMPLETED)
        if failure.done():
            await app.stop(0)
            return 1
        log.info("%s: draining within %g s; a second signal stops at once", called.result(), grace)
        await _stop(app, signals, grace)
        return 0
    finally:
        called.cancel()
        failure.cancel()
        await asyncio.gather(called, failure, return_exceptions=True)


async def _stop(app: App, signals: asyncio.Queue[str], grace: float) -> None:
    stopping = asyncio.ensure_future(app.stop(grace))
    again = asyncio.ensure_future(signals.get())
    try:
        await asyncio.wait({stopping, again}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            log.info("%s: stopping at once", again.result())
            await app.stop(0)
        await stopping
    finally:
        again.cancel()
    log.info("stopped")


@click.command()
@click.argument("function", callback=named("function"))
@click.argument("payload", default="null")
@click.option("--async", "is_async", is_flag=True, help="Only have it accepted; print the request id.")
@click.option("--delay", type=float, metavar="SECONDS", help="With --async: seconds until the first attempt.")
@click.option(
    "--at", metavar="TIME", help="With --async: when the first attempt is due. Seconds since 1970, or ISO 8601."
)
@click.option("--deduplication-id", metavar="ID", help="With --async: accept one event with it in the window.")
@click.option(
    "--deduplication-window",
    type=float,
    metavar="SECONDS",
    help="With --deduplication-id: how long it is remembered; 300 without it.",
)
@click.option(
    "--keep-result", is_flag=True, help="With --async: keep the result for `forebay why`, for a day after the end."
)
@qualifier_option
@store_option
@output_option
def invoke(
    *,
    function: str,
    payload: str,
    is_async: bool,
    delay: float | None,
    at: str | None,
    deduplication_id: str | None,
    deduplication_window: float | None,
    keep_result: bool,
    qualifier: str | None,
    store: Path,
    output: str,
) -> None:
    """Run a function of the running app on PAYLOAD, JSON text ("-": standard input), and print its response.

    When the function fails, its error object is printed instead and the status is 1. With a qualifier, the version that ran is
    told on standard error.
    """
    options = event.options(
        delay=delay,
        at=None if at is None else moments.parsed("at", at),
        deduplication_id=deduplication_id,
        deduplication_window=deduplication_window,
        keep_result=keep_result,
    )
    if options and not is_async:
        raise click.UsageError("--delay, --at, --deduplication-id and --keep-result are for --async: add it")
    asked = qualified(function, qualifier)
    text = sys.stdin.buffer.read() if payload == "-" else payload.encode()
    try:
        wire.loads(text)
    except ValueError as error:
        raise InvalidParameterValue(f"payload: allowed is JSON text; {error}") from None
    with connect(store) as connection:
        connection.need_app()
        if is_async:
            body = wire.checked_event(text)
            request_id = (
                connection.invoke_event(asked, body, options) if options else connection.invoke_async(asked, body)
            )
            show({"request_id": request_id}, output, text=request_id)
            return
        try:
            response, version = connection.invoke(asked, wire.checked_request(text))
        except FunctionError as error:
            _tell_version(error.executed_version, qualifier)
            click.echo(wire.indented(error.payload) if output == "text" else wire.dumps(error.payload))
            sys.exit(1)
    _tell_version(version, qualifier)
    click.echo(wire.indented(wire.loads(response)) if output == "text" else response)


def _tell_version(version: str | None, qualifier: str | None) -> None:
    if qualifier is not None:
        click.echo(f"version {version}", err=True)
