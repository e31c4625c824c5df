"""Many files: ten a second for minutes on end, and a burst that waits. The house runs as shipped.

    .venv/bin/python -m benchmarks.arrivals --seconds 300 --rate 10 --burst 2000

Dense: an hour of weather (three NDJSON rows) lands again and again with a temperature that counts up; a file has
arrived when the item of its hour tells its temperature or a later one's. Printed: seconds from landing to item, by
third of the time, since a backlog that grows shows there. Burst: so many files land as fast as the local
AWS takes them, three of the year's flights each, in their order. Printed: files a second, from the first upload
until every table and item is up to them; and what the local AWS alone takes for the files, in and out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import Any

from benchmarks.latency import Place, here, home, hours, prepare, settle, wait
from lakehouse.dynamodb.items import key_of, to_row
from lakehouse.local import feed, house

PATIENCE = 300.0
TAIL, BURST = 6.0, 200
"""What is wanted: seconds at most, for 95 in 100 of the dense files; files a second at least, of a burst."""
UPLOADERS = 8
DAY, EACH = 30, 3
"""The day of the year with which a burst begins, and the flights of a file of it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=300, help="0: no dense arrivals")
    parser.add_argument("--rate", type=float, default=10, help="files a second")
    parser.add_argument("--burst", type=int, default=2000, help="files")
    options = parser.parse_args()
    if options.seconds:
        with home("dense") as settings, house.local_aws(settings), house.dagster(settings):
            place = here()
            prepare(place, wait)
            told(dense(place, options.seconds, options.rate), options.rate)
    else:
        print("Dense arrivals were left out.\n")
    with home("burst") as settings, house.local_aws(settings), house.dagster(settings):
        place = here()
        prepare(place, wait)
        took, landing = burst(place, options.burst)
    with home("alone") as settings, house.local_aws(settings):
        floor = alone(here(), options.burst)
    rate = options.burst / took
    print(f"Burst: {options.burst:,} files landed in {landing:.1f} s; all carried {took:.1f} s after the first:")
    print(f"**{rate:.0f} files a second**; wanted ≥ {BURST}, {'reached' if rate >= BURST else 'missed'}.")
    print(f"The local AWS alone takes {floor:.1f} s of these to take the files in and to hand each out once.")


def told(found: list[float], rate: float) -> None:
    print(f"{len(found):,} files, {rate:g} a second; seconds from landing to item:\n")
    print("| | median | p95 | most |\n|---|---|---|---|")
    third = len(found) // 3
    for name, part in {
        "all": found,
        "first third": found[:third],
        "second": found[third : 2 * third],
        "last": found[2 * third :],
    }.items():
        print(f"| {name} | {statistics.median(part):.2f} | {tail(part):.2f} | {max(part):.2f} |")
    print(f"\n95 in 100 wanted within {TAIL:g} s: {'reached' if tail(found) <= TAIL else 'missed'}.\n")


def tail(found: list[float]) -> float:
    ordered = sorted(found)
    return ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]


def dense(place: Place, seconds: float, rate: float) -> list[float]:
    """Seconds from landing to item, of each file, in the order in which they landed."""
    hourly = place.find("airport_hourly")
    items = place.items(hourly)
    known = [s for day in range(2, 12) for s in hours(day) if _shown(items, hourly, s[2])]
    landed: list[tuple[str, float]] = []
    took: dict[int, float] = {}
    began = time.monotonic()
    with ThreadPoolExecutor(UPLOADERS) as pool:
        uploads = []
        for number, (key, body, row, _) in enumerate(cycle(known), start=1):
            due = began + number / rate
            if due > began + seconds:
                break
            while time.monotonic() < due:
                _look(items, landed, took)
            landed.append((key_of(row, hourly.keys), time.monotonic()))
            uploads.append(pool.submit(place.bucket.put, key, _with(body, number)))
        for upload in uploads:
            upload.result()
        end = time.monotonic() + PATIENCE
        while len(took) < len(landed):
            assert time.monotonic() < end, f"{len(landed) - len(took)} files never arrived"
            _look(items, landed, took)
    return [took[n] for n in range(len(landed))]


def _shown(items: Any, hourly: Any, row: dict[str, Any]) -> bool:
    row["time_hour"] = row["time_hour"].replace("Z", "+00:00")
    return items.get(row, hourly.keys) is not None


def _with(body: bytes, number: int) -> bytes:
    rows = [json.loads(line) | {"temp": number / 10} for line in body.splitlines()]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _look(items: Any, landed: list[tuple[str, float]], took: dict[int, float]) -> None:
    """Note of each file that has not arrived yet whether it has now. A file's number is its place and one."""
    open_ = [(n, *landed[n]) for n in range(len(landed)) if n not in took]
    told = {item["_key"]["S"]: to_row(item).get("temp") for item in items.fetch({key for _, key, _ in open_})}
    now = time.monotonic()
    for n, key, at in open_:
        if told.get(key) is not None and round(10 * float(str(told[key]))) >= n + 1:
            took[n] = now - at
    time.sleep(0.05)


def burst(place: Place, files: int) -> tuple[float, float]:
    """Seconds until all is carried, and until all had landed, from the first upload on."""
    began = time.monotonic()
    with ThreadPoolExecutor(UPLOADERS) as pool:
        list(pool.map(lambda one: place.bucket.put(*one), _flights(files)))
    landing = time.monotonic() - began
    settle(place, wait)
    return time.monotonic() - began, landing


def alone(place: Place, files: int) -> float:
    """Seconds that the local AWS takes to take the files in and to hand them out, with nothing else to do."""
    began, sent = time.monotonic(), _flights(files)
    with ThreadPoolExecutor(UPLOADERS) as pool:
        list(pool.map(lambda one: place.bucket.put(*one), sent))
        list(pool.map(lambda one: place.bucket.get(one[0]), sent))
    return time.monotonic() - began


def _flights(files: int) -> list[tuple[str, bytes]]:
    days = (body.decode().splitlines(keepends=True) for _, body in feed.flights(365, DAY))
    head, lines = next(days)[0], list(islice((line for day in days for line in day[1:]), EACH * files))
    parts = ["".join([head, *lines[n : n + EACH]]) for n in range(0, len(lines), EACH)]
    return [(f"flights/b{number:05}.csv", part.encode()) for number, part in enumerate(parts)]


if __name__ == "__main__":
    main()
