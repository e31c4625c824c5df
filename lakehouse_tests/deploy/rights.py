"""What requests ask of IAM, and whether a role's policies grant it: as IAM is documented, not as any code here."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from lakehouse_tests.deploy.conftest import documents

HERE = "us-east-1:000000000000"
OBJECT = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}
WITH_KEY = {
    "s3:GetObject": ["kms:Decrypt"],
    "s3:PutObject": ["kms:GenerateDataKey"],
    "sqs:ReceiveMessage": ["kms:Decrypt"],
    "sqs:SendMessage": ["kms:Decrypt", "kms:GenerateDataKey"],
    "sns:Publish": ["kms:Decrypt", "kms:GenerateDataKey"],
}
"""What is asked of the key with a call to something that it encrypts."""
ITEM_VERBS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}


@dataclass(frozen=True)
class Need:
    """An action on a resource; `about`: what IAM knows of the request beside that."""

    action: str
    resource: str
    about: Mapping[str, str] = field(default_factory=dict, hash=False)


def needs(line: str, key: str, passed: list[str]) -> Iterator[Need]:
    """What a line of the witness asks for. `key`: the KMS key's ARN; `passed`: the roles that a task is given."""
    call = json.loads(line)
    if target := call["target"]:
        service, _, verb = target.partition(".")
        told = json.loads(call["body"] or "{}")
        found = {"DynamoDB": _dynamodb, "AmazonSQS": _sqs, "AmazonEC2": _ecs}
        (of,) = (of for name, of in found.items() if service.startswith(name))
        asked = [*of(verb, told, passed)]
    elif call["body"].startswith("Action=") or "&Action=" in call["body"]:
        form = {name: value for name, (value, *_) in parse_qs(call["body"]).items()}
        service = "sns" if "TopicArn" in form else "ec2"
        asked = [Need(f"{service}:{form['Action']}", form.get("TopicArn", "*"))]
    else:
        asked = [*_s3(call)]
    for one in asked:
        yield one
        yield from (Need(action, key) for action in WITH_KEY.get(one.action, []))


def _s3(call: Mapping[str, Any]) -> Iterator[Need]:
    parts = urlsplit(call["path"])
    bucket, _, name = unquote(parts.path).lstrip("/").partition("/")
    query = {k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
    here, there = f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{name}"
    if not name and call["verb"] == "POST":
        for one in call["body"].split("<Key>")[1:]:
            yield Need("s3:DeleteObject", f"{here}/{one.split('</Key>')[0]}")
        return
    if not name:
        listed = "s3:ListBucketVersions" if "versions" in query else "s3:ListBucket"
        yield Need(listed, here, {"s3:prefix": query["prefix"]} if query.get("prefix") else {})
        return
    action = "s3:PutObject" if call["verb"] == "POST" else OBJECT[call["verb"]]
    if "tagging" in query:
        action = {"s3:GetObject": "s3:GetObjectTagging", "s3:PutObject": "s3:PutObjectTagging"}[action]
    if "uploadId" in query and call["verb"] == "DELETE":
        action = "s3:AbortMultipartUpload"
    elif "versionId" in query:
        action = action.replace("Object", "ObjectVersion")
    yield Need(action, there)
    if call["status"] == 404:
        # Who may not list the bucket is told 403; and no condition on a prefix holds where no prefix is asked for.
        yield Need("s3:ListBucket", here)


def _dynamodb(verb: str, told: Mapping[str, Any], _: list[str]) -> Iterator[Need]:
    def table(name: str) -> str:
        return f"arn:aws:dynamodb:{HERE}:table/{name}"

    if "RequestItems" in told:
        yield from (Need(f"dynamodb:{verb}", table(name)) for name in told["RequestItems"])
    elif "TransactItems" in told:
        for one in told["TransactItems"]:
            yield from (Need(f"dynamodb:{ITEM_VERBS[kind]}", table(of["TableName"])) for kind, of in one.items())
    else:
        yield Need(f"dynamodb:{verb}", table(told["TableName"]))


def _sqs(verb: str, told: Mapping[str, Any], _: list[str]) -> Iterator[Need]:
    yield Need(f"sqs:{verb.removesuffix('Batch')}", f"arn:aws:sqs:{HERE}:{told['QueueUrl'].rsplit('/', 1)[1]}")


def _ecs(verb: str, told: Mapping[str, Any], passed: list[str]) -> Iterator[Need]:
    cluster = str(told.get("cluster", "")).rpartition("/")[2]
    if verb == "RunTask":
        yield Need("ecs:RunTask", told["taskDefinition"], {"ecs:cluster": f"arn:aws:ecs:{HERE}:cluster/{cluster}"})
        yield from (Need("iam:PassRole", r, {"iam:PassedToService": "ecs-tasks.amazonaws.com"}) for r in passed)
        if told.get("tags"):
            yield Need("ecs:TagResource", f"arn:aws:ecs:{HERE}:task/{cluster}/any")
    elif "tasks" in told or "task" in told:
        yield from (Need(f"ecs:{verb}", one) for one in told.get("tasks", [told.get("task")]))
    else:
        yield Need(f"ecs:{verb}", "*")


@dataclass(frozen=True)
class Grant:
    """A statement that allows."""

    actions: list[str]
    resources: list[str]
    conditions: Mapping[str, Mapping[str, Any]]

    def allows(self, need: Need) -> bool:
        named = need.action in self.actions and any(fnmatchcase(need.resource, one) for one in self.resources)
        return named and all(
            self._holds(test, need.about.get(about), wanted)
            for test, told in self.conditions.items()
            for about, wanted in told.items()
        )

    @staticmethod
    def _holds(test: str, value: str | None, wanted: Any) -> bool:
        assert test in ("StringLike", "StringEquals", "ArnEquals"), test
        return value is not None and any(
            fnmatchcase(value, one) for one in ([wanted] if isinstance(wanted, str) else wanted)
        )


def grants(role: str) -> list[Grant]:
    found = []
    for document in documents(role):
        document = json.loads(document) if isinstance(document, str) else document
        for one in document["Statement"]:
            assert one["Effect"] == "Allow"
            acts, on = ([x] if isinstance(x, str) else x for x in (one["Action"], one["Resource"]))
            found.append(Grant(acts, on, one.get("Condition", {})))
    return found
