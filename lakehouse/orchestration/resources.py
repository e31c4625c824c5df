"""SQS and DynamoDB as Dagster resources, with the fields of dagster-aws's own."""

from functools import cache
from typing import Any

import boto3
import dagster as dg
from dagster_aws.s3 import S3Resource
from pydantic import Field

from lakehouse.dataset import Serving
from lakehouse.dynamodb.sync import table_name
from lakehouse.dynamodb.table import CONFIG, ItemTable
from lakehouse.lake import Lake
from lakehouse.landing.objects import Bucket
from lakehouse.landing.queue import Queue
from lakehouse.settings import Settings


@cache
def session(profile_name: str | None, region_name: str | None) -> boto3.Session:
    """One a process: what a session has read of a service's description serves every later client."""
    return boto3.Session(profile_name=profile_name, region_name=region_name)


class _Boto3Resource(dg.ConfigurableResource):
    region_name: str | None = Field(default=None, description="The region; by default boto3's own.")
    endpoint_url: str | None = Field(default=None, description="Another endpoint than AWS's, for a local AWS.")
    profile_name: str | None = Field(default=None, description="A profile of the shared AWS configuration.")

    def _client(self, service: str, config: Any = None) -> Any:
        shared = session(self.profile_name, self.region_name)
        return shared.client(service, endpoint_url=self.endpoint_url, config=config)


class SQSResource(_Boto3Resource):
    """SQS, as `S3Resource` is S3."""

    def get_client(self) -> Any:
        return self._client("sqs")


class DynamoDBResource(_Boto3Resource):
    """DynamoDB, as `S3Resource` is S3."""

    def get_client(self) -> Any:
        return self._client("dynamodb", CONFIG)


class LakehouseResource(dg.ConfigurableResource):
    """The lake, its landing bucket, its queue and its item tables, as the engine's rooms know them."""

    s3: dg.ResourceDependency[S3Resource]
    sqs: dg.ResourceDependency[SQSResource]
    dynamodb: dg.ResourceDependency[DynamoDBResource]

    @property
    def settings(self) -> Settings:
        return Settings.load()

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    def bucket(self) -> Bucket:
        return Bucket(self.s3.get_client(), self.settings.required("bucket"))

    def queue(self) -> Queue:
        return Queue(self.sqs.get_client(), self.settings.required("queue_url"))

    def items(self, serving: Serving) -> ItemTable:
        return ItemTable(self.dynamodb.get_client(), table_name(self.settings.table_prefix, serving))
