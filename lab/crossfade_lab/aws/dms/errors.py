"""The errors of the DMS API by AWS's own codes; all are HTTP 400."""

from moto.dms.exceptions import (
    DmsClientError,
    InvalidParameterCombinationException,
    InvalidResourceStateFault,
    ResourceAlreadyExistsFault,
    ResourceNotFoundFault,
)

__all__ = [
    "AccessDeniedFault",
    "DmsClientError",
    "InvalidParameterCombinationException",
    "InvalidParameterValueException",
    "InvalidResourceStateFault",
    "ResourceAlreadyExistsFault",
    "ResourceNotFoundFault",
    "S3ResourceNotFoundFault",
    "ValidationException",
]


class InvalidParameterValueException(DmsClientError):
    """A parameter has a value that DMS does not accept."""

    def __init__(self, message: str) -> None:
        super().__init__("InvalidParameterValueException", message)


class ValidationException(DmsClientError):
    """A parameter breaks a constraint of the API's model, such as an enumeration."""

    def __init__(self, message: str) -> None:
        super().__init__("ValidationException", message)


class AccessDeniedFault(DmsClientError):
    """DMS may not use the role it was given."""

    def __init__(self, message: str) -> None:
        super().__init__("AccessDeniedFault", message)


class S3ResourceNotFoundFault(DmsClientError):
    """The bucket for results does not exist."""

    def __init__(self, message: str) -> None:
        super().__init__("S3ResourceNotFoundFault", message)
