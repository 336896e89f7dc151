"""The part of an app in which HTTP APIs are declared."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from forebay._model import checks
from forebay._runtime.sync_twins import sync_twin
from forebay.errors import InvalidParameterValue, ResourceConflict

# https://docs.aws.amazon.com/apigateway/latest/api/API_CreateRestApi.html
REST_API_NAME_MAX = 1_024

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from forebay._app.declarations import Declarations
    from forebay._app.run import AppRun
    from forebay._model.gateway import Cors
    from forebay._runtime.caller import Caller
    from forebay.http_api import HttpApi
    from forebay.rest_api import RestApi
    from forebay.websocket_api import WebSocketApi


class DeclaresApis:
    """What `App` can do with APIs."""

    _declared: Declarations
    _running: AppRun | None
    _caller: Caller

    if TYPE_CHECKING:

        def _declare_soon(self) -> None: ...

    def _own_port(
        self, name: str, port: int | None, truststore: str | os.PathLike[str] | None, known: Collection[str]
    ) -> tuple[int | None, str | None]:
        """Check the port behind which an API is alone, and who signs the certificates of its clients."""
        if port is None:
            if truststore is not None:
                raise InvalidParameterValue(
                    "truststore: an API has one at a port of its own: give port=…, or start(http_truststore=…) for all APIs"
                )
            return None, None
        checks.integer("port", port, low=1, high=65_535)
        if self._running is not None and name not in known:
            raise InvalidParameterValue("port: declare an API that has a port of its own before the app starts")
        found = None if truststore is None else os.fspath(truststore)
        for other in self._declared.own_ports():
            if other.port == port and other.name != name:
                raise ResourceConflict(f"port={port}: API {other.name!r} is alone there: give one of them another port")
        return port, found

    def http_api(
        self,
        name: str,
        *,
        cors: Cors | None = None,
        hosts: Sequence[str] = (),
        port: int | None = None,
        truststore: str | os.PathLike[str] | None = None,
    ) -> HttpApi:
        """Declare an HTTP API, or give the one that was declared so.

        It is served where the app serves HTTP: `forebay run --http-port`, or `start(http_port=…)`; and at a port of its own.

        Args:
            name: 1 to 128 letters, digits, '-', '_' and '.'.
            cors: which pages of other origins may use it; None: the gateway says nothing of it, and handlers may.
            hosts: names that it answers under, in small letters and without a port; it has its path under the others.
            port: a port at which it is alone, its paths at the root. Host, certificate and access log are those of all APIs.
            truststore: the file (PEM) of the authorities that sign its clients' certificates, read anew when it changes. A client
                without such a certificate is turned away. The API is served at its own port alone then, over TLS.

        Raises:
            InvalidParameterValue: an argument that cannot be, or a port while the app runs.
            ResourceConflict: an API of that name is already declared, with other settings.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api.html

        """
        from forebay._model.gateway import HttpApiSettings, read_cors

        checks.text("name", name)
        read_cors(cors)
        given = checks.texts("hosts", list(hosts) if not isinstance(hosts, str) else hosts)
        own, trusted = self._own_port(name, port, truststore, self._declared.apis)
        settings = HttpApiSettings(name=name, cors=cors, hosts=given, port=own, truststore=trusted)
        return self._declared.http_api(settings, self._declare_soon)

    def rest_api(
        self,
        name: str,
        *,
        stage: str | None = None,
        description: str | None = None,
        user_pools: Mapping[str, str] | None = None,
        port: int | None = None,
        truststore: str | os.PathLike[str] | None = None,
    ) -> RestApi:
        """Give the REST API of a name. It is kept in the store, and created by the first call that needs it.

        Args:
            name: its name, 1 to 1,024 characters.
            stage: the methods of handlers are brought to this stage when the app starts, if it serves something else; None: only
                `RestApi.deploy` does.
            description: for people, where it is created.
            user_pools: who issues the tokens of user pools, by the pools' ids: `{"eu-west-1_abc": "https://login.example.com"}`;
                http on this machine only. A pool that is not named has Cognito's own issuer. It takes effect at the next start.
            port: a port at which it is alone, as in `http_api`; a stage is the first part of the path there.
            truststore: as in `http_api`.

        Raises:
            InvalidParameterValue: an argument that cannot be, or a port while the app runs.
            ResourceConflict: the API is already declared, with another stage or port; or a pool, with another issuer.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-rest-api.html

        """
        from forebay._model.gateway import OwnPort, pairs

        if not isinstance(name, str) or not 1 <= len(name) <= REST_API_NAME_MAX:
            checks.refuse("name", name, "a text of 1 to 1,024 characters")
        if stage is not None:
            checks.text("stage", stage)
        pools = dict(pairs("user_pools", user_pools))
        for issuer in pools.values():
            is_local = urlsplit(issuer).hostname in ("localhost", "127.0.0.1", "::1")
            if not issuer.startswith("https://") and not (issuer.startswith("http://") and is_local):
                checks.refuse("user_pools", issuer, "an https:// URL, and http:// for this machine only")
        own, trusted = self._own_port(name, port, truststore, self._declared.rest_apis)
        alone = None if own is None else OwnPort(name=name, id=None, port=own, truststore=trusted)
        return self._declared.rest_api(name, description, stage, pools, alone)

    def websocket_api(
        self,
        name: str,
        *,
        selection: str = "$request.body.action",
        ordered: bool = False,
        port: int | None = None,
        truststore: str | os.PathLike[str] | None = None,
    ) -> WebSocketApi:
        """Declare a WebSocket API, or give the one that was declared so.

        Args:
            name: 1 to 128 letters, digits, '-', '_' and '.'.
            selection: how a message tells its route: "$request.body.action", or a text with "${request.body.a}" in it.
            ordered: whether the next message of a connection waits until the last one has been handled; AWS does not wait.
            port: a port at which it is alone, as in `http_api`.
            truststore: as in `http_api`.

        Raises:
            InvalidParameterValue: an argument that cannot be, or a port while the app runs.
            ResourceConflict: an API of that name is already declared, with other settings.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api.html

        """
        from forebay._model.gateway import WebSocketApiSettings

        checks.text("name", name)
        checks.text("selection", selection)
        own, trusted = self._own_port(name, port, truststore, self._declared.websocket_apis)
        in_order = checks.flag("ordered", ordered)
        settings = WebSocketApiSettings(name=name, selection=selection, ordered=in_order, port=own, truststore=trusted)
        return self._declared.websocket_api(settings, self._declare_soon)

    async def api_token(self) -> str:
        """Give the token that opens `/_routes` and `/_test/invoke-method` on the HTTP port: `authorization: Bearer TOKEN`.

        Each process that serves APIs has another one. `forebay api link` gives a link with it.

        Raises:
            AppClosed: the app is not running.

        """
        return str((await self._caller.ask("api.token"))["token"])

    api_token_sync = sync_twin(api_token)
