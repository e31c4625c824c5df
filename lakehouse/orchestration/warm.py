"""What every worker would do first. The fork server imports this module, so that the workers need not."""

from contextlib import suppress

from botocore.exceptions import BotoCoreError
from dagster_aws.s3 import S3Resource

from lakehouse.orchestration.resources import DynamoDBResource, client

for resource in (S3Resource(), DynamoDBResource()):
    with suppress(BotoCoreError):
        client(resource)
