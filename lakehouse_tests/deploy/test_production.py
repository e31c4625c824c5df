"""Dagster as it is in an account: PostgreSQL, S3 logs, a code location, a daemon, and launchers by weight."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.definitions.reconstruct import reconstructable
from dagster._core.launcher import WorkerStatus

from lakehouse.local.aws import TEMPLATE, free_port
from lakehouse.orchestration.composite import HEAVY, WEIGHT, CompositeRunLauncher
from lakehouse_tests import sample
from lakehouse_tests.conftest import SECOND, Road
from lakehouse_tests.deploy import postgres
from lakehouse_tests.deploy.conftest import Account, here
from lakehouse_tests.orchestration import jobs
from lakehouse_tests.test_road import check, land

DEPLOY = TEMPLATE.parent
SECRET = f"planted-{uuid.uuid4().hex}"
WAIT = 180

pytestmark = [
    pytest.mark.skipif(SECOND in os.environ, reason="moto makes less of a template"),
    pytest.mark.skipif(postgres.BIN is None, reason="no postgres binary: apt-get install postgresql"),
]


@pytest.fixture(scope="module")
def database() -> Iterator[postgres.Postgres]:
    with postgres.started(SECRET) as running:
        yield running


@dataclass
class House:
    instance: dg.DagsterInstance
    folder: Path


@pytest.fixture
def house(
    account: Account, database: postgres.Postgres, road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    """The instance of `dagster-aws.yaml`, for this test's road."""
    home, scratch = tmp_path / "opt", tmp_path / "scratch"
    home.mkdir()
    scratch.mkdir()
    (home / "dagster.yaml").write_text((DEPLOY / "dagster-aws.yaml").read_text())
    told = {
        **database.environment(),
        "DAGSTER_HOME": str(home),
        "LAKEHOUSE_HOME": str(scratch),
        "LAKEHOUSE_LAKE": road.lake.root,
        "LAKEHOUSE_LOG_BUCKET": account.made["Lake"],
        "LAKEHOUSE_LANDING_BUCKET": road.bucket.name,
        "LAKEHOUSE_QUEUE_URL": road.queue.url,
        "LAKEHOUSE_TABLE_PREFIX": road.prefix,
        "LAKEHOUSE_RUN_TASK": account.made["RunTask"],
        "LAKEHOUSE_CODE_HOST": "127.0.0.1",
        "LAKEHOUSE_CODE_PORT": str(free_port()),
        "APPLICATION_TOKEN": SECRET,
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.get() as instance:
        yield House(instance, tmp_path)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.5)


@contextmanager
def process(folder: Path, name: str, *command: str) -> Iterator[None]:
    with (folder / f"{name}.log").open("wb") as log:
        running = subprocess.Popen([sys.executable, "-m", *command], stdout=log, stderr=log, cwd=DEPLOY.parent)
        try:
            yield
            assert running.poll() is None, (folder / f"{name}.log").read_text()[-3000:]
        finally:
            running.terminate()
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def test_the_instance_keeps_its_storage_in_postgresql_over_tls(house: House) -> None:
    with house.instance._run_storage.connect() as connection:
        used = connection.execute(sa.text("select ssl from pg_stat_ssl where pid = pg_backend_pid()"))
        assert used.scalar_one() is True
    assert not list(house.folder.rglob("*.db"))
    assert isinstance(house.instance.run_launcher, CompositeRunLauncher)


@pytest.mark.slow
def test_a_file_arrives_by_code_location_and_daemon_and_no_secret_is_written_anywhere(
    house: House, account: Account, road: Road, database: postgres.Postgres
) -> None:
    port, workspace = os.environ["LAKEHOUSE_CODE_PORT"], str(DEPLOY / "workspace-aws.yaml")
    told = ("--log-format", "json", "-h", "127.0.0.1", "-p", port, "-m", "lakehouse.definitions")
    code = ("dagster", "api", "grpc", *told)
    health = [sys.executable, "-m", "dagster", "api", "grpc-health-check", "-p", port]
    with process(house.folder, "code", *code):
        until(lambda: subprocess.run(health, capture_output=True).returncode == 0)
        with process(house.folder, "daemon", "dagster._daemon", "run", "--log-format", "json", "-w", workspace):
            land(road, sample.FILES)
            until(lambda: settled(house, road))
    check(road, sample.FILES)
    lines = (house.folder / "daemon.log").read_text().splitlines()
    assert any(json.loads(line)["event"] for line in lines if line.startswith("{"))
    runs = house.instance.get_runs()
    assert {r.status for r in runs} == {dg.DagsterRunStatus.SUCCESS}
    logs = boto3.client("s3").list_objects_v2(Bucket=account.made["Lake"], Prefix="logs/")["Contents"]
    assert any(runs[0].run_id in o["Key"] for o in logs)
    assert [*found(runs[0].run_id, house, account, road, database)]
    assert [*found(SECRET, house, account, road, database)] == []


def settled(house: House, road: Road) -> bool:
    runs = house.instance.get_runs()
    return bool(runs) and all(r.is_finished for r in runs) and arrived(road)


def arrived(road: Road) -> bool:
    try:
        check(road, sample.FILES)
    except (AssertionError, road.dynamodb.exceptions.ResourceNotFoundException):
        return False
    return True


def found(secret: str, house: House, account: Account, road: Road, database: postgres.Postgres) -> Iterator[str]:
    """Where the secret stands: in files, lake, logs, and every row of Dagster's storage."""
    folders = [house.folder, *([] if "://" in road.lake.root else [Path(road.lake.root)])]
    for path in (p for folder in folders for p in folder.rglob("*") if p.is_file()):
        if secret.encode() in path.read_bytes():
            yield str(path)
    s3 = boto3.client("s3")
    for one in s3.list_objects_v2(Bucket=account.made["Lake"])["Contents"]:
        if secret.encode() in s3.get_object(Bucket=account.made["Lake"], Key=one["Key"])["Body"].read():
            yield str(one["Key"])
    told = ["-h", "127.0.0.1", "-p", str(database.port), "-U", "dagster", "dagster"]
    environment = os.environ | {"PGPASSWORD": database.password}
    assert postgres.BIN
    dump = subprocess.run(
        [postgres.BIN / "pg_dump", "--inserts", *told], env=environment, check=True, capture_output=True
    )
    assert b"RUN_SUCCESS" in dump.stdout or b"PIPELINE_SUCCESS" in dump.stdout
    if secret.encode() in dump.stdout:
        yield "Dagster's storage"


@pytest.fixture
def metadata(account: Account) -> Iterator[None]:
    with here(account):
        yield


def launch(house: House, job: dg.JobDefinition, **tags: str) -> dg.DagsterRun:
    recon = reconstructable(job)
    origin = recon.get_python_origin()
    run = house.instance.create_run_for_job(recon.get_definition(), job_code_origin=origin, tags=tags)
    house.instance.launch_run(run.run_id, workspace=None)  # type: ignore[arg-type]
    return run


def test_a_heavy_run_becomes_a_task_of_the_templates_definition(
    house: House, account: Account, metadata: None
) -> None:
    run_id = launch(house, jobs.querying, **{WEIGHT: HEAVY}).run_id
    run = house.instance.get_run_by_id(run_id)
    assert run
    found = boto3.client("ecs").describe_tasks(cluster=account.name, tasks=[run.tags["ecs/task_arn"]])
    (task,) = found["tasks"]
    assert task["taskDefinitionArn"] == account.made["RunTask"]
    assert run_id in json.dumps(task["overrides"])
    assert SECRET not in json.dumps(task, default=str)
    launcher = house.instance.run_launcher
    assert isinstance(launcher, CompositeRunLauncher)
    assert launcher.check_run_worker_health(run).status != WorkerStatus.NOT_FOUND
    assert "warm" not in vars(launcher)


@pytest.mark.slow
def test_a_run_is_warm_unless_it_is_tagged(house: House) -> None:
    run_id = launch(house, jobs.querying).run_id
    until(lambda: status(house, run_id) == dg.DagsterRunStatus.SUCCESS)
    assert "heavy" not in vars(house.instance.run_launcher)


@pytest.mark.slow
def test_a_run_is_ended_from_another_container(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = launch(house, jobs.sleeping).run_id
    until(lambda: status(house, run_id) == dg.DagsterRunStatus.STARTED)
    elsewhere = house.folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("LAKEHOUSE_HOME", str(elsewhere))
    with dg.DagsterInstance.get() as pages:
        assert pages.run_launcher.terminate(run_id)
    until(lambda: status(house, run_id) == dg.DagsterRunStatus.CANCELED)


def status(house: House, run_id: str) -> dg.DagsterRunStatus:
    run = house.instance.get_run_by_id(run_id)
    assert run
    return run.status
