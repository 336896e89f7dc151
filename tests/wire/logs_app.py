"""An app whose functions log, at home in a module so that processes can import it."""

import logging

from forebay import App
from forebay.logs import FunctionLogs

log = logging.getLogger("shop")
app = App("shop", store=":memory:", region="eu-central-1", account="123456789012")
app.attach(FunctionLogs(app))


@app.function()
def pack(event, context):
    """Log a line in the app's process."""
    log.warning("packed %s", event)


@app.function(isolation="process")
def wrap(event, context):
    """Log a line in a process of its own."""
    log.warning("wrapped %s", event)
