"""An app with a bus and a schedule is killed again and again: nothing accepted is lost on the way to a target of its rule."""

import subprocess
import sys
import textwrap
import time

from forebay.testing import Ledger, check

LIVES = 3
APP = textwrap.dedent(
    """
    import asyncio, sys
    from forebay import App
    from forebay.testing import Ledger

    store, path, life, drains = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "drains"
    ledger = Ledger(path, life=life, own=["due"])
    app = App("kills", store=store)
    bus = app.bus("orders")


    # Two targets of one rule: each event has a fate with each of them.
    def item(target, event):
        return f"{target} {event['detail']['n']}", event["detail"]["n"]


    @app.function("first")
    async def first(event, context):
        with ledger.handling([item("first", event)]):
            await asyncio.sleep(0)


    @app.function("second")
    async def second(event, context):
        with ledger.handling([item("second", event)]):
            await asyncio.sleep(0)


    @app.function("once")
    async def once(event, context):
        ledger.note("due", [("once", 1)])


    bus.rule("both", {"source": ["shop"]}, [first, second])
    app.schedule("at(2020-01-01T00:00:00)", name="past", target=once)


    async def main():
        async with app:
            if life == 1:
                await app._caller.ask("schedule.run", name="past")
            for _ in range(0 if drains else 1_000_000):
                n = ledger.next_number()
                items = [(f"first {n}", n), (f"second {n}", n)]
                ledger.note("asked", items)
                await bus.put({"n": n}, source="shop", detail_type="x")
                ledger.note("acknowledged", items)
            while ledger.behind():
                await asyncio.sleep(0.05)


    asyncio.run(main())
    """
)


def test_each_event_has_its_fate_with_each_target_over_kills(tmp_path):
    script, store, path = tmp_path / "app.py", tmp_path / "store", tmp_path / "ledger.db"
    script.write_text(APP)
    with Ledger(path, own=["due"]) as ledger:
        for life in range(1, LIVES + 1):
            before = ledger.count("acknowledged")
            with subprocess.Popen([sys.executable, script, store, path, str(life), "puts"]) as process:
                until = time.monotonic() + 60
                while ledger.count("acknowledged") < before + 40 and time.monotonic() < until:
                    time.sleep(0.01)
                process.kill()
            assert ledger.count("acknowledged") >= before + 40
        subprocess.run([sys.executable, script, store, path, str(LIVES + 1), "drains"], check=True, timeout=120)
        verdict = check(ledger.facts())
        assert verdict.violations == []
        assert verdict.acknowledged >= LIVES * 40
        assert verdict.done >= verdict.acknowledged
        assert ledger.count("due") >= 1, "what a kill cuts short runs again"
