"""A FastAPI app for Lambda, as Mangum's own guide writes it."""

from typing import Annotated

from fastapi import Cookie, FastAPI, Form, Query, Request, Response
from mangum import Mangum

app = FastAPI()


@app.get("/items/{item}")
async def item(item: str, t: str, q: Annotated[list[str], Query()]):
    return {"item": item, "q": q, "t": t}


@app.post("/echo")
async def echo(request: Request):
    return Response(await request.body(), media_type="application/octet-stream")


@app.post("/form")
async def form(a: Annotated[str, Form()], b: Annotated[str, Form()]):
    return {"a": a, "b": b}


@app.get("/cookies")
async def cookies(response: Response, seen: Annotated[str, Cookie()]):
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return {"seen": seen}


@app.get("/teapot")
async def teapot():
    return Response("short and stout", 418, {"x-a": "1"})


@app.get("/fail")
async def fail():
    raise RuntimeError("no")


handler = Mangum(app)
