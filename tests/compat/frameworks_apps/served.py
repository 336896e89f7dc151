"""The apps beside this file, behind every kind of API that they were written for. Their own code knows nothing of forebay."""

import asyncio
import sys

import chalice_site
import django_site
import fastapi_site
import flask_site
import powertools_site
import zappa.handler

import forebay

app = forebay.App("frameworks", store=":memory:")
BOTH_WAYS = {
    "fastapi": fastapi_site.handler,
    "flask": flask_site.handler,
    "django": django_site.handler,
    "zappa": zappa.handler.lambda_handler,
}
DOORS = {name: dict.fromkeys(("http", "http1", "rest", "url"), handler) for name, handler in BOTH_WAYS.items()}
DOORS["zappa"].pop("url")
DOORS["powertools"] = {
    "http": powertools_site.http_handler,
    "http1": powertools_site.rest_handler,
    "rest": powertools_site.rest_handler,
    "url": powertools_site.url_handler,
}
DOORS["chalice"] = {"rest": chalice_site.app}
# Chalice finds its route by the resource that the request came by: it has one for each, as `chalice package` writes.
CHALICE_ROUTES = [(method, path) for path, methods in chalice_site.app.routes.items() for method in methods]
RESTS = []

for name, doors in DOORS.items():
    for door, handler in doors.items():
        # A thread for each, since an app of these may be asked from one thread only.
        options = {"url": True} if door == "url" else {}
        function = app.function(name=f"{name}-{door}", isolation="thread", **options)(handler)
        if door == "http":
            app.http_api(f"{name}-http").route("$default")(function)
        elif door == "http1":
            app.http_api(f"{name}-http1").route("$default", payload_format="1.0")(function)
        elif door == "rest":
            rest = app.rest_api(f"{name}-rest")
            RESTS.append(rest)
            for method, path in CHALICE_ROUTES if name == "chalice" else (("ANY", "/{proxy+}"),):
                rest.method(method, path)(function)


async def main(port):
    async def stop_when_told():
        await asyncio.to_thread(sys.stdin.read)

    await app.start(http_port=port)
    for rest in RESTS:
        types = "application~1octet-stream" if rest.name.startswith("chalice") else "*~1*"
        patch = [{"op": "add", "path": f"/binaryMediaTypes/{types}"}]
        await rest.call("UpdateRestApi", patchOperations=patch)
        await rest.deploy("prod")
    print("serving", flush=True)
    await stop_when_told()
    await app.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
