"""The first app: orders, shipped in order for each customer.

forebay run quickstart:app &
echo '{"customer": "ada", "item": "a book"}' | forebay stream put orders --key customer
"""

import forebay

app = forebay.App("shop", store="./data")
orders = app.stream("orders", shards=4)


@app.on_stream("orders", maximum_retry_attempts=2)
async def ship(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
    for record in batch:
        order = record.json()
        print(f"{order['customer']} gets {order['item']}", flush=True)
