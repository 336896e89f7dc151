"""Declarations of APIs that cannot be: what a user is told at the line that has the mistake."""

import math

import pytest

from forebay import App, Cors, FunctionUrl, InvalidParameterValue, ResourceConflict


async def one(event, context):
    return event


def wsgi(environ, start_response):
    return []


def http(app, **options):
    return app.http_api("shop", **options)


def chat(app, **options):
    return app.websocket_api("chat", **options)


def rest(app, **options):
    return app.rest_api("pets", **options)


def test_a_host_is_of_one_api():
    """The API that was declared last got all requests."""
    app = App("shop", store=":memory:")
    app.http_api("one", hosts=["a.example.com"])
    with pytest.raises(ResourceConflict, match=r"already has the host 'a.example.com'"):
        app.http_api("two", hosts=["b.example.com", "a.example.com"])


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (lambda app: app.http_api(3), "name=3: allowed is a text"),
        (lambda app: app.websocket_api(3), "name=3: allowed is a text"),
        (lambda app: chat(app, selection=3), "selection=3: allowed is a text"),
        (lambda app: http(app).stage("dev", variables=["a"]), "variables=['a']: texts by their names"),
        (lambda app: chat(app).stage("dev", variables={"a": 1}), "variables={'a': 1}: texts by their names"),
        (lambda app: rest(app, user_pools=["a"]), "user_pools=['a']: texts by their names"),
        (lambda app: rest(app, stage=3), "stage=3: allowed is a text"),
        (lambda app: FunctionUrl(cors=True), "cors=True: a forebay.Cors, or None"),
        (lambda app: http(app, cors={"allow_origins": "*"}), "cors={'allow_origins': '*'}: a forebay.Cors, or None"),
        (lambda app: http(app).stage("dev", throttle=(-1.0, 2)), "throttle=(-1.0, 2): the rate is 0 to 1,000,000"),
        (lambda app: http(app).stage("dev", throttle=(math.nan, 2)), "throttle=(nan, 2): the rate is 0 to 1,000,000"),
        (
            lambda app: http(app).proxy("ANY /a/{b+}", "http://127.0.0.1:9/{c}"),
            "url='http://127.0.0.1:9/{c}': variables",
        ),
        (lambda app: http(app).proxy("$default", "http://127.0.0.1:9/{c}"), "those of the route: it has none"),
        (lambda app: chat(app).on(one), "@ws.on needs the key of its route"),
        (lambda app: http(app).mount(3), "app=3: an ASGI app"),
        (lambda app: http(app).mount(wsgi), "A WSGI app, as of Flask"),
        (lambda app: rest(app).method("GET", "/", api_key_required="yes"), "api_key_required='yes': allowed are"),
    ],
)
def test_a_wrong_option_is_named_where_it_is_given(declare, told):
    with pytest.raises(InvalidParameterValue) as refused:
        declare(App("shop", store=":memory:"))
    assert told in str(refused.value)


def test_two_apis_cannot_be_alone_at_one_port():
    """The operating system said so at the start, and named neither."""
    app = App("shop", store=":memory:")
    api = app.http_api("shop", port=8_001)
    for declare in (app.http_api, app.websocket_api, app.rest_api):
        with pytest.raises(ResourceConflict, match="port=8001: API 'shop' is alone there: give one of them another"):
            declare("other", port=8_001)
    assert app.http_api("shop", port=8_001) is api
    assert app.http_api("more", port=8_002, cors=Cors()).settings.port == 8_002


def test_a_handler_of_two_routes_is_told_how():
    app = App("shop", store=":memory:")
    api = app.http_api("shop")
    declared = api.route("GET", "/a")(one)
    with pytest.raises(ResourceConflict, match="give the second one what the first one has returned"):
        api.route("POST", "/a")(one)
    assert api.route("POST", "/a")(declared) is declared


async def test_variables_of_a_stage_are_texts(app, no_task_is_left):
    """`TruncatingBigNumber can not be converted to an String`, it said, as AWS does, and which option was wrong it did not."""
    rest = app.rest_api("pets")
    async with app:
        with pytest.raises(InvalidParameterValue, match=r"variables=.*texts by their names"):
            await rest.deploy("prod", variables={"a": 1})


async def test_a_wrong_id_of_a_connection_is_named(app, no_task_is_left):
    ws = app.websocket_api("chat")
    async with app:
        for ask in (lambda: ws.post(3, "hi"), lambda: ws.connection(3), lambda: ws.disconnect(3)):
            with pytest.raises(InvalidParameterValue, match="connection_id=3: allowed is a text"):
                await ask()
        with pytest.raises(InvalidParameterValue, match="connection_ids='abc': a list of texts"):
            await ws.post_many("hi", "abc")


@pytest.mark.parametrize(
    ("stage", "verb", "path", "told"),
    [
        ("a b", "GET", "/x", "REST API 'pets': stage='a b': CreateDeployment: Stage name only allows"),
        ("prod", "GTE", "/x", "REST API 'pets': GTE /x: PutMethod: Invalid HttpMethod"),
        ("prod", "GET", "/{x", "REST API 'pets': GET /{x: CreateResource: Resource's path part only allow"),
    ],
)
async def test_a_method_that_aws_refuses_is_named(app, stage, verb, path, told):
    app.rest_api("pets", stage=stage).method(verb, path)(one)
    with pytest.raises(InvalidParameterValue) as refused:
        await app.start()
    assert told in str(refused.value)
