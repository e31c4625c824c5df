"""lakehouse.definitions of flights that lie by carrier, an object a portion. For test_share.py."""

from dataclasses import replace

from lakehouse import dataset, definitions
from lakehouse.dataset import Dataset
from lakehouse.layers import fanout, raw
from lakehouse.orchestration import shares


def load() -> dict[str, Dataset]:
    found = dataset.load()
    return {**found, "flights": replace(found["flights"], partition_by="carrier")}


definitions.load = load
raw.BATCH, fanout.OVERSIZED, shares.LOOK_SECONDS = 1, 10, 1
definitions.built.cache_clear()  # the fork server has built what is not patched
defs = definitions.defs
