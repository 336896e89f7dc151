"""What is asked of forebay and of its peers, word for word the same: `Figure.question`."""

BATCH = "a backlog of records to a handler, 100 a call"
SINGLE = "a backlog of messages to a handler, one a call"
BUCKET = "ask a token bucket"
RECORD = "record a value for percentiles"
MATCH = {size: f"match events with {size:,} mixed rules, one thread" for size in (1_000, 10_000)}
ADD = {size: f"add one of {size:,} mixed rules" for size in (1_000, 10_000)}
STATES = "workflows of a Choice and two Pass states, from start to end"
STEPS = "workflows of three steps that call a function, from start to end"
AWS = {
    "send": "SendMessage of 200 B, 64 connections",
    "send_batch": "SendMessageBatch of 10, 64 connections",
    "receive": "ReceiveMessage of 10 and DeleteMessageBatch, 64 connections",
}
