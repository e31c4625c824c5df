"""lakehouse.definitions, shaken: processes die at doors and DynamoDB throttles, as often as a file says.

The folder that `SHAKEN` names holds `deaths` and `throttles`, each a share of the passages or calls.
"""

import os
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.session import Session

from lakehouse import definitions
from lakehouse_tests.crash_worker import die, mine
from lakehouse_tests.dynamodb.faults import CALLS, answer

FOLDER = Path(os.environ["SHAKEN"])
THROTTLED = {"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "slow down"}


def share(name: str) -> float:
    with suppress(OSError, ValueError):
        return float((FOLDER / name).read_text())
    return 0.0


def passage(_: str) -> None:
    if random.random() < share("deaths"):
        with (FOLDER / "died").open("a") as told:
            told.write(".")
        die()


def throttle(request: Any, event_name: str, **_: Any) -> AWSResponse | None:
    if event_name.rpartition(".")[2] not in CALLS or random.random() >= share("throttles"):
        return None
    return answer(request.url, 400, THROTTLED)


def shaken(session: Session, *args: Any, **kwargs: Any) -> Any:
    client = create_client(session, *args, **kwargs)
    if client.meta.service_model.service_name == "dynamodb":
        client.meta.events.register("before-send.dynamodb", throttle)
    return client


create_client = Session.create_client
Session.create_client = shaken  # type: ignore[method-assign]
mine(passage)
definitions.built.cache_clear()  # the fork server has built what is not patched
defs = definitions.defs
