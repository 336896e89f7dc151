"""What tests of versions and aliases share."""


def told(name):
    """Make a handler that tells which it is, and what its context says."""

    async def handler(event, context):
        if event == "fail":
            raise ValueError(name)
        return [name, context.function_version, context.invoked_function_arn]

    return handler


def sleeper(app, clock, **options):
    @app.function("f", timeout=900, **options)
    async def handler(event, context):
        await clock.sleep(1)

    return handler


def described(app, name="f"):
    return app._caller.ask_now("function.describe", name=name)


def provisioned(app, name="f"):
    return {version["version"]: version["provisioned_concurrency"] for version in described(app, name)["versions"]}
