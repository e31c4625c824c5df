"""One template for laptop and account: the road runs on what it makes, with the rights it gives."""

import ipaddress
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from cfnlint.decode import decode

from lakehouse.dataset import load
from lakehouse.dynamodb.table import CONFIG
from lakehouse.lake import Lake
from lakehouse.landing.objects import Bucket
from lakehouse.landing.queue import Queue
from lakehouse.local.aws import TEMPLATE
from lakehouse_tests import sample
from lakehouse_tests.conftest import SECOND, Road
from lakehouse_tests.deploy.conftest import Account, documents
from lakehouse_tests.test_road import check, land

pytestmark = pytest.mark.skipif(f"'{SECOND}' in __import__('os').environ", reason="moto makes less of a template")


def test_the_template_has_no_fault_that_cfn_lint_knows() -> None:
    done = subprocess.run([Path(sys.executable).with_name("cfn-lint"), TEMPLATE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_laptop_gets_nothing_of_dagsters(local: dict[str, str]) -> None:
    formation = boto3.client("cloudformation")
    told = [{"ParameterKey": "BucketName", "ParameterValue": "bare"}]
    formation.create_stack(StackName="bare", TemplateBody=TEMPLATE.read_text(), Parameters=told)
    formation.get_waiter("stack_create_complete").wait(StackName="bare", WaiterConfig={"Delay": 1})
    found = formation.describe_stack_resources(StackName="bare")["StackResources"]
    assert {r["ResourceType"].split("::")[1] for r in found} == {"S3", "SNS", "SQS"}


@pytest.fixture
def road(account: Account) -> Road:
    return Road(
        Lake(account.outputs["Lake"]),
        Bucket(boto3.client("s3"), account.outputs["LandingBucket"]),
        Queue(boto3.client("sqs"), account.outputs["QueueUrl"]),
        load(),
        account.outputs["TablePrefix"],
        boto3.client("dynamodb", config=CONFIG),
    )


@pytest.mark.slow
def test_the_road_runs_on_what_the_template_made(road: Road) -> None:
    files = sample.FILES | {f"flights/{n}.csv": sample.flights(("AA", n, n)) for n in range(500, 510)}
    land(road, files)
    while road.receive():
        pass
    road.hops()
    for name in ("flights/500.csv", "flights/1.csv"):
        road.announce(name)
    road.hops()
    check(road, files)


def statements(role: str) -> Iterator[tuple[list[str], list[str], dict[str, Any]]]:
    for document in documents(role):
        document = json.loads(document) if isinstance(document, str) else document
        for one in document["Statement"]:
            assert one["Effect"] == "Allow"
            acts, on = ([x] if isinstance(x, str) else x for x in (one["Action"], one["Resource"]))
            yield acts, on, one.get("Condition", {})


ANYWHERE = {"ecr:GetAuthorizationToken", "ecs:DescribeTaskDefinition", "ec2:DescribeNetworkInterfaces"}
"""IAM knows no resource for these."""


def test_no_role_may_do_more_than_its_job(account: Account) -> None:
    roles = [name for name in account.made if name.endswith("Role")]
    assert len(roles) == 5
    for role in roles:
        for acts, on, _ in statements(account.made[role]):
            assert not [a for a in acts if "*" in a]
            assert "*" not in on or set(acts) <= ANYWHERE
            tables = [r for r in on if ":dynamodb:" in r]
            assert all(r.endswith(f":table/{account.name}-*") for r in tables)
            assert not any(a.startswith("dynamodb:Delete") for a in acts)


def test_every_role_is_for_tasks_of_this_account_alone(account: Account) -> None:
    for role in (name for name in account.made if name.endswith("Role")):
        found = boto3.client("iam").get_role(RoleName=account.made[role])["Role"]["AssumeRolePolicyDocument"]
        found = json.loads(found) if isinstance(found, str) else found
        (one,) = found["Statement"]
        assert one["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert "aws:SourceArn" in one["Condition"]["ArnLike"]


def test_nothing_is_open_to_the_world(account: Account) -> None:
    ec2 = boto3.client("ec2")
    groups = [account.made[g] for g in account.made if g.endswith("Group")]
    let_in = ec2.describe_security_groups(GroupIds=groups)["SecurityGroups"]
    ranges = [r["CidrIp"] for g in let_in for p in g["IpPermissions"] for r in p["IpRanges"]]
    assert ranges
    assert all(ipaddress.ip_network(r).is_private for r in ranges)
    (database,) = [
        d
        for d in boto3.client("rds").describe_db_instances()["DBInstances"]
        if d["DBInstanceIdentifier"] == account.made["Database"]
    ]
    assert not database["PubliclyAccessible"]
    assert database["StorageEncrypted"]


def test_the_key_lets_s3_sns_and_sqs_deliver(account: Account) -> None:
    policy = json.loads(boto3.client("kms").get_key_policy(KeyId=account.made["Key"])["Policy"])
    of = {s["Principal"].get("Service"): s for s in policy["Statement"]}
    for service in ("s3.amazonaws.com", "sns.amazonaws.com", "cloudwatch.amazonaws.com"):
        assert set(of[service]["Action"]) == {"kms:GenerateDataKey*", "kms:Decrypt"}
        condition = {k: v for test in of[service]["Condition"].values() for k, v in test.items()}
        assert account.name in condition["aws:SourceArn"] or service.startswith("cloudwatch")
    key = account.made["Key"]
    for output, days in (("QueueUrl", 14), ("DeadLetterQueueUrl", 14)):
        found = boto3.client("sqs").get_queue_attributes(QueueUrl=account.outputs[output], AttributeNames=["All"])
        told = found["Attributes"]
        assert key in told["KmsMasterKeyId"]
        assert int(told["MessageRetentionPeriod"]) == days * 24 * 3600
    assert declared("Topic")["KmsMasterKeyId"]["Fn::If"][:2] == ["Account", {"Ref": "Key"}]


def declared(name: str) -> dict[str, Any]:
    """A resource's properties in the template, where the local AWS forgets some."""
    template, _ = decode(str(TEMPLATE))
    return dict(json.loads(json.dumps(template["Resources"][name]["Properties"])))


def test_an_items_table_can_be_restored_and_expires_tombstones(account: Account, road: Road) -> None:
    items = road.items(road.servings()[0])
    items.ensure()
    client = boto3.client("dynamodb")
    told = client.describe_continuous_backups(TableName=items.name)["ContinuousBackupsDescription"]
    assert told["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    ttl = client.describe_time_to_live(TableName=items.name)["TimeToLiveDescription"]
    assert ttl["TimeToLiveStatus"] in ("ENABLED", "ENABLING")


def test_no_task_has_a_password_in_its_definition_and_each_has_a_read_only_root() -> None:
    for task in ("WebserverTask", "CodeTask", "DaemonTask", "RunTask"):
        (one,) = declared(task)["ContainerDefinitions"]
        assert one["ReadonlyRootFilesystem"] is True
        assert one["User"] == "10001"
        assert not [e for e in one["Environment"] if "PASSWORD" in e["Name"]]
        assert [s["ValueFrom"] for s in one["Secrets"]] == [{"Fn::Sub": "${DatabaseSecret}:password::"}]
        assert task == "RunTask" or one["HealthCheck"]


def test_every_alarm_tells_somebody(account: Account) -> None:
    alarms = boto3.client("cloudwatch").describe_alarms(AlarmNamePrefix=account.name)["MetricAlarms"]
    assert len(alarms) == 5
    assert all(a["AlarmActions"] == [account.made["Alerts"]] for a in alarms)
    mails = boto3.client("sns").list_subscriptions_by_topic(TopicArn=account.made["Alerts"])["Subscriptions"]
    assert [m["Protocol"] for m in mails] == ["email"]
