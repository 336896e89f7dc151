"""A Flask app for Lambda, as apig-wsgi's own guide writes it."""

import flask
from apig_wsgi import make_lambda_handler

app = flask.Flask(__name__)


@app.get("/items/<item>")
def item(item):
    return {"item": item, "q": flask.request.args.getlist("q"), "t": flask.request.args["t"]}


@app.post("/echo")
def echo():
    return flask.Response(flask.request.get_data(), mimetype="application/octet-stream")


@app.post("/form")
def form():
    return {"a": flask.request.form["a"], "b": flask.request.form["b"]}


@app.get("/cookies")
def cookies():
    response = flask.jsonify(seen=flask.request.cookies["seen"])
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@app.get("/teapot")
def teapot():
    return "short and stout", 418, {"x-a": "1"}


@app.get("/fail")
def fail():
    raise RuntimeError("no")


handler = make_lambda_handler(app, binary_support=True)
