"""SQS, SNS and DynamoDB as Dagster's user knows S3."""

import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource

from lakehouse.definitions import defs
from lakehouse.dynamodb.table import CONFIG
from lakehouse.orchestration.resources import DynamoDBResource, SNSResource, SQSResource

OURS = pytest.mark.parametrize("kind", [SQSResource, SNSResource, DynamoDBResource])
FACTS = {
    "region_name": "eu-west-1",
    "endpoint_url": "http://127.0.0.1:1",
    "aws_access_key_id": "one",
    "aws_secret_access_key": "two",
    "aws_session_token": "three",
}


@OURS
def test_each_has_the_fields_of_dagsters_own_and_its_client_follows_them(kind: type) -> None:
    assert set(kind.model_fields) == set(S3Resource.model_fields) - {"use_unsigned_session"}
    client = kind(**FACTS, max_attempts=3).get_client()
    assert (client.meta.region_name, client.meta.endpoint_url) == ("eu-west-1", "http://127.0.0.1:1")
    assert client.meta.config.retries["mode"] == "standard"
    url = client.generate_presigned_url({"sqs": "list_queues", "sns": "list_topics"}.get(
        client.meta.service_model.service_name, "list_tables"))  # fmt: skip
    assert "one%2F" in url
    assert "X-Amz-Security-Token=three" in url


@OURS
def test_an_op_finds_the_client_in_its_context(kind: type) -> None:
    seen = []

    @dg.op(required_resource_keys={"aws"})
    def look(context: dg.OpExecutionContext) -> None:
        seen.append(type(context.resources.aws).__name__)

    @dg.job(resource_defs={"aws": kind(**FACTS)})
    def looking() -> None:
        look()

    assert looking.execute_in_process().success
    assert seen == [kind.__name__.removesuffix("Resource")]


def test_dynamodbs_client_leaves_the_retries_to_the_item_table() -> None:
    config = DynamoDBResource(**FACTS).get_client().meta.config
    assert config.retries["total_max_attempts"] == 1
    assert config.read_timeout == CONFIG.read_timeout


def test_definitions_name_every_service_and_the_lakehouse_uses_the_same() -> None:
    assert defs().resources.keys() == {"s3", "sqs", "sns", "dynamodb", "lakehouse"}
    assert defs().resolve_job_def("flights").resource_defs.keys() >= {"lakehouse"}
