"""What every worker would do first. The fork server imports this module, so that the workers need not.

The clients made here, for 0.2 s in a fork, know no credentials: each worker finds its own when it first signs.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any
from unittest.mock import patch

import botocore.credentials
import botocore.session
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError
from dagster_aws.s3 import S3Resource

from lakehouse import metrics
from lakehouse.definitions import built
from lakehouse.orchestration.resources import DynamoDBResource, client


class Late(Credentials):  # type: ignore[misc]  # botocore has no types
    """The credentials of the process that signs, not of the one that made the client."""

    def __init__(self) -> None:
        super().__init__("", "")

    @cached_property
    def found(self) -> Any:
        return botocore.session.get_session().get_credentials()

    def get_frozen_credentials(self) -> ReadOnlyCredentials | None:
        return self.found and self.found.get_frozen_credentials()

    def get_deferred_property(self, name: str) -> Callable[[], object]:
        return lambda: getattr(self.found, name, None)


class Resolver:
    """Stands for botocore's chain of credential providers."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def load_credentials(self) -> Late:
        return Late()


if metrics.on():
    metrics.parts()
with patch.object(botocore.credentials, "create_credential_resolver", Resolver), suppress(BotoCoreError):
    for resource in (S3Resource(), DynamoDBResource()):
        client(resource)
built().get_repository_def().get_all_jobs()
