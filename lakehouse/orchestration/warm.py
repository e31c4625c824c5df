"""What every worker would do first. The fork server imports this module, so that the workers need not."""

from contextlib import suppress

from botocore.exceptions import BotoCoreError

from lakehouse.orchestration.resources import session

with suppress(BotoCoreError):
    session(None, None).client("dynamodb")
