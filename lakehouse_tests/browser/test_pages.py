"""What a person sees in a browser: Dagster's pages of this project, and the dashboard. No error of ours on any."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lakehouse.dataset import load
from lakehouse.local import feed
from lakehouse_tests import sample

CHROMIUM = shutil.which("chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser test")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium"),
]
SHOTS = Path(__file__).parents[2] / "build" / "screenshots"
FOREIGN = ("favicon", "preload", "DevTools", "WebSocket is closed", "Content Security Policy")
"""Words of console errors that are Dagster's own or the browser's."""
PATIENCE = 120
WEEK, DAYS = 7, 63
"""What `up` lands, and what lands then: enough for a first model. A week after that is answered by it."""
LATER = {name: body for name, body in sample.FILES.items() if name.startswith("flights/")}
"""What lands last: a record that breaks the contract among it."""
COUNT = """query ($job: String) {
    runsOrError(filter: {statuses: [SUCCESS], pipelineName: $job}) { ... on Runs { count } } }"""


@dataclass(frozen=True)
class House:
    """`lakehouse up`, and what it told of itself."""

    address: str
    environment: dict[str, str]

    def lakehouse(self, *words: str) -> str:
        command = [sys.executable, "-m", "lakehouse.cli", *words]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    def runs(self, job: str) -> int:
        """Runs of a job that went well, as the page's own server tells."""
        body = json.dumps({"query": COUNT, "variables": {"job": job}}).encode()
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.address}/graphql", body, headers)) as answer:
            return int(json.load(answer)["data"]["runsOrError"]["count"])

    def land(self, folder: Path, files: Mapping[str, bytes]) -> None:
        """Upload files of a dataset, and wait until a run that the sensor asked for has carried something."""
        (dataset,) = {name.split("/")[0] for name in files}
        before = self.runs(dataset)
        paths = [folder / Path(name).name for name in files]
        for path, body in zip(paths, files.values(), strict=True):
            path.write_bytes(body)
        self.lakehouse("land", *map(str, paths), "--prefix", f"{dataset}/")
        self.carried(dataset, before + 1)

    def carried(self, dataset: str, runs: int) -> None:
        """Wait until so many runs of a dataset went well."""
        end = time.monotonic() + PATIENCE
        while self.runs(dataset) < runs:
            assert time.monotonic() < end, f"no run of {dataset} within {PATIENCE} s"
            time.sleep(0.5)

    def until(self, query: str, number: int, patience: int = PATIENCE) -> None:
        """Wait until a query's one number is as large; until its tables are there it is 0."""
        end = time.monotonic() + patience
        while (found := self._told(query)) < number:
            assert time.monotonic() < end, f"{query}: {found} of {number}"
            time.sleep(2)

    def _told(self, query: str) -> int:
        try:
            (row,) = json.loads(self.lakehouse("sql", query, "--format", "json"))
        except subprocess.CalledProcessError:
            return 0
        return int(next(iter(row.values())))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("home")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAKEHOUSE_", "DAGSTER_"))}
    environment |= {"LAKEHOUSE_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "lakehouse.cli", "up"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            made = House(process.stdout.readline().split()[1], environment)
            for dataset in load():
                made.carried(dataset, 1)
            for days in (feed.weather(DAYS, WEEK), feed.flights(DAYS, WEEK)):
                made.land(home, dict(days))
            made.carried("train_delay_risk", 1)
            for days in (feed.weather(WEEK, WEEK + DAYS), feed.flights(WEEK, WEEK + DAYS)):
                made.land(home, dict(days))
            made.until("select count(*) from monitor.delay_risk where auc is not null", 1)
            for name, body in LATER.items():
                made.land(home, {name: body})
            yield made
        finally:
            process.terminate()
            process.wait(90)


@contextmanager
def page(width: int = 1440, scheme: str = "light") -> Iterator[Any]:
    """A page of a fresh browser; what it complains of fails the test."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        shown, wrong = context.new_page(), list[str]()
        shown.set_default_timeout(PATIENCE * 1000)
        shown.on("console", lambda m: wrong.append(m.text) if _ours(m.type, shown.url) else None)
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        yield shown
        browser.close()
    assert [text for text in wrong if not any(word in text for word in FOREIGN)] == []


def _ours(kind: str, url: str) -> bool:
    """Of Dagster's pages the errors; of the dashboard the warnings too, since the charts are ours."""
    return kind == "error" or (kind == "warning" and url.startswith("file:"))


def shot(shown: Any, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    shown.screenshot(path=SHOTS / f"{name}.png", full_page=name.startswith("dashboard"))


def lineage_of_an_item(shown: Any, house: House) -> None:
    way = "view=lineage&lineageScope=upstream&lineageDepth=5"
    shown.goto(f"{house.address}/assets/dynamodb/carrier_punctuality?{way}")
    for table in ("inbox", "flights", "airlines"):
        shown.get_by_text(table, exact=True).first.wait_for()
    shown.wait_for_function("!document.body.innerText.includes('fetching statuses')")


def test_the_lineage_shows_every_layer_as_a_group(house: House) -> None:
    with page(1800) as shown:
        shown.goto(f"{house.address}/asset-groups")
        for layer in ("landing", "raw", "cleaned", "quarantine", "serving", "dynamodb"):
            shown.get_by_text(layer, exact=True).first.wait_for()
        shown.wait_for_function("!document.body.innerText.includes('fetching statuses')")
        shot(shown, "lineage")


def test_the_lineage_of_an_item_leads_back_to_what_landed(house: House) -> None:
    with page(1800) as shown:
        lineage_of_an_item(shown, house)
        shot(shown, "lineage-of-item")


WROTE = "Caused by 1 object."
STANDS = re.compile(r"\d rows?[,:] .*in \d files? of \d")
PAGES = {
    "landing/inbox": ("Every S3 event received", "1 added, in"),
    "raw/flights": ("every record as text, every generation", WROTE),
    "raw/undeclared": ("Objects that no dataset claims", "Caused by"),
    "cleaned/flights": ("One scheduled departure.", WROTE),
    "quarantine/flights": ("Records of flights that broke the contract", "1 added"),
    "serving/carrier_punctuality": ("How late each airline is.", WROTE),
    "dynamodb/carrier_punctuality": ("as applications read them", "s after the upload."),
    "models/delay_risk": ("Will this flight arrive", STANDS),
    "promotions/delay_risk": ("Who was made champion", STANDS),
    "serving/delay_risk": ("The champion's answers", STANDS),
    "dynamodb/delay_risk": ("The items of delay_risk", " items: "),
    "monitor/delay_risk": ("How good the answers of delay_risk were", STANDS),
}


@pytest.mark.parametrize("asset", PAGES)
def test_a_tables_page_says_what_it_is_and_what_was_written(house: House, asset: str) -> None:
    with page() as shown:
        shown.goto(f"{house.address}/assets/{asset}")
        for words in PAGES[asset]:
            shown.get_by_text(words).first.wait_for()
        shot(shown, asset.replace("/", "-"))


def test_the_checks_page_names_each_check_and_its_verdict(house: House) -> None:
    with page() as shown:
        shown.goto(f"{house.address}/assets/cleaned/flights?view=checks")
        for check in ("balance", "contract"):
            shown.get_by_text(check, exact=True).first.wait_for()
        shot(shown, "checks")


def test_an_upload_appears_as_a_run_that_the_sensor_asked_for(house: House, tmp_path: Path) -> None:
    house.land(tmp_path, {"flights/4.csv": sample.flights(("UA", 9, 9))})
    with page() as shown:
        shown.goto(f"{house.address}/runs")
        shown.get_by_text("flights", exact=True).first.wait_for()
        shown.get_by_text("landing", exact=True).first.wait_for()
        shot(shown, "runs")


def test_the_page_of_a_model_shows_the_card_of_its_newest_version(house: House) -> None:
    with page() as shown:
        shown.goto(f"{house.address}/assets/models/delay_risk")
        shown.get_by_text("[Show Markdown]").first.click()
        shown.get_by_role("heading", name="Limits").wait_for()
        drawn = shown.get_by_role("img", name="predicted against true")
        assert drawn.evaluate("image => image.naturalWidth") > 0
        shot(shown, "model-card")


def test_the_page_of_a_monitor_draws_its_weeks(house: House) -> None:
    with page() as shown:
        shown.goto(f"{house.address}/assets/monitor/delay_risk")
        shown.get_by_text("[Show Markdown]").first.click()
        drawn = shown.get_by_role("img", name="AUC by week")
        drawn.wait_for()
        assert drawn.evaluate("image => image.naturalWidth") > 0
        shown.get_by_role("cell", name="at the gate", exact=True).wait_for()
        shot(shown, "monitor")


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (820, "light"), (1440, "light"), (1440, "dark")])
def test_the_dashboard_fits_its_window_and_asks_no_server(house: House, width: int, scheme: str) -> None:
    path = house.lakehouse("dashboard", "--no-open").strip()
    with page(width, scheme) as shown:
        asked: list[str] = []
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(f"file://{path}")
        shown.wait_for_selector("html[data-drawn]")
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        spilt = (
            "[...document.querySelectorAll('.chart svg')].filter(s => s.scrollWidth > s.parentElement.clientWidth)"
        )
        assert shown.evaluate(f"{spilt}.length") == 0
        broad = "[...document.querySelectorAll('dd')].filter(d => d.scrollWidth > d.clientWidth)"
        assert shown.evaluate(f"{broad}.length") == 0
        assert shown.locator(".chart svg").count() >= 6
        assert shown.get_by_text("Delay risk").count()
        assert shown.get_attribute("html", "data-theme") == scheme
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        shot(shown, f"dashboard-{width}-{scheme}")
