"""A spike that finds nothing ready, and the same spike with provisioned concurrency, side by side.

    python examples/spike.py [--invocations 200]

Two functions do the same: they load for half a second when their process starts, as a service that builds a client or reads
a model does, and then answer at once. Neither has been asked for anything when, at one moment, many callers come. Each runs in 4
processes. Those of `provisioned` were started with the app; those of `cold` start when the spike is there. A third function
reserves two places: what comes beyond is refused at once, with the reason, rather than take places from the others.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any

import forebay

# At the top of the module: each process imports its handler from here, and what is done here is its start.
if __name__ != "__main__":
    time.sleep(0.5)

app = forebay.App("spike", store=":memory:")
four = forebay.Environments(maximum=4)


@app.function(isolation="process", environments=four, timeout=30)
def cold(event: Any, context: forebay.Context) -> Any:
    """Answer, in a process that starts when it is needed."""
    return event


@app.function(isolation="process", environments=four, timeout=30, provisioned_concurrency=4)
def provisioned(event: Any, context: forebay.Context) -> Any:
    """Answer, in a process that was started before."""
    return event


@app.function(reserved_concurrency=2)
async def limited(event: Any, context: forebay.Context) -> None:
    """Take a moment, two at a time."""
    await asyncio.sleep(0.1)


async def latency(function: forebay.Function[..., Any], number: int) -> float:
    """Invoke a function, and say how many milliseconds that took."""
    began = time.perf_counter()
    await function.invoke(number)
    return (time.perf_counter() - began) * 1000


async def spike(function: forebay.Function[..., Any], invocations: int) -> dict[str, float]:
    """Let all callers come at once; give percentiles of their latencies."""
    latencies = forebay.Histogram()
    latencies.record_many(await asyncio.gather(*(latency(function, number) for number in range(invocations))))
    return {f"p{percent}": latencies.percentile(percent) or 0.0 for percent in (50, 90, 99, 100)}


async def provisioned_is_ready() -> None:
    """Wait until every process that was asked for has started."""
    async with asyncio.timeout(30):
        while 'forebay_environments{function="provisioned",state="idle"} 4' not in app.metrics.page():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def main(invocations: int) -> bool:
    """Run both spikes; tell whether the provisioned one was the faster one, and the rest as it should be."""
    async with app:
        await provisioned_is_ready()
        spikes = {function.name: await spike(function, invocations) for function in (provisioned, cold)}
        calls = await asyncio.gather(*(limited.invoke() for _ in range(5)), return_exceptions=True)
        refused = [call for call in calls if isinstance(call, forebay.TooManyRequests)]
        used = app.metrics.statistic("ProvisionedConcurrencyInvocations", "Sum", function="provisioned") or 0
    print(f"{invocations} callers at once, ms until the answer:")
    for name, percentiles in spikes.items():
        print(f"{name:>14}:", *(f"{percent} {milliseconds:.1f}" for percent, milliseconds in percentiles.items()))
    print(f"{used:.0f} invocations ran on provisioned concurrency")
    print(f"{len(refused)} of 5 were refused beyond two reserved places: {refused[0].reason if refused else ''}")
    fine = len(refused) == 3 and used > 0 and spikes["provisioned"]["p99"] < spikes["cold"]["p50"]
    print("the provisioned spike felt no cold start" if fine else "NOT AS EXPECTED")
    return fine


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--invocations", type=int, default=200)
    sys.exit(0 if asyncio.run(main(parser.parse_args().invocations)) else 1)
