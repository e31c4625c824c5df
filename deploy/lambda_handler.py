"""SQS → items in one Lambda function, for a team that wants no daemon: the same hops and cursors, no Dagster.

Lambda receives from the queue, and deletes what the handler did not raise on. Its event is committed to the inbox
first, so that a crash after that loses nothing: the next call looks at the cursors. Give it the template's
RunPolicy, its queue as an event source (a batch window of seconds; a reserved concurrency of 1, since of two calls
at once one would only be refused its commits), and a schedule of a minute or so, whose event has no records, for
what a call that died left behind.
"""

from datetime import UTC, datetime
from typing import Any

from lakehouse.dataset import load
from lakehouse.dynamodb.sync import items_of, publish
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket
from lakehouse.landing.queue import Message
from lakehouse.landing.undeclared import known
from lakehouse.layers import balance, cleaned, history, ingest, serving, undeclared
from lakehouse.layers.lag import lagging, servings_of
from lakehouse.settings import Settings, client


def handler(event: dict[str, Any], context: object = None) -> dict[str, str]:
    """Carry the event's messages, and whatever else lags, down the road; gives what lagged."""
    settings, datasets = Settings.load(), load()
    lake, bucket = Lake(settings.lake), Bucket(client("s3"), settings.required("bucket"))
    if messages := [message(record) for record in event.get("Records", [])]:
        box = inbox.open_inbox(lake)
        prefixes = None if settings.undeclared == "off" else known(box, datasets)
        box.append(inbox.records(messages, bucket.name, datasets, prefixes))
    behind = lagging(lake, datasets, lambda one: items_of(settings, one))
    for name in behind:
        if name == undeclared.NAME:
            undeclared.carry(lake, bucket, datasets)
            continue
        dataset = datasets[name]
        ingest.ingest(lake, bucket, dataset)
        for verb in (cleaned.clean, cleaned.quarantine, balance.weigh):
            verb(lake, dataset)
        if dataset.history:
            history.track(lake, dataset)
        for one in servings_of(datasets, name):
            serving.serve(lake, one, datasets)
            if one.publish:
                publish(lake, one, items_of(settings, one))
    return behind


def message(record: dict[str, Any]) -> Message:
    sent = datetime.fromtimestamp(int(record["attributes"]["SentTimestamp"]) / 1000, UTC)
    return Message(record["messageId"], record["receiptHandle"], record["body"], sent)
