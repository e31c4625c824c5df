"""SQS, SNS and DynamoDB as Dagster resources, with the fields of dagster-aws's own."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import boto3
import dagster as dg
from botocore.config import Config
from dagster_aws.s3 import S3Resource
from dagster_aws.utils import ResourceWithBoto3Configuration
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


class _Boto3Resource(ResourceWithBoto3Configuration, dg.IAttachDifferentObjectToOpContext):
    def _make(self, service: str, config: Config | None = None) -> Any:
        tries = Config(retries={"mode": "standard", "total_max_attempts": self.max_attempts})
        return boto3.Session(profile_name=self.profile_name).client(
            service,
            region_name=self.region_name,
            endpoint_url=self.endpoint_url,
            use_ssl=self.use_ssl,
            verify=self.verify,
            aws_access_key_id=self.aws_access_key_id,
            aws_secret_access_key=self.aws_secret_access_key,
            aws_session_token=self.aws_session_token,
            config=config.merge(tries) if config else tries,
        )

    def get_client(self) -> Any:
        raise NotImplementedError

    def get_object_to_set_on_execution_context(self) -> Any:
        return self.get_client()


class SQSResource(_Boto3Resource):
    """SQS, as `S3Resource` is S3: its fields, `get_client`, and the client in an op's context."""

    def get_client(self) -> Any:
        return self._make("sqs")


class SNSResource(_Boto3Resource):
    """SNS, as `S3Resource` is S3."""

    def get_client(self) -> Any:
        return self._make("sns")


class DynamoDBResource(_Boto3Resource):
    """DynamoDB, as `S3Resource` is S3."""

    max_attempts: int = Field(default=1, description="boto3's own attempts; the item table makes ten.")

    def get_client(self) -> Any:
        return self._make("dynamodb", CONFIG)


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
        """The lake with every table where it lies now: whoever began with a path ends with it."""
        return Lake(self.settings.lake).pinned()

    def bucket(self) -> Bucket:
        return Bucket(client(self.s3), self.settings.required("bucket"))

    def queue(self) -> Queue:
        return Queue(client(self.sqs), self.settings.required("queue_url"))

    def dead_letters(self) -> Queue | None:
        url = self.settings.dead_letter_url
        return Queue(client(self.sqs), url) if url else None

    def items(self, serving: Serving) -> ItemTable:
        return ItemTable(client(self.dynamodb), table_name(self.settings.table_prefix, serving))
