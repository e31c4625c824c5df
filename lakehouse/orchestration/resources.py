"""SQS and DynamoDB as Dagster resources, with the fields of dagster-aws's own."""

import json
from collections.abc import Callable
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
def _client(kind: Callable[..., Any], config: str) -> Any:
    return kind(**json.loads(config)).get_client()


def client(resource: Any) -> Any:
    """A resource's client, one a process: making it takes 0.1 s, and a forked worker finds its parent's."""
    return _client(type(resource), resource.model_dump_json())  # type: ignore[arg-type]  # a class is hashable


class _Boto3Resource(dg.ConfigurableResource):
    region_name: str | None = Field(default=None, description="The region; by default boto3's own.")
    endpoint_url: str | None = Field(default=None, description="Another endpoint than AWS's, for a local AWS.")
    profile_name: str | None = Field(default=None, description="A profile of the shared AWS configuration.")

    def _client(self, service: str, config: Any = None) -> Any:
        session = boto3.Session(profile_name=self.profile_name, region_name=self.region_name)
        return session.client(service, endpoint_url=self.endpoint_url, config=config)


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
        return Bucket(client(self.s3), self.settings.required("bucket"))

    def queue(self) -> Queue:
        return Queue(client(self.sqs), self.settings.required("queue_url"))

    def items(self, serving: Serving) -> ItemTable:
        return ItemTable(client(self.dynamodb), table_name(self.settings.table_prefix, serving))
