"""A local AWS on the loopback (ministack), its state kept below the lakehouse's home."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY_SECONDS = 30
STOP_SECONDS = 30
STACK = "lakehouse"
BUCKET = "lakehouse-landing"
CONSENT = {"Capabilities": ["CAPABILITY_IAM"]}
"""CloudFormation asks for it wherever a template names a role, be it made or not."""
TEMPLATE = Path(__file__).parents[2] / "deploy" / "lakehouse.yaml"


class LocalAwsError(Exception):
    """What was started here did not come up; the message ends with its log."""


@dataclass(frozen=True)
class LocalAws:
    """A running emulator. `process` is None if somebody else started it: then `stop` leaves it running."""

    port: int
    process: subprocess.Popen[bytes] | None

    def environment(self) -> dict[str, str]:
        """What boto3, polars and delta-rs need to find it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def stop(self) -> None:
        """SIGTERM and wait: the emulator writes its state on the way out."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(home: Path) -> LocalAws:
    """Start the emulator for this home, or join the one that runs."""
    state = home.resolve() / "aws"
    state.mkdir(parents=True, exist_ok=True)
    note = state / "port"
    last = int(note.read_text()) if note.exists() else 0
    if last and _alive(last):
        return LocalAws(last, None)
    port = last if last and _free(last) else free_port()
    environment = os.environ | {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "PERSIST_STATE": "1",
        "S3_PERSIST": "1",
        "STATE_DIR": str(state / "state"),
        "S3_DATA_DIR": str(state / "s3"),
    }
    log = state / "log"
    with ExitStack() as started:
        with uninterrupted(), log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                env=environment,
                stdout=out,
                stderr=out,
                cwd=state,
                start_new_session=True,
            )
            running = LocalAws(port, process)
            started.callback(running.stop)
        end = time.monotonic() + READY_SECONDS
        while not _alive(port):
            if process.poll() is not None or time.monotonic() > end:
                raise LocalAwsError(f"the local AWS did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        note.write_text(str(port))
        started.pop_all()
        return running


@contextmanager
def uninterrupted() -> Iterator[None]:
    """SIGINT and SIGTERM wait until the block is left, so that no process is started and forgotten."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told: list[int] = []
    before = {s: signal.signal(s, lambda sign, _: told.append(sign)) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    for late in told:
        signal.raise_signal(late)


def deploy(client: Any, sqs: Any, s3: Any, template: Path = TEMPLATE, bucket: str = BUCKET) -> dict[str, str]:
    """Create or mend the landing stack; gives its outputs. Safe to run twice; a bucket that stands is kept."""
    outputs = _outputs(client)
    if outputs and _stands(sqs, outputs):
        return outputs
    client.delete_stack(StackName=STACK)
    _wait(client, "stack_delete_complete")
    parameters = [{"ParameterKey": "BucketName", "ParameterValue": bucket}]
    wanted = {"StackName": STACK, "TemplateBody": template.read_text(), "Parameters": parameters, **CONSENT}
    if _exists(s3, bucket):
        _adopt(client, bucket)
        client.update_stack(**wanted)
        _wait(client, "stack_update_complete")
    else:
        client.create_stack(**wanted)
        _wait(client, "stack_create_complete")
    made = _outputs(client)
    if not made:
        raise LocalAwsError("the landing stack was made but tells no outputs")
    return made


def _adopt(client: Any, bucket: str) -> None:
    """Begin the stack with a bucket that stands already: CloudFormation makes none twice."""
    kept = {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain", "Properties": {"BucketName": bucket}}
    named = {"StackName": STACK, "ChangeSetName": "adopt"}
    client.create_change_set(
        **named,
        ChangeSetType="IMPORT",
        TemplateBody=json.dumps({"Resources": {"Bucket": kept}}),
        ResourcesToImport=[
            {
                "ResourceType": "AWS::S3::Bucket",
                "LogicalResourceId": "Bucket",
                "ResourceIdentifier": {"BucketName": bucket},
            }
        ],
    )
    _wait(client, "change_set_create_complete", **named)
    client.execute_change_set(**named)
    _wait(client, "stack_import_complete")


def _wait(client: Any, state: str, **named: str) -> None:
    client.get_waiter(state).wait(**(named or {"StackName": STACK}), WaiterConfig={"Delay": 1})


def _outputs(client: Any) -> dict[str, str] | None:
    try:
        (stack,) = client.describe_stacks(StackName=STACK)["Stacks"]
    except client.exceptions.ClientError:
        return None
    return {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])} or None


def _stands(sqs: Any, outputs: dict[str, str]) -> bool:
    try:
        for name in ("QueueUrl", "DeadLetterQueueUrl"):
            sqs.get_queue_attributes(QueueUrl=outputs[name], AttributeNames=["QueueArn"])
    except sqs.exceptions.QueueDoesNotExist:
        return False
    return True


def _exists(s3: Any, bucket: str) -> bool:
    return any(found["Name"] == bucket for found in s3.list_buckets()["Buckets"])


def _alive(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_ministack/health", timeout=1) as answer:
            return isinstance(json.load(answer), dict)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
