"""An app with a resource that measures, in its processes too. Never imported by name: see `conftest.py`."""

import contextlib
import os

import forebay

app = forebay.App("measured", store=":memory:")


class Resource(contextlib.AbstractAsyncContextManager):
    """Measures what its handler tells it to, and one more query when it is closed."""

    def __init__(self):
        self.queries = self.connections = 0
        self.latency = forebay.Histogram()
        self.fails = False

    async def __aexit__(self, *_):
        self.queries += 1

    def measurements(self):
        if self.fails:
            raise RuntimeError("it cannot tell")
        yield "QueryRequests", {"ProxyName": "orders"}, self.queries
        yield "DatabaseConnections", {"ProxyName": "orders"}, self.connections
        yield "QueryResponseLatency", {"ProxyName": "orders"}, self.latency


resource = Resource()
app.attach(resource)


@app.function(isolation="process", timeout=5, environments=forebay.Environments(maximum=1, idle_timeout=3))
def ask(event, context):
    resource.queries += event["queries"]
    resource.connections = event["connections"]
    resource.latency.record_many([0.25] * event["queries"])
    resource.fails = event.get("fails", False)
    if event.get("exit"):
        os._exit(3)
    return os.getpid()
