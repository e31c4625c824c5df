"""The docs' pictures, made of the running system: a year of flights, a model that was asked and watched, Chromium.

    .venv/bin/python -m lakehouse_tests.browser.pictures

Half a year lands, and a model is trained on it as soon as somebody looks; then the other half lands: its flights
are answered, and the monitor compares the answers with the truth. Takes some five minutes.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from lakehouse.local import feed
from lakehouse_tests.browser.test_pages import House, lineage_of_an_item, page

DOCS = Path(__file__).parents[2] / "docs"
HALF, YEAR = 181, 365
WEEKS = 24
PATIENCE = 1200


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAKEHOUSE_", "DAGSTER_"))}
        environment |= {"LAKEHOUSE_HOME": home, "PYTHONUNBUFFERED": "1"}
        House("", environment).lakehouse("demo", "--days", str(HALF - 1))
        command = [sys.executable, "-m", "lakehouse.cli", "up", "--empty"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                house = House(process.stdout.readline().split()[1], environment)
                house.until("select count(*) from promotions.delay_risk", 1, PATIENCE)
                land(house, Path(home) / "rest")
                house.until("select count(distinct _object) from cleaned.flights", YEAR, PATIENCE)
                house.until("select count(*) from monitor.delay_risk where auc is not null", WEEKS, PATIENCE)
                picture(house)
            finally:
                process.terminate()
                process.wait(90)


def land(house: House, folder: Path) -> None:
    for dataset, files in (("flights", feed.flights), ("weather", feed.weather)):
        (folder / dataset).mkdir(parents=True)
        for key, body in files(YEAR - HALF, HALF):
            (folder / key).write_bytes(body)
        house.lakehouse("land", *map(str, sorted((folder / dataset).iterdir())), "--prefix", f"{dataset}/")


def picture(house: House) -> None:
    path = house.lakehouse("dashboard", "--no-open").strip()
    with page(1360) as shown:
        shown.goto(f"file://{path}")
        shown.wait_for_selector("html[data-drawn]")
        shown.screenshot(path=DOCS / "dashboard.png", full_page=True)
    with page(1800) as shown:
        lineage_of_an_item(shown, house)
        shown.screenshot(path=DOCS / "lineage.png")


if __name__ == "__main__":
    main()
