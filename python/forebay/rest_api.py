"""A REST API: resources, methods and integrations as AWS's API Gateway (v1) has them, kept in the store."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from forebay._model import checks
from forebay._model.gateway import foreign_variable, pairs
from forebay._runtime.sync_twins import sync_twin
from forebay.errors import ForebayError, InvalidParameterValue, ResourceConflict, ResourceNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forebay._api import DeclaringApp
    from forebay._model.gateway import OwnPort
    from forebay._runtime.caller import Caller
    from forebay.function import Function

log = logging.getLogger("forebay.app")

P = ParamSpec("P")
R = TypeVar("R")

BasePath = Literal["ignore", "prepend", "split"]
ExportType = Literal["oas30", "swagger"]
Mode = Literal["merge", "overwrite"]

_REFUSALS: dict[str, type[ForebayError]] = {
    "NotFoundException": ResourceNotFound,
    "ResourceNotFoundException": ResourceNotFound,
    "ConflictException": ResourceConflict,
    "ResourceConflictException": ResourceConflict,
}
# Calls that are about all APIs of the store.
_OF_ALL = (
    "ApiKey",
    "Usage",
    "ClientCertificate",
    "Tag",
    "RestApis",
    "CreateRestApi",
    "ImportRestApi",
    "Account",
    "VpcLink",
    "FunctionUrl",
)
# They run a method: the HTTP port does that, not the store.
_TESTS = ("TestInvokeMethod", "TestInvokeAuthorizer")


class RestApi:
    """A REST API. Made by `App.rest_api`, never by hand.

    The API lasts in the store until it is deleted, with its deployments, stages, keys and plans. Its stages are served at
    `/_apis/NAME/STAGE/` on the app's HTTP port, and at `/STAGE/` of a port of its own.
    """

    def __init__(
        self, name: str, description: str | None, stage: str | None, caller: Caller, app: DeclaringApp
    ) -> None:
        self.name = name
        self.stage = stage
        """The stage to which the methods of handlers are brought when the app starts."""
        self.user_pools: dict[str, str] = {}
        """The issuers that stand for user pools, by the pools' ids."""
        self.own_port: OwnPort | None = None
        """The port at which it is alone."""
        self._description = description
        self._caller = caller
        self._app = app
        self._id: str | None = None
        self._methods: dict[tuple[str, str], dict[str, Any]] = {}

    def __repr__(self) -> str:
        return f"<forebay REST API {self.name!r}>"

    # --- what is declared

    def method(
        self,
        verb: str,
        path: str,
        *,
        authorization_type: str = "NONE",
        authorizer_id: str | None = None,
        authorization_scopes: Sequence[str] = (),
        api_key_required: bool = False,
        request_parameters: Mapping[str, bool] | None = None,
        timeout_ms: int = 29_000,
    ) -> Callable[[Callable[P, R]], Function[P, R]]:
        """Bring a method's requests to a handler, as events of AWS_PROXY; the next `deploy` takes it.

        A handler that is not a function becomes one with default settings. A method that is declared while the app runs stays in
        the API, and in its stage, until a call deletes it.

        Args:
            verb: "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS" or "ANY".
            path: "/", "/pets/{id}"; a greedy variable, as in "/files/{proxy+}", is the last one.
            authorization_type: "NONE", "CUSTOM" (a function says who is let in), "AWS_IAM" (a request is signed with an access
                key that `forebay aws keys` has made) or "COGNITO_USER_POOLS" (a token of a user pool).
            authorizer_id: the authoriser of "CUSTOM" and "COGNITO_USER_POOLS": the `id` that `call("CreateAuthorizer", …)` gives.
            authorization_scopes: of "COGNITO_USER_POOLS": an access token has one of these; without any, it is an identity token.
            api_key_required: whether a request needs the API key of a usage plan.
            request_parameters: names such as "method.request.querystring.page", and whether a request must have them.
            timeout_ms: how long an answer may take, 50 to 29,000 ms.

        Raises:
            InvalidParameterValue: a path or a handler that cannot be.
            ResourceConflict: the method is already declared.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html

        """
        if not path.startswith("/"):
            raise InvalidParameterValue(f'path is {path!r}: a path begins with "/"')
        key = (path, verb.upper())
        if key in self._methods:
            raise ResourceConflict(f"REST API {self.name!r}: {verb.upper()} {path} is already declared")
        checks.integer("timeout_ms", timeout_ms, low=50, high=29_000)
        checks.flag("api_key_required", api_key_required)
        if (text := foreign_variable(f"{verb.upper()} {path}")) is not None:
            log.warning("API %s: %s", self.name, text)

        def declare(handler: Callable[P, R]) -> Function[P, R]:
            function = self._app.bound_function(handler)
            self._methods[key] = {
                "isLate": self._caller.is_open,
                "authorizationType": authorization_type,
                "authorizerId": authorizer_id,
                "authorizationScopes": list(authorization_scopes),
                "apiKeyRequired": api_key_required,
                "requestParameters": dict(request_parameters or {}),
                "integration": {
                    "type": "AWS_PROXY",
                    "integrationHttpMethod": "POST",
                    "uri": self.uri(function.name),
                    "timeoutInMillis": timeout_ms,
                },
            }
            return function

        return declare

    def uri(self, function: str) -> str:
        """Give the `uri` of an integration with a function, by its name or as "name:alias"."""
        region, account = self._app.settings.region, self._app.settings.account
        arn = f"arn:aws:lambda:{region}:{account}:function:{function}"
        return f"arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations"

    # --- calls

    async def call(self, operation: str, /, **params: Any) -> dict[str, Any]:
        """Make a control call by AWS's name and with AWS's members: `await rest.call("PutMethod", resourceId=…, …)`.

        `restApiId` is this API, which is created by the first call if there is none of its name; calls on keys, plans and tags
        have none.

        Returns:
            The members of AWS's answer. Times are seconds since 1970.

        Raises:
            InvalidParameterValue: AWS refuses it, or forebay does not have it.
            ResourceNotFound: something that it names is not there.
            ResourceConflict: something else is in its way.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/apigateway/latest/api/API_Operations.html

        """
        if operation in _TESTS:
            raise InvalidParameterValue(
                f"{operation} is not a control call: POST /_test/invoke-method on the HTTP port, `forebay api test`, and boto3 "
                "over the wire API run a method"
            )
        if "restApiId" not in params and not any(part in operation for part in _OF_ALL):
            params["restApiId"] = await self._created()
        return await self._ask(operation, params)

    call_sync = sync_twin(call)

    async def import_openapi(
        self,
        document: Mapping[str, Any] | Path | str,
        *,
        mode: Mode = "overwrite",
        base_path: BasePath = "ignore",
        fail_on_warnings: bool = False,
    ) -> list[str]:
        """Read an OpenAPI document, 2.0 or 3.0, with `x-amazon-apigateway-…`; `deploy` brings it to a stage.

        Args:
            document: a dict, a JSON or YAML text, or the path of a file.
            mode: "overwrite": the API becomes what the document says. "merge": what it does not speak of stays.
            base_path: what becomes of the document's base path: "ignore", "prepend", or "split" (without its first part).
            fail_on_warnings: whether a warning refuses the document.

        Returns:
            The warnings.

        Raises:
            InvalidParameterValue: the document is none, or has something that cannot be; nothing was changed.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-import-api.html

        """
        if isinstance(document, Path):
            text = await asyncio.to_thread(document.read_text, encoding="utf-8")
        elif isinstance(document, str):
            text = document
        else:
            text = checks.json_text("document", document)
        told = await self.call(
            "PutRestApi",
            body=text,
            mode=checks.one_of("mode", mode, ("merge", "overwrite")),
            parameters={
                "basepath": checks.one_of("base_path", base_path, ("ignore", "prepend", "split")),
                # The document's title is not the name by which this API is found.
                "x-forebay-name": self.name,
            },
            failOnWarnings=checks.flag("fail_on_warnings", fail_on_warnings),
        )
        warnings: list[str] = told.get("warnings", [])
        return warnings

    import_openapi_sync = sync_twin(import_openapi)

    async def deploy(
        self, stage: str, *, variables: Mapping[str, str] | None = None, description: str | None = None
    ) -> str:
        """Bring the API as it stands to a stage, with the methods of handlers; requests under way end by the old one.

        Args:
            stage: the first part of the path; it is created if there is none: letters, digits, '-' and '_'.
            variables: the stage's variables; those that are not named stay.
            description: what is new.

        Returns:
            The deployment's id.

        Raises:
            InvalidParameterValue: the API has no method, or one without an integration.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-deploy-api.html

        """
        given = dict(pairs("variables", variables))
        await self._declare(None)
        told = await self.call("CreateDeployment", stageName=stage, variables=given, description=description)
        return str(told["id"])

    deploy_sync = sync_twin(deploy)

    async def deploy_if_changed(self) -> None:
        """Bring the methods of handlers to the API's own stage, if it has one and serves something else. An owner does so."""
        if self.stage is None:
            return
        # An API of which nothing is declared is made by its first call.
        if self._methods or await self._found() is not None:
            await self._declare(self.stage)

    async def export(
        self,
        stage: str,
        *,
        kind: ExportType = "oas30",
        accepts: str = "application/json",
        extensions: Sequence[str] = ("apigateway",),
    ) -> str:
        """Give a stage's API as an OpenAPI document.

        Args:
            stage: the stage.
            kind: "oas30" or "swagger" (2.0).
            accepts: "application/json" or "application/yaml".
            extensions: "integrations", "authorizers", or "apigateway" for both; none: without `x-amazon-apigateway-…`.

        Raises:
            ResourceNotFound: there is no such stage.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-export-api.html

        """
        told = await self.call(
            "GetExport",
            stageName=stage,
            exportType=checks.one_of("kind", kind, ("oas30", "swagger")),
            accepts=checks.one_of("accepts", accepts, ("application/json", "application/yaml")),
            parameters={"extensions": ",".join(extensions)},
        )
        return str(told["body"])

    export_sync = sync_twin(export)

    # --- how

    async def _ask(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in params.items() if value is not None}
        return _body_of(await self._caller.ask("rest.call", operation=operation, params=given), operation)

    async def _found(self) -> str | None:
        """Give the API's id, if there is one of its name."""
        if self._id is None:
            found = [one["id"] for one in await self._items("GetRestApis") if one["name"] == self.name]
            self._id = str(found[0]) if found else None
        return self._id

    async def _created(self) -> str:
        """Give the API's id; create it if there is none of its name."""
        found = await self._found()
        if found is None:
            made = await self._ask("CreateRestApi", {"name": self.name, "description": self._description})
            found = self._id = str(made["id"])
        return found

    async def _items(self, operation: str, **params: Any) -> list[dict[str, Any]]:
        """Give the items of all pages of a list."""
        items: list[dict[str, Any]] = []
        position = None
        while True:
            page = await self._ask(operation, {**params, "limit": 500, "position": position})
            items += page["items"]
            position = page.get("position")
            if position is None:
                return items

    async def _declare(self, stage: str | None) -> None:
        """Make the methods of handlers what is declared, and have the stage serve them, in one step."""
        methods = [{"path": path, "httpMethod": verb, **declared} for (path, verb), declared in self._methods.items()]
        api = await self._created()
        # What the owner's program declares no longer goes. Others need not declare all methods, and take none away.
        are_all = self._caller.is_owner and self._app.settings.serve is not False
        params = {"restApiId": api, "methods": methods, "stageName": stage, "areAll": are_all}
        told = await self._caller.ask("rest.call", operation="DeclareMethods", params=params)
        for gone in _body_of(told, f"REST API {self.name!r}").get("removed", ()):
            log.info("REST API %s: %s %s is declared no longer: removed", self.name, gone["httpMethod"], gone["path"])


def _body_of(told: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Give what a call answered; a refusal is raised, and says first where it is."""
    if "error" in told:
        raise _REFUSALS.get(told["error"], InvalidParameterValue)(f"{where}: {told['body']['message']}")
    body: dict[str, Any] = told["body"]
    return body
