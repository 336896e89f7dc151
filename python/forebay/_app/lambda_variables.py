"""The variables that Lambda sets: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html.

A process has all of them. Tasks and threads share this process's environment: they have those that all functions have in common.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from forebay._model import names

if TYPE_CHECKING:
    from forebay._model.settings import AppSettings


def shared(app: AppSettings) -> dict[str, str]:
    """Give the variables that are the same for every function of an app, but for those that are set: they stay as they are."""
    variables = {
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
        "AWS_REGION": app.region,
        "LAMBDA_TASK_ROOT": os.getcwd(),  # noqa: PTH109  text is wanted
    }
    if app.region != names.REGION_DEFAULT:
        # boto3 reads this one before its own files: the name of no region of AWS would hide the one configured there.
        variables["AWS_DEFAULT_REGION"] = app.region
    return {name: value for name, value in variables.items() if name not in os.environ}


def of_process(
    app: AppSettings, *, name: str, version: str, memory: int, log_stream: str, handler: str, own_runtime: bool
) -> dict[str, str]:
    """Give those of a process of a function, but for those of the user's own AWS account that are set.

    Args:
        app: the settings of the function's app.
        name: the function's.
        version: the function's, or ``$LATEST``.
        memory: in MiB.
        log_stream: where the process logs.
        handler: as ``_HANDLER`` names it.
        own_runtime: whether the process is a program of the user's, which brings its runtime.

    """
    variables = {
        **shared(app),
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "_HANDLER": handler,
        "TZ": os.environ.get("TZ", ":UTC"),
    }
    if own_runtime:
        variables.pop("AWS_EXECUTION_ENV", None)  # it names forebay's runtime
    return variables


class SharedVariables:
    """Variables in this process's environment while handlers run in it."""

    def __init__(self) -> None:
        self._set: dict[str, str] = {}

    def set(self, app: AppSettings) -> None:
        """Set those that are not set."""
        variables = shared(app)
        os.environ.update(variables)
        self._set |= variables

    def unset(self) -> None:
        """Take away what was set here, unless somebody has changed it since."""
        for name, value in self._set.items():
            if os.environ.get(name) == value:
                del os.environ[name]
        self._set.clear()
