"""A Lambda with Powertools that was moved over: everything stands at the top of the module, as Powertools' documentation has it.

Of the messages 0, 5, 10, … of each source the first try fails. Each try leaves a line, and each booking, so that a test can judge
what was lost or repeated. Never imported by name: see `test_powertools.py`.
"""

import json
import os
from pathlib import Path

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    SqsFifoPartialProcessor,
    process_partial_response,
)
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent, idempotent_function

import forebay
from forebay.powertools import IdempotencyStore

logger = Logger(service="orders")
metrics = Metrics(namespace="shop", service="orders")
queue_processor = BatchProcessor(event_type=EventType.SQS)
fifo_processor = SqsFifoPartialProcessor()
stream_processor = BatchProcessor(event_type=EventType.KinesisDataStreams)
api = APIGatewayRestResolver()

app = forebay.App("moved", store=os.environ["FOREBAY_TEST_STORE"], durability="process-crash")
app.queue("orders")
app.queue("orders.fifo", content_based_deduplication=True)
app.stream("orders", shards=4)
TWO = forebay.Environments(
    maximum=2
)  # more would not start in time on a small machine: Powertools takes seconds to import
SOON = forebay.Backoff(base=0.05, cap=0.2)

records = IdempotencyStore(app)
booking = IdempotencyConfig(event_key_jmespath="number")
charging = IdempotencyConfig(event_key_jmespath="order")

TOLD = Path(os.environ["FOREBAY_TEST_ATTEMPTS"])
TOLD.mkdir(exist_ok=True)


def tell(file, **line):
    with (TOLD / file).open("a") as told:  # one write of a short line, whole among those of other processes
        told.write(json.dumps(line) + "\n")


def is_first(source, number):
    try:
        (TOLD / f"{source}-{number}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def handle(source, order, request):
    fails = order["number"] % 5 == 0 and is_first(source, order["number"])
    logger.info("an order", extra={"source": source, "number": order["number"], "wanted": request})
    tell(source, number=order["number"], request=request, failed=fails)
    if fails:
        raise ValueError(f"order {order['number']} is not ready")
    metrics.add_metric(name="Handled", unit=MetricUnit.Count, value=1)


def take_order(record, lambda_context):
    handle("queue", record.json_body, lambda_context.aws_request_id)


def take_in_order(record, lambda_context):
    handle("fifo", record.json_body, lambda_context.aws_request_id)


def take_record(record, lambda_context):
    order = record.kinesis.data_as_json()
    handle("stream", order, lambda_context.aws_request_id)
    book(order=order)


@idempotent_function(data_keyword_argument="order", config=booking, persistence_store=records)
def book(order):
    tell("booked", number=order["number"])
    return {"booked": order["number"]}


@app.on_queue("orders", batch_size=10, report_batch_item_failures=True, retry_delay=SOON)
@app.function(timeout=30, environments=TWO)
@logger.inject_lambda_context
@metrics.log_metrics
def from_queue(event, context):
    return process_partial_response(event=event, record_handler=take_order, processor=queue_processor, context=context)


@app.on_queue("orders.fifo", batch_size=10, report_batch_item_failures=True, retry_delay=SOON)
@app.function(timeout=30, environments=TWO)
@logger.inject_lambda_context
@metrics.log_metrics
def from_fifo(event, context):
    return process_partial_response(
        event=event, record_handler=take_in_order, processor=fifo_processor, context=context
    )


@app.on_stream("orders", batch_size=10, parallelization_factor=2, report_batch_item_failures=True, retry_backoff=SOON)
@app.function(timeout=30, environments=TWO)
@logger.inject_lambda_context
@metrics.log_metrics
def from_stream(event, context):
    booking.register_lambda_context(context)
    return process_partial_response(
        event=event, record_handler=take_record, processor=stream_processor, context=context
    )


@app.function(timeout=30, environments=TWO)
@logger.inject_lambda_context
@idempotent(config=charging, persistence_store=records)
def charge(event, context):
    tell("charged", order=event["order"])
    return {"order": event["order"], "request": context.aws_request_id}


@api.get("/orders/<number>")
def get_order(number):
    return {"number": int(number), "request": api.lambda_context.aws_request_id}


@app.function(timeout=30, environments=TWO)
@logger.inject_lambda_context
def web(event, context):
    return api.resolve(event, context)
