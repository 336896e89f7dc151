"""The resolvers of Powertools for AWS Lambda, one for each kind of event, as its own guide writes them."""

import base64
from urllib.parse import parse_qs

from aws_lambda_powertools.event_handler import (
    APIGatewayHttpResolver,
    APIGatewayRestResolver,
    LambdaFunctionUrlResolver,
    Response,
)
from aws_lambda_powertools.shared.cookies import Cookie


def made(resolver):
    app = resolver()

    @app.get("/items/<item>")
    def item(item):
        event = app.current_event
        return {"item": item, "q": event.resolved_query_string_parameters["q"], "t": event.query_string_parameters["t"]}

    @app.post("/echo")
    def echo():
        event = app.current_event
        body = base64.b64decode(event.body) if event.is_base64_encoded else (event.body or "").encode()
        return Response(200, "application/octet-stream", body)

    @app.post("/form")
    def form():
        fields = parse_qs(app.current_event.decoded_body)
        return {"a": fields["a"][0], "b": fields["b"][0]}

    @app.get("/cookies")
    def cookies():
        event = app.current_event
        sent = event.raw_event.get("cookies") or event.headers["cookie"].split("; ")
        seen = dict(one.split("=") for one in sent)["seen"]
        return Response(200, "application/json", f'{{"seen": "{seen}"}}', cookies=[Cookie("a", "1"), Cookie("b", "2")])

    @app.get("/teapot")
    def teapot():
        return Response(418, "text/plain", "short and stout", headers={"x-a": "1"})

    @app.get("/fail")
    def fail():
        raise RuntimeError("no")

    return app


http, rest, url = (made(one) for one in (APIGatewayHttpResolver, APIGatewayRestResolver, LambdaFunctionUrlResolver))


def http_handler(event, context):
    return http.resolve(event, context)


def rest_handler(event, context):
    return rest.resolve(event, context)


def url_handler(event, context):
    return url.resolve(event, context)
