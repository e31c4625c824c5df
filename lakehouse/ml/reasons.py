"""trees → reasons: by how much each feature moved an answer, read off the paths that its row takes (Saabas).

A node is worth the mean of the leaves below it, weighed by the rows that training put there. Each split on a row's
path changes that worth, and the change is credited to the split's feature. The root's worth and all changes add up
to the leaf's. What a leaf credits is the same for every row that reaches it: it is computed once a model, and a
row's reasons are the sum of its leaves' lines.

Source: Ando Saabas, Interpreting random forests (2014), and his package treeinterpreter. It differs from SHAP, as
Lundberg et al. say in From local explanations to global understanding with explainable AI for trees (2020): SHAP
weighs all orders in which the features could have been asked, this takes the order in which the tree asks them. So
what two features do only together is credited to the one that is asked later. Both add up to the same answer from
the same mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs

REASONS = 3
NAMES = [f"reason{n + 1}" for n in range(REASONS)]
SIGN = pl.when(pl.col("by") > 0).then(pl.lit("+")).otherwise(pl.lit(""))
TEXT = pl.format("{} = {} ({}{})", "name", pl.col("value").fill_null("unknown"), SIGN, "by")


@dataclass(frozen=True)
class Paths:
    """`moves` [leaf, feature + 1]: what a leaf credits to each feature and, last, its own value, in log odds.

    `first` [tree]: the row of a tree's first leaf.
    """

    moves: np.ndarray
    first: np.ndarray

    def added(self, leaves: np.ndarray) -> np.ndarray:
        """[row, feature + 1]: the lines of a row's leaves [row, tree], added tree by tree, as LightGBM does."""
        from scipy.sparse import csr_array

        rows, trees = leaves.shape
        at = (leaves + self.first).astype(np.int32).ravel()
        ends = np.arange(0, at.size + 1, trees, dtype=np.int32)
        picked = csr_array((np.ones(at.size), at, ends), shape=(rows, len(self.moves)))
        return np.asarray(picked @ self.moves)


def paths(dump: Mapping[str, Any]) -> Paths:
    """The paths of a LightGBM model, from its `dump_model()`."""
    trees, width = dump["tree_info"], dump["max_feature_idx"] + 2
    first = np.cumsum([0, *(tree["num_leaves"] for tree in trees)])
    moves = np.zeros((first[-1], width))
    for tree, start in zip(trees, first[:-1], strict=True):
        _walk(tree["tree_structure"], np.zeros(width), moves[start : start + tree["num_leaves"]])
    return Paths(moves, first[:-1])


def _walk(node: Mapping[str, Any], credits: np.ndarray, moves: np.ndarray) -> None:
    if "leaf_value" in node:
        moves[node.get("leaf_index", 0)] = credits
        moves[node.get("leaf_index", 0), -1] = node["leaf_value"]
        return
    _, worth = _weighed(node)
    for child in (node["left_child"], node["right_child"]):
        more = credits.copy()
        more[node["split_feature"]] += _weighed(child)[1] - worth
        _walk(child, more, moves)


def _weighed(node: Mapping[str, Any]) -> tuple[float, float]:
    """(the rows below a node, the mean value of their leaves)."""
    if "leaf_value" in node:
        return node.get("leaf_count", 1), node["leaf_value"]
    (left, a), (right, b) = _weighed(node["left_child"]), _weighed(node["right_child"])
    return left + right, (left * a + right * b) / (left + right)


def worded(rows: pl.DataFrame, columns: Sequence[str], moved: np.ndarray) -> pl.DataFrame:
    """`reason1` … `reason3`: the columns that moved each row most, their values, by how much (log odds).

    `moved` [row, column]. Where there are fewer columns the last reasons are null. Texts are made column by
    column, since each has its own type, and then put in their places.
    """
    strongest = np.argsort(-np.abs(moved), axis=1, kind="stable")[:, :REASONS]
    chosen = strongest.T.ravel().astype(np.uint16)
    order = np.argsort(chosen, kind="stable")
    at, ends = order % max(len(rows), 1), np.searchsorted(chosen[order], np.arange(1, len(columns)))
    parts = np.split(at, ends)
    plain = rows.select(columns).with_columns(cs.float().round(2))
    values = [plain[c].gather(some).cast(pl.String).alias("value") for c, some in zip(columns, parts, strict=True)]
    by = moved[at, chosen[order]].round(2)
    named = pl.Series(columns, dtype=pl.String).gather(chosen[order])
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    told = pl.DataFrame({"name": named, "value": pl.concat(values, rechunk=True), "by": by}).select(TEXT)
    texts = told.to_series().gather(places)
    found = {name: texts.slice(n * len(rows), len(rows)) for n, name in enumerate(NAMES)}
    return pl.DataFrame({name: one.extend_constant(None, len(rows) - len(one)) for name, one in found.items()})
