"""Brings a REST API, a key or a usage plan to what a template says, by control calls. Each may be repeated: it looks first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from forebay._stacks.kind import Request
from forebay.errors import InvalidParameterValue, ResourceNotFound

if TYPE_CHECKING:
    from forebay._stacks.kind import Ask

Fields = dict[str, Any]
TAG: Final = "forebay:stack-resource"
"""Marks keys and plans, whose names need not be their own."""
_PAGE: Final = 500
_NOT_FOUND: Final = "NotFoundException"
_REFERENCES: Final = ("parentId", "resourceId", "authorizerId", "requestValidatorId")


class Calls:
    """Control calls of API Gateway."""

    def __init__(self, ask: Ask) -> None:
        """Make calls by asking the engine."""
        self._ask = ask

    async def __call__(self, operation: str, *, api_id: str | None = None, **params: Any) -> Any:
        """Make a call; give the members of the answer. What it makes has the id `api_id`, if it is an API.

        Raises:
            ResourceNotFound: something that it names is not there.
            InvalidParameterValue: it is refused.

        """
        given = {name: value for name, value in params.items() if value is not None}
        named = {} if api_id is None else {"api_id": api_id}
        told = await self._ask(Request("rest.call", {"operation": operation, "params": given, **named}))
        if "error" in told:
            refused = ResourceNotFound if told["error"] == _NOT_FOUND else InvalidParameterValue
            raise refused(f"{operation}: {told['body']['message']}")
        return told["body"]

    async def items(self, operation: str, **params: Any) -> list[Fields]:
        """Give what is on all pages of a list."""
        page = await self(operation, **params, limit=_PAGE)
        found: list[Fields] = page["items"]
        while "position" in page:
            page = await self(operation, **params, limit=_PAGE, position=page["position"])
            found += page["items"]
        return found

    async def api(self, name: str) -> str | None:
        """Give the id of the REST API that a stack calls so. A store of an earlier release has it by its name alone."""
        return next(
            (str(one["id"]) for one in await self.items("GetRestApis") if name in (one["id"], one["name"])), None
        )

    async def marked(self, operation: str, physical: str) -> Fields | None:
        """Give the key or the plan that a stack made."""
        found = await self.items(operation)
        return next((one for one in found if one.get("tags", {}).get(TAG) == physical), None)

    async def leave_plans(self, api: str, stage: str | None = None) -> None:
        """Take the stages of an API, or one of them, out of all usage plans."""
        for plan in await self.items("GetUsagePlans"):
            stages = [one for one in plan.get("apiStages", ()) if one["apiId"] == api and stage in (None, one["stage"])]
            patches = [{"op": "remove", "path": "/apiStages", "value": f"{api}:{one['stage']}"} for one in stages]
            if patches:
                await self("UpdateUsagePlan", usagePlanId=plan["id"], patchOperations=patches)


# --- APIs


async def put_api(ask: Ask, whole: Fields) -> None:
    """Make a REST API what its definition says, and bring it to its stages. Until then they serve what they did."""
    call = Calls(ask)
    api = await call.api(whole["name"])
    if api is None:
        api = (await call("CreateRestApi", api_id=whole["name"], name=whole["name"]))["id"]
    body = json.dumps(whole["document"])
    made = {"parameters": whole["parameters"], "failOnWarnings": whole["fail_on_warnings"]}
    told = await call("PutRestApi", restApiId=api, mode="overwrite", body=body, **made)
    if whole["patches"]:
        await call("UpdateRestApi", restApiId=api, patchOperations=whole["patches"])
    ids = {whole["root"]: told["rootResourceId"]}
    for one in whole["calls"]:
        params = {key: ids.get(value, value) if key in _REFERENCES else value for key, value in one["params"].items()}
        answer = await call(one["operation"], restApiId=api, **params)
        if one["made"] is not None:
            ids[one["made"]] = answer["id"]
    await _put_stages(call, str(api), whole["stages"])


async def _put_stages(call: Calls, api: str, stages: list[Fields]) -> None:
    known = {one["stageName"]: one for one in (await call("GetStages", restApiId=api))["item"]}
    if stages:
        deployment = (await call("CreateDeployment", restApiId=api))["id"]
        for stage in stages:
            await _put_stage(call, api, deployment, stage, known.get(stage["name"]))
    for gone in known.keys() - {stage["name"] for stage in stages}:
        await call.leave_plans(api, gone)
        await call("DeleteStage", restApiId=api, stageName=gone)
    served = {one["deploymentId"] for one in (await call("GetStages", restApiId=api))["item"]}
    for one in await call.items("GetDeployments", restApiId=api):
        if one["id"] not in served:
            await call("DeleteDeployment", restApiId=api, deploymentId=one["id"])


async def _put_stage(call: Calls, api: str, deployment: str, stage: Fields, known: Fields | None) -> None:
    place = {"restApiId": api, "stageName": stage["name"]}
    if known is None:
        known = await call("CreateStage", **place, deploymentId=deployment)
    variables, settings = known.get("variables", {}), known.get("methodSettings", {})
    patches = [
        replaced("/deploymentId", deployment),
        replaced("/description", stage["description"] or ""),
        replaced("/tracingEnabled", text_of(stage["tracing"])),
        replaced("/cacheClusterEnabled", text_of(stage["cache"])),
        *([replaced("/cacheClusterSize", stage["cache_size"])] if stage["cache_size"] is not None else []),
        *(_removed(f"/variables/{escaped(name)}") for name in variables.keys() - stage["variables"].keys()),
        *(replaced(f"/variables/{escaped(name)}", value) for name, value in stage["variables"].items()),
        *(_removed(f"/{method}") for method in settings),
        *stage["settings"],
    ]
    await call("UpdateStage", **place, patchOperations=patches)


async def remove_api(ask: Ask, whole: Fields) -> None:
    """Remove a REST API with its stages."""
    call = Calls(ask)
    api = await call.api(whole["name"])
    if api is not None:
        await call.leave_plans(api)
        await call("DeleteRestApi", restApiId=api)


# --- keys and usage plans


async def put_key(ask: Ask, key: Fields) -> None:
    """Make an API key what it is to be."""
    call = Calls(ask)
    known = await call.marked("GetApiKeys", key["physical"])
    if known is None:
        params = {name: key.get(name) for name in ("name", "description", "value", "customerId", "enabled")}
        await call("CreateApiKey", **params, tags={TAG: key["physical"]})
        return
    patches = [replaced("/description", key.get("description", "")), replaced("/enabled", text_of(key["enabled"]))]
    await call("UpdateApiKey", apiKey=known["id"], patchOperations=patches)


async def remove_key(ask: Ask, key: Fields) -> None:
    """Remove an API key."""
    call = Calls(ask)
    known = await call.marked("GetApiKeys", key["physical"])
    if known is not None:
        await call("DeleteApiKey", apiKey=known["id"])


async def put_plan(ask: Ask, plan: Fields) -> None:
    """Make a usage plan what it is to be, with its keys."""
    call = Calls(ask)
    known = await call.marked("GetUsagePlans", plan["physical"])
    if known is None:
        known = await call("CreateUsagePlan", name=plan["name"], tags={TAG: plan["physical"]})
    patches = [replaced("/name", plan["name"]), replaced("/description", plan["description"] or "")]
    for part in ("throttle", "quota"):
        patches += [_removed(f"/{part}")] if not plan[part] else []
        patches += [replaced(f"/{part}/{name}", text_of(value)) for name, value in plan[part].items()]
    for stage in known.get("apiStages", ()):
        patches.append({"op": "remove", "path": "/apiStages", "value": f"{stage['apiId']}:{stage['stage']}"})
    for stage in plan["stages"]:
        place = f"{await call.api(stage['api']) or stage['api']}:{stage['stage']}"
        patches.append({"op": "add", "path": "/apiStages", "value": place})
        for method, limit in stage["throttle"].items():
            way = f"/apiStages/{place}/throttle/{escaped(method)}"
            patches += [replaced(f"{way}/{name}", text_of(value)) for name, value in limit.items()]
    await call("UpdateUsagePlan", usagePlanId=known["id"], patchOperations=patches)
    await _put_keys(call, known["id"], plan["keys"])


async def _put_keys(call: Calls, plan: str, keys: list[str]) -> None:
    has = {one["id"] for one in await call.items("GetUsagePlanKeys", usagePlanId=plan)}
    found = [await call.marked("GetApiKeys", key) for key in keys]
    wanted = {key if one is None else one["id"] for key, one in zip(keys, found, strict=True)}
    for gone in has - wanted:
        await call("DeleteUsagePlanKey", usagePlanId=plan, keyId=gone)
    for new in wanted - has:
        await call("CreateUsagePlanKey", usagePlanId=plan, keyId=new, keyType="API_KEY")


async def remove_plan(ask: Ask, plan: Fields) -> None:
    """Remove a usage plan."""
    call = Calls(ask)
    known = await call.marked("GetUsagePlans", plan["physical"])
    if known is None:
        return
    patches = [
        {"op": "remove", "path": "/apiStages", "value": f"{stage['apiId']}:{stage['stage']}"}
        for stage in known.get("apiStages", ())
    ]
    if patches:
        await call("UpdateUsagePlan", usagePlanId=known["id"], patchOperations=patches)
    await call("DeleteUsagePlan", usagePlanId=known["id"])


def replaced(path: str, value: str) -> dict[str, str]:
    """Give the patch that sets something."""
    return {"op": "replace", "path": path, "value": value}


def _removed(path: str) -> dict[str, str]:
    return {"op": "remove", "path": path}


def escaped(text: str) -> str:
    """Write a text as one part of a path of a patch."""
    return text.replace("~", "~0").replace("/", "~1")


def text_of(value: Any) -> str:
    """Write a value as a patch has it."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
