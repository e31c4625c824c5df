"""Each role may do what its process does, on the resources of the template, and nothing that it never does."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import dagster as dg
import pytest
import yaml
from dagster._core.definitions.reconstruct import reconstructable
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster_aws.s3 import S3Resource
from dagster_aws.s3.compute_log_manager import S3ComputeLogManager

from lakehouse import model
from lakehouse.dataset import load
from lakehouse.definitions import build
from lakehouse.landing.dead_letters import redrive
from lakehouse.landing.queue import Queue
from lakehouse.local.aws import TEMPLATE, free_port
from lakehouse.orchestration import alerts, resources, sensor
from lakehouse.orchestration.alerts import Told
from lakehouse.orchestration.composite import HEAVY, WEIGHT
from lakehouse.orchestration.models import requests
from lakehouse.orchestration.resources import DynamoDBResource, LakehouseResource, SNSResource, SQSResource
from lakehouse_tests import sample
from lakehouse_tests.conftest import SECOND, Road
from lakehouse_tests.deploy.conftest import Account, here
from lakehouse_tests.deploy.rights import Need, grants, needs
from lakehouse_tests.deploy.test_costs import COSTS, IDLE
from lakehouse_tests.orchestration import jobs
from lakehouse_tests.test_road import land

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(SECOND in os.environ, reason="moto makes less of a template"),
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning"),
]

REMOVES = {"s3:DeleteObject": "maintenance, of what retention has passed, a week later"}
NEVER: dict[str, dict[str, str]] = {
    "RunRole": REMOVES,
    "DaemonRole": {**REMOVES, "ec2:DescribeNetworkInterfaces": "launching, where a task has an interface"},
}
"""By role the grants that the processes here do not come to, and what does."""


@dataclass
class House:
    """The account as its tasks see it, every request witnessed."""

    account: Account
    told: Path

    def asked(self, work: Callable[[], object]) -> set[Need]:
        """What `work` asks of IAM."""
        key = f"arn:aws:kms:us-east-1:000000000000:key/{self.account.made['Key']}"
        passed = [self.arn("RunRole"), self.arn("ExecutionRole")]
        before = len(self.told.read_text().splitlines())
        work()
        return {need for line in self.told.read_text().splitlines()[before:] for need in needs(line, key, passed)}

    def arn(self, role: str) -> str:
        return str(boto3.client("iam").get_role(RoleName=self.account.made[role])["Role"]["Arn"])

    def run(self, *jobs: str) -> None:
        for job in jobs:
            assert build(dg.in_process_executor).resolve_job_def(job).execute_in_process().success

    def idle(self, role: str, asked: set[Need]) -> list[str]:
        """What the role may do and nothing asked for."""
        granted = {action for grant in grants(self.account.made[role]) for action in grant.actions}
        return sorted(granted - {need.action for need in asked})

    def refused(self, role: str, asked: set[Need]) -> list[Need]:
        granted = grants(self.account.made[role])
        return [need for need in asked if not any(grant.allows(need) for grant in granted)]


@pytest.fixture(scope="module")
def told(local: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    file, port = tmp_path_factory.mktemp("witness") / "calls", free_port()
    file.touch()
    words = [str(port), urlsplit(local["AWS_ENDPOINT_URL"]).netloc, str(file)]
    with subprocess.Popen([sys.executable, "-m", "lakehouse_tests.deploy.witness", *words]) as running:
        address = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with pytest.MonkeyPatch.context() as there:
                there.setenv("AWS_ENDPOINT_URL", address)
                try:
                    boto3.client("sts").get_caller_identity()
                    break
                except Exception:
                    time.sleep(0.1)
        yield address, file
        running.terminate()


@pytest.fixture
def house(
    account: Account, told: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    for name, value in {
        "AWS_ENDPOINT_URL": told[0],
        "LAKEHOUSE_HOME": str(tmp_path),
        "LAKEHOUSE_LAKE": account.outputs["Lake"],
        "LAKEHOUSE_LANDING_BUCKET": account.outputs["LandingBucket"],
        "LAKEHOUSE_QUEUE_URL": account.outputs["QueueUrl"],
        "LAKEHOUSE_DEAD_LETTER_QUEUE_URL": account.outputs["DeadLetterQueueUrl"],
        "LAKEHOUSE_TABLE_PREFIX": account.outputs["TablePrefix"],
        "LAKEHOUSE_ALERT_TOPIC_ARN": account.made["Alerts"],
    }.items():
        monkeypatch.setenv(name, value)
    resources._client.cache_clear()
    yield House(account, told[1])
    resources._client.cache_clear()


def landed(house: House, files: dict[str, bytes]) -> None:
    for key, body in files.items():
        boto3.client("s3").put_object(Bucket=house.account.outputs["LandingBucket"], Key=key, Body=body)


@dg.op
def fail() -> None:
    raise ValueError("as told")


@dg.job(executor_def=dg.in_process_executor)
def failing() -> None:
    fail()


def ticked() -> None:
    """The sensors of the code location: files wait, a lake is there or not, a run has failed."""
    s3, sqs, dynamodb = S3Resource(), SQSResource(), DynamoDBResource()
    lakehouse = LakehouseResource(s3=s3, sqs=sqs, dynamodb=dynamodb)
    with dg.DagsterInstance.ephemeral() as instance:
        failing.execute_in_process(instance=instance, raise_on_error=False)
        sensor.tick(instance, lakehouse, load(), sensor.Sweep())
        for one in model.load().values():
            tuple(requests(instance, lakehouse.lake, one, lakehouse.items))
        since = Told(0.0, {}).cursor()
        alerts.build()(dg.build_sensor_context(instance, cursor=since, resources={"sns": SNSResource()}))


@pytest.fixture
def instance(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """One that launches as in an account, from the daemon's task."""
    monkeypatch.setenv("LAKEHOUSE_RUN_TASK", account.made["RunTask"])
    told = yaml.safe_load((TEMPLATE.parent / "dagster-aws.yaml").read_text())["run_launcher"]
    with here(account), dg.instance_for_test({"run_launcher": told}, temp_dir=str(tmp_path)) as made:
        yield made


def launched(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A heavy run that the daemon has started and looked after."""
    recon = reconstructable(jobs.querying)
    origin = recon.get_python_origin()
    run = instance.create_run_for_job(recon.get_definition(), job_code_origin=origin, tags={WEIGHT: HEAVY})
    instance.launch_run(run.run_id, workspace=None)  # type: ignore[arg-type]
    found = instance.get_run_by_id(run.run_id)
    assert found
    instance.run_launcher.check_run_worker_health(found)
    return found


def ended(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """By a process that has not launched it."""
    with dg.DagsterInstance.from_ref(instance.get_ref()) as other:
        assert other.run_launcher.terminate(run.run_id)


LOG = ["some-run", "compute_logs", "step"]


def logs(house: House, folder: Path) -> S3ComputeLogManager:
    """What a process keeps of runs' logs, as the instance in an account says."""
    return S3ComputeLogManager(house.account.made["Lake"], str(folder), prefix="logs", skip_empty_files=True)


def logged(house: House, folder: Path) -> None:
    manager = logs(house, folder)
    with manager.capture_logs(LOG):
        print("told")


def shown(house: House, folder: Path) -> None:
    manager = logs(house, folder)
    assert manager.get_log_data(LOG).stdout == b"told\n"
    assert manager.get_log_keys_for_log_key_prefix(LOG[:2], ComputeIOType.STDOUT) == [LOG]


def test_each_role_may_do_what_its_process_asks_for_and_nothing_that_none_asks_for(
    house: House, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    landed(house, sample.FILES | {"documents/a.txt": b"a document"})
    tick = house.asked(ticked)
    run = house.asked(lambda: house.run("airlines", "flights", "documents"))
    landed(house, {"flights/1.csv": sample.flights(("AA", 7, 7)), "orders/1.csv": b"id\n1\n"})
    name = house.account.outputs["TablePrefix"] + "carrier_punctuality"
    boto3.client("dynamodb").delete_table(TableName=name)
    tick |= house.asked(ticked)
    run |= house.asked(lambda: house.run("flights", "undeclared", "verify", "reconcile", "maintenance"))
    dead = Queue(boto3.client("sqs"), house.account.outputs["DeadLetterQueueUrl"])
    dead.send("{")
    run |= house.asked(lambda: house.run("dead_letters"))
    run |= house.asked(lambda: redrive(dead, Queue(boto3.client("sqs"), house.account.outputs["QueueUrl"])))
    run |= house.asked(lambda: logged(house, tmp_path / "run"))
    one, other = None, None

    def launch() -> None:
        nonlocal one, other
        one, other = launched(instance), launched(instance)
        ended(instance, one)

    daemon = house.asked(launch)
    assert other
    pages = house.asked(lambda: ended(instance, other)) | house.asked(lambda: shown(house, tmp_path / "pages"))
    # dagster-aws takes any refusal for a log that is not there, so the pages need not be told which it is.
    pages = {need for need in pages if need.action != "s3:ListBucket" or need.about}
    done = {"CodeRole": tick, "RunRole": run, "DaemonRole": run | daemon, "WebserverRole": pages}
    assert {role: refused for role, asked in done.items() if (refused := house.refused(role, asked))} == {}
    assert {role: house.idle(role, asked) for role, asked in done.items()} == {
        role: sorted(NEVER.get(role, {})) for role in done
    }
    data = {need for need in tick | run if not need.action.startswith("kms:")}
    seen = data - {*house.refused("WebserverRole", data)}
    assert all(need.action == "s3:GetObject" and "/logs/" in need.resource for need in seen)


@pytest.mark.parametrize("root", ["s3"], indirect=True)
def test_a_tick_that_finds_nothing_asks_s3_for_what_the_costs_are_told_by(
    road: Road, told: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    land(road, sample.FILES)
    while road.receive():
        pass
    road.hops()
    for name, value in {
        "AWS_ENDPOINT_URL": told[0],
        "LAKEHOUSE_LAKE": road.lake.root,
        "LAKEHOUSE_LANDING_BUCKET": road.bucket.name,
        "LAKEHOUSE_QUEUE_URL": road.queue.url,
        "LAKEHOUSE_TABLE_PREFIX": road.prefix,
    }.items():
        monkeypatch.setenv(name, value)
    resources._client.cache_clear()
    monkeypatch.setattr(sensor, "TICK_SECONDS", 3)
    lakehouse = LakehouseResource(s3=S3Resource(), sqs=SQSResource(), dynamodb=DynamoDBResource())
    sweep = sensor.Sweep()
    with dg.DagsterInstance.ephemeral() as instance:
        sensor.tick(instance, lakehouse, load(), sweep)
        before = len(told[1].read_text().splitlines())
        assert not sensor.tick(instance, lakehouse, load(), sweep).run_requests
    resources._client.cache_clear()
    calls = [json.loads(line) for line in told[1].read_text().splitlines()[before:]]
    stored = [call for call in calls if not call["target"]]
    listed = sum("list-type" in call["path"] for call in stored)
    assert sum(str(call["target"]).endswith("ReceiveMessage") for call in calls) == 2
    assert [listed, len(stored) - listed] == [int(n) for n in IDLE.findall(COSTS)[0]]
