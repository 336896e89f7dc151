"""A Chalice app, as its own guide writes it; `app` is its Lambda handler."""

from urllib.parse import parse_qs

from chalice import Chalice, Response

app = Chalice(app_name="shop")
app.api.binary_types.append("application/octet-stream")


@app.route("/items/{item}")
def item(item):
    params = app.current_request.query_params
    return {"item": item, "q": params.getlist("q"), "t": params["t"]}


@app.route("/echo", methods=["POST"], content_types=["application/octet-stream"])
def echo():
    return Response(app.current_request.raw_body, headers={"Content-Type": "application/octet-stream"})


@app.route("/form", methods=["POST"], content_types=["application/x-www-form-urlencoded"])
def form():
    fields = parse_qs(app.current_request.raw_body.decode())
    return {"a": fields["a"][0], "b": fields["b"][0]}


@app.route("/cookies")
def cookies():
    sent = dict(one.split("=") for one in app.current_request.headers["cookie"].split("; "))
    return Response({"seen": sent["seen"]}, headers={"Set-Cookie": ["a=1", "b=2"]})


@app.route("/teapot")
def teapot():
    return Response("short and stout", status_code=418, headers={"x-a": "1", "Content-Type": "text/plain"})


@app.route("/fail")
def fail():
    raise RuntimeError("no")
