"""What DMS reads from other services of the account: the secret of an endpoint, roles, buckets."""

import json
from collections.abc import Mapping
from typing import Any

from moto.core.exceptions import JsonRESTError, ServiceException
from moto.iam.models import iam_backends
from moto.secretsmanager.models import secretsmanager_backends

_KEYS = ("host", "port", "username", "password")


class UnusableSecret(Exception):
    """The secret of an endpoint cannot be used; the message says why, and nothing of its content."""


def read_secret(secret_id: str, *, role: str, account: str, region: str) -> Mapping[str, Any]:
    """The current version of a secret, with the keys that DMS needs: host, port, username, password.

    :raises UnusableSecret: when the role or the secret is missing or of the wrong form
    """
    if not role_for_dms(role, account=account):
        raise UnusableSecret(f"Access to secret denied: role {role} does not exist or does not trust DMS")
    try:
        found = secretsmanager_backends[account][region].get_secret_value(secret_id, "", "AWSCURRENT")
    except (JsonRESTError, ServiceException) as error:
        raise UnusableSecret(f"Secret {secret_id} could not be read: {error.message}") from None
    try:
        content = json.loads(found["SecretString"])
    except (KeyError, ValueError):
        raise UnusableSecret(f"Secret {secret_id} is not a JSON document") from None
    missing = [key for key in _KEYS if not isinstance(content, dict) or not content.get(key)]
    if missing:
        raise UnusableSecret(f"Secret {secret_id} lacks {', '.join(missing)}")
    return dict(content)


def role_for_dms(arn: str, *, account: str) -> bool:
    """Whether an IAM role exists whose trust policy names the DMS service."""
    roles = (role for role in iam_backends[account]["aws"].get_roles() if role.arn == arn)
    return any("dms." in str(role.assume_role_policy_document) for role in roles)
