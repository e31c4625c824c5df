"""The whole template, deployed in the local AWS as it would be in an account."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import pytest

from lakehouse.local.aws import CONSENT, TEMPLATE

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/lakehouse:1"


@dataclass(frozen=True)
class Account:
    """A stack with all that the template can make. `made`: physical names by logical ones."""

    name: str
    outputs: dict[str, str]
    made: dict[str, str]


@pytest.fixture(scope="session")
def account(local: dict[str, str]) -> Account:
    name = f"house-{uuid.uuid4().hex[:8]}"
    ec2, formation = boto3.client("ec2"), boto3.client("cloudformation")
    subnets = [s["SubnetId"] for s in ec2.describe_subnets()["Subnets"]][:2]
    told = {
        "BucketName": name,
        "TablePrefix": f"{name}-",
        "Image": IMAGE,
        "Vpc": ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
        "Subnets": ",".join(subnets),
        "AlertEmail": "someone@example.com",
    }
    parameters = [{"ParameterKey": k, "ParameterValue": v} for k, v in told.items()]
    formation.create_stack(StackName=name, TemplateBody=TEMPLATE.read_text(), Parameters=parameters, **CONSENT)
    formation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    (stack,) = formation.describe_stacks(StackName=name)["Stacks"]
    found = formation.describe_stack_resources(StackName=name)["StackResources"]
    return Account(
        name,
        {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]},
        {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in found},
    )


def documents(role: str) -> Iterator[dict[str, Any]]:
    """Every policy of a role, its own and the managed ones."""
    iam = boto3.client("iam")
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        yield iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    for held in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        version = iam.get_policy(PolicyArn=held["PolicyArn"])["Policy"]["DefaultVersionId"]
        told = iam.get_policy_version(PolicyArn=held["PolicyArn"], VersionId=version)
        yield told["PolicyVersion"]["Document"]


class Told(BaseHTTPRequestHandler):
    """What ECS tells a container of its task."""

    task: dict[str, str]

    def do_GET(self) -> None:
        body = json.dumps(self.task if self.path.endswith("/task") else {"Name": "daemon"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def here(account: Account) -> Iterator[None]:
    """This process is taken for the daemon's task."""
    (task,) = boto3.client("ecs").list_tasks(cluster=account.name, serviceName="daemon")["taskArns"]
    told = type("Here", (Told,), {"task": {"Cluster": account.name, "TaskARN": task}})
    with HTTPServer(("127.0.0.1", 0), told) as server, pytest.MonkeyPatch.context() as there:
        there.setenv("ECS_CONTAINER_METADATA_URI_V4", f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()
