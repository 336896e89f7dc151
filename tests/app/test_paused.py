"""A pause outlives a restart, which the start tells."""

from forebay import App


def make(path):
    app = App("shop", store=path / "data")
    app.stream("numbers", shards=1)
    return app


async def test_a_mapping_that_is_paused_since_before_the_start_is_told_of(tmp_path, no_task_is_left, caplog):
    """A pause outlives a restart, and an app that then did nothing said nothing."""

    def both():
        app = make(tmp_path)
        app.queue("orders")

        @app.on_stream("numbers")
        async def ship(event, context): ...

        @app.on_queue("orders")
        async def bill(event, context): ...

        return app

    async with both() as app:
        for mapping in app.mappings:
            await mapping.pause()
    assert "still paused" not in caplog.text
    async with both() as app:
        for command in ("numbers ship", "orders bill --queue"):
            assert f"to go on: forebay mapping resume {command} --store {tmp_path / 'data'}" in caplog.text
            assert f"mapping {'/'.join(command.split()[:2])} is still paused" in caplog.text
        for mapping in app.mappings:
            await mapping.resume()
    caplog.clear()
    async with both():
        assert "still paused" not in caplog.text


async def test_a_mapping_that_is_declared_disabled_is_not_warned_of(tmp_path, no_task_is_left, caplog):
    for _ in range(2):
        app = make(tmp_path)
        app.on_stream("numbers", enabled=False)(
            app.function(name="held", isolation="thread")(lambda event, context: None)
        )
        async with app:
            assert (await app.mappings[0].describe())["state"] == "Disabled"
    assert "still paused" not in caplog.text
