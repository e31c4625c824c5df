"""Everything that the lake stands on → findings: what is well, what is not, and how to mend it.

It looks and changes nothing. What cannot be seen because of an earlier fault is passed over, so that one fault is
told once.
"""

from __future__ import annotations

from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

from lakehouse.dataset import DeclarationError
from lakehouse.doctor import machine, wiring
from lakehouse.doctor.finding import Finding, Look, Patient, fault, well
from lakehouse.dynamodb.table import Throttled
from lakehouse.settings import VARIABLES

__all__ = ["Finding", "Patient", "examine"]

HERE: dict[str, Look] = {
    "python": machine.python,
    "packages": machine.packages,
    "engine": machine.engine,
    "disk": machine.disk,
    "datasets": machine.datasets,
}
REACH: dict[str, Look] = {"ports": wiring.ports, "credentials": wiring.credentials}
AWS: dict[str, Look] = {"bucket": wiring.bucket, "queue": wiring.queue, "wiring": wiring.wiring}
ALERTS = "set LAKEHOUSE_ALERT_TOPIC_ARN to a topic that stands, or unset it"
REGION = "set AWS_DEFAULT_REGION, or AWS_PROFILE to one that names it; locally: `lakehouse up`"
MENDS = {
    "ports": wiring.UP,
    "credentials": "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_DEFAULT_REGION",
    "alerts": ALERTS,
} | dict.fromkeys(AWS, wiring.TEMPLATE)


def examine(patient: Patient) -> Iterator[Finding]:
    """All findings, one subject after the other, as they are made."""
    here = [f for subject, look in HERE.items() for f in _examined(subject, look, patient)]
    if declared := not _faulty("datasets", here):
        here += _examined("tables", machine.tables, patient)
    yield from here
    settings = patient.settings
    missing = [VARIABLES[name] for name in ("bucket", "queue_url") if not getattr(settings, name)]
    if missing:
        yield fault("settings", f"not set: {', '.join(missing)}", wiring.TEMPLATE)
    else:
        yield well("settings", f"s3://{settings.bucket} to {settings.lake}")
    for subject, look in REACH.items():
        reached = [*_examined(subject, look, patient)]
        yield from reached
        if any(f.state == "fault" for f in reached):
            return
    for subject, look in ({} if missing else AWS).items():
        yield from _examined(subject, look, patient)
    yield from _examined("alerts", wiring.alerts, patient)
    if declared and not _faulty("tables", here):
        yield from _examined("lag", machine.lag, patient)


def _faulty(subject: str, found: list[Finding]) -> bool:
    return any((f.subject, f.state) == (subject, "fault") for f in found)


def _examined(subject: str, look: Look, patient: Patient) -> Iterator[Finding]:
    try:
        yield from look(patient)
    except DeclarationError as error:
        yield fault(subject, str(error), "mend the file")
    except NoRegionError as error:
        yield fault("region", str(error), REGION)
    except ClientError as error:
        told = error.response["Error"]
        mend = MENDS.get(subject, "allow the call by the policy of whoever asks")
        yield fault(subject, f"{error.operation_name}: {told['Code']}: {told['Message']}", mend)
    except (BotoCoreError, Throttled, OSError) as error:
        yield fault(subject, str(error), MENDS.get(subject, wiring.UP))
