"""What an app may declare while it runs: imported when it starts, so that no first declaration holds the event loop up."""

from forebay import activity, archive, bus, http_api, registry, rest_api, websocket_api, workflow
from forebay.integrations import offered, serve

__all__ = [
    "activity",
    "archive",
    "bus",
    "http_api",
    "offered",
    "registry",
    "rest_api",
    "serve",
    "websocket_api",
    "workflow",
]
