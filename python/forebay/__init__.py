"""forebay: AWS Lambda's event side in your own process."""

from forebay.dbproxy import DBProxy, EnvSecret, FileSecret
from forebay.errors import ForebayError, InvalidParameterValue

__all__ = ["DBProxy", "EnvSecret", "FileSecret", "ForebayError", "InvalidParameterValue"]
