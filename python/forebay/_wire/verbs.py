"""What is asked of the engine, and in which words: the settings of its parts and the verbs of `Engine.request`.

Every body is one JSON object, every answer one JSON object or array. Times end in `_ms`: durations, or milliseconds since
1970 for `timestamp_ms` and `created_ms`. Sequence numbers are decimal strings. `?` marks a field that may be absent or null.
A mapping is named by `stream` and `function`, always.

Settings
========

`Engine(settings)`
    app, store (directory or ":memory:"), store_app? (the app that the store must be of; one without a name takes it),
    region, account, durability ("power-loss" | "process-crash" | "memory"),
    serve ("elect" | true | false), manual, mono_ns, wall_ms, entropy (the last three: where a manual clock starts),
    limits (of the account, all of them), metrics_host, metrics_port (0 = off),
    metrics_token? (needed where other machines reach the host)

`Engine.function(settings)`, before or after `start`; the same name again replaces the settings and gives the same slot
    a function      kind="function", name ("name:number": a published version), timeout_ms, isolation ("task" | "thread"),
                    wants ("event" | "batch"),
                    response (true: some mapping reads the response of this function; else the body of a stream
                    batch's outcome is always None), asynchronous? {maximum_retry_attempts, maximum_event_age_ms,
                    retry_delays_ms: [ms], on_success?, on_failure?, dead_letter? (names of destinations; "function:<name>",
                    "queue:<name>" and "topic:<name>" are of this store, told in the same commit)}, reserved_concurrency?,
                    provisioned_concurrency, rate_limit?: declared again unchanged they leave alone what `function.update` has
                    changed; a version has provisioned_concurrency alone
    a destination   kind="destination", name, type ("jsonlines" | "function" | "object"; a metric label)
                    work of kind 4 carries the delivery id as its request id

Objects
=======

stream      {name, arn, retention_ms, retention_bytes?, created_ms, open_shards, records, bytes, shards: [shard]}
shard       {shard_id, open, parents: [shard_id], first_sequence_number?, last_sequence_number?, records, bytes}
mapping     {stream, function, <every mapping setting>, state, declared, last_result, shards: [progress]}
            state "Enabled" | "Disabled" | "Unhandled" (in a list: a client declares it, and the owner does not; only its source,
            function and state are known); declared: some process that runs now has its function;
            last_result "No records processed" | "OK" | "PROBLEM: Function call failed"
progress    {shard_id, records (not done yet), iterator_age_ms, waits_for: [shard_id], ended, lanes: [lane]}
lane        {lane, state ("idle" | "gathering" | "running" | "waiting" | "lent"), batch?, records, attempt, retry_in_ms?,
            last_error?}
            batch: "<shard_id>:<sequence number of its first record>", as the `eventID` of that record
setting     batch_size, maximum_batching_window_ms, starting_position ("TRIM_HORIZON" | "LATEST" | "AT_TIMESTAMP"),
            starting_position_timestamp_ms?, parallelization_factor, maximum_retry_attempts (-1 = for ever),
            maximum_record_age_ms (-1 = for ever), bisect_batch_on_function_error, report_batch_item_failures,
            filters (array of patterns, each a JSON text), tumbling_window_ms, on_failure? (a destination's name),
            include_payload, retry_backoff {base_ms, cap_ms, jitter}, enabled
function    {name, version, isolation, wants, timeout_ms, reserved_concurrency?, provisioned_concurrency, provisioned_ready
            (places), rate_limit? (starts a second), in_flight, past_deadline (of all versions)}; described also versions, aliases
version     {name ("name:number"), version, isolation, wants, timeout_ms, provisioned_concurrency, provisioned_ready, in_flight}
alias       {function, name, arn, version, weights {version: share}, provisioned_concurrency}
account     {concurrency, unreserved_minimum, scaling {per_account, burst, per_minute}, requests_per_second?}; described also
            in_use, unreserved_in_use, claimed (places)
failure     {id, function, stream?, failed_ms, destination?, undelivered_to?, delivery_attempts, last_error?, record}
            record: Lambda's on-failure record; stream: null for an asynchronous event; destination: which one it waits for;
            undelivered_to: the one that did not take it within 24 hours, or that nothing which runs has had for so long

Verbs
=====

stream.declare    {name, shards, retention_ms, retention_bytes?} -> stream. `shards` counts at the first sight only;
                  changed retention is applied
stream.list       {} -> [stream], shards left out
stream.describe   {name} -> stream
stream.alter      {name, retention_ms?, retention_bytes?} -> stream. Only what is given changes; retention_bytes 0 = none
stream.delete     {name} -> {}. Refused (ResourceConflict) while a mapping reads it
stream.reshard    {name, shards} -> stream, when the new shards are durable
stream.read       {name, cursors? {shard_id: cursor}, position? ("TRIM_HORIZON" | "LATEST" | "AT_TIMESTAMP"), timestamp_ms?,
                  limit} -> {records (fewer when they are over 8 MiB): [{shard_id, sequence_number, partition_key, data (base64),
                  approximate_arrival_timestamp (seconds)}], cursors {shard_id: cursor}, behind (records left, a count)}.
                  The first call names a position, each later one hands the cursors of the answer before it back; a shard
                  without a cursor is read from its beginning, a shard read to its end has none. A cursor is opaque text

mapping.declare   {stream, function, <every setting>} -> mapping. First sight fixes the starting position durably; later
                  changed settings apply, the position stays. Unknown stream: ResourceNotFound
mapping.list      {} -> [mapping], progress left out
mapping.wanted    {mappings: [{stream or queue, function}]} -> {app?, unhandled: [the same]}. Through the socket alone: which of
                  the mappings that a client declares the owner does not; answered once the owner has declared its own
mapping.describe  {stream, function} -> mapping
mapping.pause     {stream, function} -> mapping. What runs ends; nothing new begins (`enabled` false)
mapping.resume    {stream, function} -> mapping
mapping.update    {stream, function, <changed settings>} -> mapping. Refuses starting_position*
mapping.seek      {stream, function, position? ("TRIM_HORIZON" | "LATEST" | "AT_TIMESTAMP"), timestamp_ms?, sequence_number?}
                  -> mapping. A sequence number moves its own shard alone, to that record; the others move all shards
mapping.skip      {stream, function, batch} -> mapping. Gives the waiting or retried batch up (condition "Skipped")
mapping.delete    {stream, function} -> {}. The checkpoint goes too

                  All of these but seek and skip take {queue, function} as well, for a mapping on a queue: {queue, function,
                  batch_size, maximum_batching_window_ms, maximum_concurrency?, report_batch_item_failures, filters,
                  retry_delay? {base_ms, cap_ms, jitter}, strict_lambda, enabled, state, declared, last_result,
                  batches_in_flight, visible, in_flight, delayed}

queue.declare     {name, visibility_timeout_ms, delay_ms, retention_ms, content_based_deduplication,
                  deduplication_scope ("queue" | "messageGroup"), dead_letter_queue?, maximum_receive_count} -> queue.
                  Changed settings are applied
queue.list        {} -> [queue]
queue.describe    {name} -> queue: its settings, and arn, fifo, created_ms, visible, in_flight, delayed, oldest_age_ms?,
                  dead_letter_sources [name], redrive? (the one under way or the last one: {status ("RUNNING" | "COMPLETED" |
                  "CANCELLED" | "FAILED"), failure_reason?, to?, rate?, messages (that waited when it began), moved, left,
                  began_ms})
queue.depth       {name} -> {visible, in_flight, delayed}
queue.send        {name, messages: [{body, group_id?, deduplication_id?, delay_ms?, attributes? [{name, data_type, value}]}],
                  parent? (the request whose handler sends), trace? (`traceparent`, and `tracestate` below it)} -> [message id],
                  when they are durable; at most ten. The value of a Binary attribute is base64
queue.receive     {name, maximum, wait_ms?, visibility_timeout_ms?, attempt_id?} -> [record of Lambda's event for
                  SQS, with `traceContext`? as sent]
queue.delete_message     {name, receipt_handle} -> {}
queue.change_visibility  {name, receipt_handle, visibility_timeout_ms} -> {}
queue.purge       {name} -> {visible, in_flight, delayed}: what was removed
queue.peek        {name, limit (1 to 1000), after? (a `next`)} -> {messages: [record of the event without a receipt, and queue,
                  state ("visible" | "delayed" | "in flight" | "running"), visible_at_ms?], next?}. Nothing is received
queue.redrive     {name, to?, rate?} -> {moving}: messages that will go to `to`, or back to where they came from; remembered over
                  restarts. One at a time for each queue (ResourceConflict)
queue.redrive_message    {name, id, to?, body? (text in place of its own), dry_run?, next?} -> {redriven (0 | 1), message?,
                  next?}: one message moves alone. With a `next` it was not found yet: ask again with that. ResourceConflict if it
                  is in flight, delayed, or in a FIFO queue not the first of its group
queue.cancel_redrive     {name} -> {moved, left}. ResourceNotFound if there is none
queue.delete      {name} -> {removed}: messages that were in it. Its name is free at once, its log goes by and by. Refused
                  (ResourceConflict) while something that runs depends on it

topic.declare     {name} -> topic
topic.list        {} -> [topic]
topic.describe    {name} -> topic: {name, arn, created_ms, subscriptions: [subscription]}; a subscription is {arn, queue or
                  function, filter_policy?, filter_policy_scope, raw_message_delivery}
topic.subscribe   {name, queue or function, filter_policy? (a JSON text), filter_policy_scope? ("MessageAttributes" |
                  "MessageBody"), raw_message_delivery?} -> topic. One that is subscribed already takes the new settings
topic.unsubscribe {name, queue or function} -> topic
topic.publish     {name, message, subject?, attributes? [{name, data_type, value}], parent?, trace? (as for queue.send)}
                  -> message id, a text, when everything that comes of it is durable
topic.delete      {name} -> {}. Its subscriptions go with it. Refused (ResourceConflict) while it is a destination

lag               {stream?, function?} -> [{stream, function, shard_id, records, iterator_age_ms, lanes_busy, lanes_waiting}]

failed.list       {function?, stream?, limit, after? (a `next`)} -> {failures: [failure], next?}, oldest first. A page ends at
                  `limit`, or before it is too large (8 MiB); `next` asks for the one after it
failed.get        {id} -> failure, and payload (JSON text) of an asynchronous event
failed.redrive    {function, ids? ([id]; null = all), rate? (failures per second), dry_run?, payload? (JSON text)} ->
                  {redriven, more}. A batch goes to the function again as it was; an asynchronous event begins a new life with the
                  same request id, and with another payload, if one is given for the one id; what succeeded and could not be told
                  is told again. A failure that fails again stays listed. `more`: over 100,000 are listed, ask again when these
                  have run. Batches are refused when nothing that runs has the function
why               {id (of a request, message or publication, or a sequence number), cursor?} -> {id, facts: [{at_ms, what,
                  …}], running, kept: [row], cursor?}. What is remembered of it, oldest first, and where it stands: a waiting
                  event (where "queue"), a message ("message", as queue.peek gives it), a record and a function that reads its
                  stream ("record"; state "unread" | "waiting" | "running" | "retried" | "done"), a failure ("failed"). Asked
                  again with the cursor, it looks on through the store

functions.list    {} -> [function]
function.describe {name} -> function; version of "name:number", alias of "name:alias". `Engine.invoke` and `invoke_async` take
                  these names, too; the answer of `invoke` is then the response and the version that ran
alias.declare     {function, name, version, weights?, provisioned_concurrency?} -> alias. Until the app ends
alias.update      {function, name, version?, weights?, provisioned_concurrency?} -> alias. What is absent stays
function.update   {name, reserved_concurrency?, provisioned_concurrency?, rate_limit?} -> function. What is absent stays, null
                  takes a reservation or a rate away. Until the app starts next
account.describe  {} -> account
account.update    {concurrency?, unreserved_minimum?, scaling?, requests_per_second?} -> account. The same
health            {} -> {role, app? (whose store it is), ready, reasons: [text], failed? (text: the store takes no further write)}
metrics.text      {} -> {text}: the Prometheus exposition that /metrics serves
metrics.list      {} -> [{name, aws_namespace?, aws_name?, kind ("counter" | "gauge" | "histogram" | "info"), unit, aws_unit?,
                  aws_scale?, labels: [name], help, buckets: [upper bound], series (a count)}]
metrics.statistic {name, statistic, period (seconds), labels {name: value}} -> {value?, unit}: of the last `period` seconds.
                  `name` is CloudWatch's or Prometheus's and chooses the unit; of a mapping's metric, `stream` and `function`
                  may be asked for as labels
metrics.series    the same, and since (seconds back) -> {points: [[start (seconds since 1970), value]], unit}
metrics.tell      {source, keep? (seconds), samples: [[name, [label values], growth | level | histogram bytes (base64)]]} -> {}.
                  What is counted outside the engine; a source that is silent for `keep` seconds is gone with its levels

Outcomes
========

A kind 3 work for a token is never answered by itself: the attempt is settled once, when it has ended, with status 2. The
caller of `invoke` gets Lambda's timeout error at the deadline, written by the engine (`Sandbox.Timedout`).
"""
