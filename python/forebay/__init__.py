"""forebay: AWS Lambda's event side in your own process."""

from forebay.errors import ForebayError, InvalidParameterValue

__all__ = ["ForebayError", "InvalidParameterValue"]
