"""Services that tasks of workflows call outside of the store.

`App.integrate` takes one. One that a package offers under the entry point group `forebay.workflow.integrations` is taken by
itself when a definition names its service.
"""

from forebay._model.connection import ApiKey, BasicAuth, ClientCredentials
from forebay.integrations.aws_sdk import AwsSdk
from forebay.integrations.emr import Emr
from forebay.integrations.http import Http
from forebay.integrations.objects import ObjectStore
from forebay.integrations.port import (
    Integration,
    NamesParameters,
    Objects,
    RunsJobs,
    ServiceCall,
    StillRunning,
    Submitted,
    TaskError,
)

__all__ = [
    "ApiKey",
    "AwsSdk",
    "BasicAuth",
    "ClientCredentials",
    "Emr",
    "Http",
    "Integration",
    "NamesParameters",
    "ObjectStore",
    "Objects",
    "RunsJobs",
    "ServiceCall",
    "StillRunning",
    "Submitted",
    "TaskError",
]
