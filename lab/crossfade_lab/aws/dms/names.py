"""Identifiers and ARNs of DMS resources: what is allowed, and how they are formed."""

import re
import secrets
import string

from crossfade_lab.aws.dms.errors import InvalidParameterValueException

_SUFFIX = 26
_LONGEST_SUFFIX = 31


def identifier(value: str, parameter: str, *, longest: int = 255) -> str:
    """The identifier as DMS keeps it, in lower case.

    :raises InvalidParameterValueException: for characters or a length that DMS refuses
    """
    well_formed = re.fullmatch(r"[A-Za-z](-?[A-Za-z0-9])*", value or "")
    if not well_formed or len(value) > longest:
        raise InvalidParameterValueException(
            f"The parameter {parameter} is not a valid identifier: {value!r}. Identifiers must begin with a letter; "
            f"must contain only ASCII letters, digits, and hyphens; must not end with a hyphen or contain two "
            f"consecutive hyphens; and have at most {longest} characters"
        )
    return value.lower()


def arn(kind: str, *, region: str, account: str, suffix: str | None = None) -> str:
    """A new ARN; its last part, the resource id, is random as AWS makes it unless the client chose one.

    :raises InvalidParameterValueException: for a chosen one that DMS refuses
    """
    if suffix is None:
        letters = string.ascii_uppercase
        suffix = secrets.choice(letters) + "".join(secrets.choice(letters + string.digits) for _ in range(_SUFFIX - 1))
    elif len(suffix) > _LONGEST_SUFFIX or not re.fullmatch(r"[A-Za-z](-?[A-Za-z0-9])*", suffix):
        raise InvalidParameterValueException(f"The parameter ResourceIdentifier is not valid: {suffix!r}")
    return f"arn:aws:dms:{region}:{account}:{kind}:{suffix}"


def resource_id(arn: str) -> str:
    """The last part of an ARN."""
    return arn.rpartition(":")[2]
