"""Control calls of REST APIs: what a test of a method logs, what a stage takes, and what is told of a deletion."""

import json

import pytest
from waiting import until

from forebay import InvalidParameterValue

MOCK = {"type": "MOCK", "requestTemplates": {"application/json": '{"statusCode": 200}'}}


async def made(rest, verb, integration, **method):
    """Put a method at the root with an answer of status 200."""
    place = {"resourceId": (await rest.call("GetRestApi"))["rootResourceId"], "httpMethod": verb}
    await rest.call("PutMethod", **place, authorizationType="NONE", **method)
    await rest.call("PutIntegration", **place, **integration)
    await rest.call("PutMethodResponse", **place, statusCode="200")
    await rest.call("PutIntegrationResponse", **place, statusCode="200")
    return place


async def test_the_log_of_a_test_says_what_has_happened(app, serve):
    """A body that the model refuses was a configuration error, a mock had answered with status 0, and a service had no URI."""
    rest = app.rest_api("pets")
    client = await serve()
    schema = {"type": "object", "required": ["name"]}
    await rest.call("CreateModel", name="Pet", contentType="application/json", schema=json.dumps(schema))
    bodies = await rest.call("CreateRequestValidator", name="bodies", validateRequestBody=True)
    models = {"requestModels": {"application/json": "Pet"}, "requestValidatorId": bodies["id"]}
    places = [await made(rest, "POST", MOCK, **models)]
    uri = "arn:aws:apigateway:eu-west-1:sqs:"
    for verb, of in [("GET", "action/ListQueues"), ("PUT", "path/000000000000/orders")]:
        places.append(await made(rest, verb, {"type": "AWS", "integrationHttpMethod": "POST", "uri": f"{uri}{of}"}))
    api, logs = (await rest.call("GetRestApi"))["id"], []
    for place in places:
        asked = {"restApiId": api, "body": "{}", **place}
        answer = await client.own(app, "POST", "/_test/invoke-method", body=json.dumps(asked).encode())
        logs.append(answer.json()["log"])
    refused, action, path = logs
    assert "Request body does not match model schema for content type application/json: [" in refused
    assert "configuration error" not in refused and "Received response" not in refused
    host = f"sqs.{app.settings.region}.amazonaws.com"
    assert f"Endpoint request URI: https://{host}/?Action=ListQueues\n" in action
    assert f"Endpoint request URI: https://{host}/000000000000/orders\n" in path
    asked = {"restApiId": api, **places[0], "body": '{"name": "rex"}'}
    log = (await client.own(app, "POST", "/_test/invoke-method", body=json.dumps(asked).encode())).json()["log"]
    assert "Received response" not in log and "Method completed with status: 200" in log


async def test_variables_that_no_stage_can_have_are_refused(app):
    """They were taken here and refused by HTTP APIs."""
    rest = app.rest_api("pets")
    async with app:
        await made(rest, "GET", MOCK)
        await rest.deploy("prod", variables={"colour": "red"})
        deployment = (await rest.call("GetStage", stageName="prod"))["deploymentId"]

        def patch(path, value):
            change = {"op": "replace", "path": path, "value": value}
            return rest.call("UpdateStage", stageName="prod", patchOperations=[change])

        for name, value in [("a b", "c"), ("a", "é")]:
            for call in (
                lambda name=name, value=value: rest.deploy("prod", variables={name: value}),
                lambda name=name, value=value: patch(f"/variables/{name}", value),
                lambda name=name, value=value: patch(f"/canarySettings/stageVariableOverrides/{name}", value),
                lambda name=name, value=value: rest.call(
                    "CreateStage", stageName="dev", deploymentId=deployment, variables={name: value}
                ),
            ):
                with pytest.raises(InvalidParameterValue, match=f'variable "{name}"="{value}": a name has letters'):
                    await call()
        assert (await rest.call("GetStage", stageName="prod"))["variables"] == {"colour": "red"}


async def test_a_call_that_deletes_what_the_program_declares_is_told(app, caplog):
    """Its paths answered 404 until the next start, and no log said why."""
    rest = app.rest_api("pets", stage="prod")

    @rest.method("GET", "/pets")
    async def pets(event, context):
        return {"statusCode": 200}

    async with app:
        place = await made(rest, "GET", MOCK)
        await rest.call("DeleteMethod", **place)
        resources = (await rest.call("GetResources"))["items"]
        [declared] = [one["id"] for one in resources if one["path"] == "/pets"]
        assert "has deleted" not in caplog.text
        await rest.call("DeleteMethod", resourceId=declared, httpMethod="GET")
        await until(
            lambda: "DeleteMethod has deleted GET /pets: methods that the program declares come back" in caplog.text
        )
        await rest.deploy_if_changed()
        await rest.call("DeleteStage", stageName="prod")
        await until(lambda: "DeleteStage has deleted stage prod: methods" in caplog.text)
        await rest.call("DeleteRestApi")
        await until(lambda: "DeleteRestApi has deleted GET /pets: methods" in caplog.text)
