"""Every figure of money in the docs follows from the prices there, the template's sizes, and what was measured."""

import re

import pytest
from cfnlint.decode import decode

from lakehouse.local.aws import TEMPLATE

DOCS = TEMPLATE.parents[1] / "docs"
COSTS, CAPACITY = ((DOCS / name).read_text() for name in ("aws.md", "capacity.md"))
HOURS = 730
MILLION = 1_000_000
TICKS = 2 * HOURS * 3600 / 20
"""A month's: of two sensors, each of which waits for 20 s where there is nothing to do."""
IDLE = re.compile(r"that was (\d+) LISTs and (\d+) GETs or HEADs\s+a tick")


def row(text: str, name: str) -> list[str]:
    """The cells of the one table row that begins so."""
    (found,) = re.findall(rf"^\| {re.escape(name)}[^|]*\|(.*)\|$", text, re.MULTILINE)
    return [cell.strip() for cell in found.split("|")]


def prices(name: str) -> list[float]:
    """The numbers of a row of the price table that are prices."""
    return [float(n) for n in re.findall(r"(?<![\d,])\d+(?:\.\d+)?(?= (?:a|an|for)\b)", row(COSTS, name)[0])]


def told(text: str, name: str) -> float:
    return float(row(text, name)[0].strip("*"))


def size(name: str) -> float:
    template, _ = decode(str(TEMPLATE))
    return float(template["Parameters"][name]["Default"])


def task(name: str) -> float:
    """Dollars an hour of a task of the template's size."""
    cpu, memory = prices("Fargate, ARM")
    return size(f"{name}Cpu") / 1024 * cpu + size(f"{name}Memory") / 1024 * memory


def near(amount: float) -> object:
    """As rounded to cents."""
    return pytest.approx(amount, abs=0.0051)


def test_what_idles_costs_what_the_table_says() -> None:
    template, _ = decode(str(TEMPLATE))
    alarms = sum(one["Type"] == "AWS::CloudWatch::Alarm" for one in template["Resources"].values())
    parts = {
        "webserver": task("Webserver") * HOURS,
        "code location": task("Code") * HOURS,
        "daemon": task("Daemon") * HOURS,
        "PostgreSQL": prices("RDS db")[0] * HOURS + prices("RDS gp3")[0] * size("DatabaseGigabytes"),
        "key, secret": sum(prices(n)[0] for n in ("KMS", "Secrets Manager", "Route 53"))
        + prices("CloudWatch")[0] * alarms,
        "the ticks' waiting": TICKS * 2 * prices("SQS")[0] / MILLION,
    }
    assert {name: told(COSTS, name) for name in parts} == {name: near(amount) for name, amount in parts.items()}
    assert told(COSTS, "**together") == round(sum(parts.values()))
    assert near(task("Run")) == float(re.findall(r"heavy run's task, ([\d.]+) an hour", COSTS)[0])


def test_what_the_ticks_ask_of_s3_costs_what_is_said() -> None:
    put, get = (price / 1000 for price in prices("S3")[:2])
    lists, gets = (int(n) * TICKS for n in IDLE.findall(COSTS)[0])
    told = r"each, ([\d.]+) million LISTs, ([\d.]+) dollars, and ([\d.]+) million\s+GETs, (\d+\.\d)"
    said = [float(n) for n in re.findall(told, COSTS)[0]]
    wanted = [round(lists / MILLION, 1), round(lists * put), round(gets / MILLION, 1), round(gets * get, 1)]
    assert said == wanted


def test_a_million_objects_cost_what_is_said() -> None:
    put, get = (price / 1000 for price in prices("S3")[:2])
    items, commits = (
        float(re.findall(rf"\| {name} \| [^|]*?([\d.]+) an object", CAPACITY)[0])
        for name in ("items put", "commits")
    )
    parts = {
        "DynamoDB writes": items * prices("DynamoDB")[0],
        "S3, SNS, SQS": prices("SNS")[0] + prices("SQS")[0] * (1 + 0.1 + 0.1),
        "S3 for the objects'": MILLION * get,
        "S3 for commits": MILLION * commits * 4 * put,
    }
    assert {n: float(re.findall(r"([\d.]+) dollars", row(CAPACITY, n)[0])[0]) for n in parts} == {
        n: near(amount) for n, amount in parts.items()
    }
    (said, uploads) = re.findall(r"about (\d+) dollars a million objects .* PUTs \(([\d.]+)\)", CAPACITY)[0]
    assert float(said) == round(sum(parts.values()))
    assert float(uploads) == near(MILLION * put)


def test_a_million_calls_of_a_function_cost_what_is_said() -> None:
    calls, second = prices("Lambda, ARM")
    gigabytes, seconds, cost, also = (
        float(n)
        for n in re.findall(
            r"At (\d+) GB and (\d+) s a call, a\s+million calls are ([\d.]+) for time and ([\d.]+)", COSTS
        )[0]
    )
    assert cost == near(gigabytes * seconds * second * MILLION)
    assert also == calls


def test_every_price_has_a_source_and_a_date_or_says_that_it_has_none() -> None:
    table = COSTS.split("| what | price | source, and its date |\n|---|---|---|\n")[1].split("\n\n")[0]
    for line in table.splitlines():
        source = line.split("|")[3]
        assert re.search(r"20\d\d|undated|no source found", source), line
