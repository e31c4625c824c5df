"""a function of narwhals frames → whether every engine computes it alike, and the columns that it gives.

What is let through is written down, not what is refused: `lakehouse_tests/engines` computes each entry on Polars
and on Sail, over nulls, zeros, extremes and odd letters, and finds the same values. Engines do not fail where they
differ: a Sunday is 7 to Polars and 0 to Sail, and the least of some NaN is a number that no row has.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import narwhals as nw
import polars as pl


class NotPortable(Exception):
    """A function of narwhals frames does what engines do not do alike. Terminal: the message says what to do."""


WHOLE, SHORT, REAL = "Int64", "short integer", "float"
TEXT, TRUTH, TIME, OTHER = "text", "boolean", "time", "other"
INTEGER = frozenset({WHOLE, SHORT})
EXACT = INTEGER | {TEXT, TRUTH, TIME}
PLAIN = EXACT | {REAL}
ANY = PLAIN | {OTHER}
AGREED: Sequence[tuple[frozenset[str], str]] = (
    (ANY, "col all exclude lit len alias is_null null_count count over"),
    (PLAIN, "__eq__ __ne__ __lt__ __le__ __gt__ __ge__ is_in is_between coalesce when_then"),
    (PLAIN - {TIME}, "fill_null"),
    (EXACT, "min max"),
    (frozenset({WHOLE, REAL}), "__add__ __sub__ __rsub__ __mul__ __neg__ abs"),
    (frozenset({WHOLE}), "sum sum_horizontal min_horizontal max_horizontal clip clip_lower clip_upper"),
    (INTEGER, "mean median rank"),
    (INTEGER | {TRUTH}, "cast"),
    (frozenset({REAL}), "sqrt is_nan is_finite fill_nan"),
    (frozenset({TRUTH}), "__and__ __or__ __invert__ any all_horizontal any_horizontal"),
    (frozenset({TEXT}), "str.to_lowercase str.to_uppercase str.len_chars str.strip_chars str.slice concat_str"),
    (frozenset({TEXT}), "str.starts_with str.ends_with str.contains str.replace_all"),
    (frozenset({TIME}), "dt.year dt.month dt.day dt.ordinal_day dt.date dt.truncate"),
    (frozenset({TIME}), "dt.hour dt.minute dt.second"),
)
OPERANDS = {name: kinds for kinds, names in AGREED for name in names.split()}
"""Of each expression on which kinds of values engines agree."""
LIMITS: Mapping[str, tuple[Callable[[Mapping[str, Any]], bool], str]] = {
    "cast": (lambda told: told["dtype"] in (nw.Int64, nw.Float64, nw.String), "to Int64, Float64 or String"),
    "dt.truncate": (lambda told: bool(re.fullmatch("1(y|q|mo|d|h|m|s)", told["every"])), "to one of a unit"),
    "fill_null": (lambda told: told["strategy"] is None, "by a value"),
    "over": (lambda told: not told["order_by"], "groups, without an order"),
    "rank": (lambda told: told["method"] in ("min", "max", "dense"), 'by "min", "max" or "dense"'),
    "str.contains": (lambda told: told["literal"], "with literal=True"),
    "str.replace_all": (lambda told: told["literal"], "with literal=True"),
}
"""What more has to hold of an expression, and how that is said."""
FRAME = {"select", "with_columns", "filter", "group_by", "join", "unique", "rename", "drop", "drop_nulls", "pipe"}
"""What a frame may be asked for, and what of it may be looked at."""
LOOKS = {"columns", "schema", "collect_schema"}
HINTS = {
    "sum": "cast to nw.Int64: booleans do not add up everywhere, and floats in another order to another sum",
    "mean": "of integers it is exact; of floats it hangs on their order",
    "round": "a cent is another in one row of three hundred; round where it is shown",
    "str.replace": "use str.replace_all with literal=True",
    "dt.weekday": "a Sunday is 7 here and 0 there",
    "fill_null": "of days and times a text takes the place; use coalesce",
    "n_unique": "of no rows it is 0 here and null there; let unique come before len",
    "map_batches": "no Python runs on another engine",
    "join_asof": "no other engine has it",
    "unique": "only of whole rows: which one stays is another on each engine",
    "__truediv__": "the last digit is another where the divisor is constant; a share is the mean of 0 and 1",
    "__mod__": "its sign and its zero are others on each engine",
    "cast": "leave the reading of text to the contract",
}


def is_portable(function: Callable[..., Any]) -> bool:
    """Whether a function's parameters are narwhals frames. Raises `NotPortable` where only some are."""
    ours = [_is_frame(annotation) for annotation in _annotations(function)]
    if any(ours) and not all(ours):
        raise NotPortable(f"{function.__name__}: either all of its parameters are nw.LazyFrame or none")
    return any(ours)


def _annotations(function: Callable[..., Any]) -> list[Any]:
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:  # imported for the type checker alone
        signature = inspect.signature(function)
    return [p.annotation for p in signature.parameters.values()]


def _is_frame(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return bool(re.match(r"(nw|narwhals)\.LazyFrame\b", annotation))
    bare = getattr(annotation, "__origin__", annotation)
    return inspect.isclass(bare) and issubclass(bare, nw.LazyFrame)


def columns(function: Callable[..., Any], given: Sequence[Mapping[str, pl.DataType]]) -> pl.Schema:
    """The columns and types that a portable function gives of frames with these, whichever engine computes it.

    Raises `NotPortable` where engines could differ, and what Polars raises of a column that is not there.
    """
    frames = [_checked(nw.from_native(pl.LazyFrame(schema=one))) for one in given]
    try:
        return _plain(function(*frames)).to_native().collect_schema()
    except NotPortable as refused:
        raise NotPortable(f"{function.__name__}: {refused}") from None


def _plain(frame: nw.LazyFrame[Any]) -> nw.LazyFrame[pl.LazyFrame]:
    return nw.LazyFrame(object.__getattribute__(frame, "_compliant_frame"), level="lazy")


def _checked(frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    return _Checked(frame._compliant_frame, level="lazy")


class _Checked(nw.LazyFrame[pl.LazyFrame]):
    """A frame without rows that looks at each expression before it takes it."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in FRAME | LOOKS:
            raise _refusal(f"LazyFrame.{name}", HINTS.get(name))
        return super().__getattribute__(name)

    def _flatten_and_extract(self, *exprs: Any, **named: Any) -> Any:
        flat = [*_flat(exprs)]
        for one in (*flat, *named.values()):
            self._judge(one)
        return super()._flatten_and_extract(*flat, **named)

    def _judge(self, expression: Any) -> None:
        if not isinstance(expression, nw.Expr):
            return
        for place, node in enumerate(expression._nodes):
            before = [nw.Expr(*expression._nodes[:place])] if place else []
            values = [*_expressions(node.exprs, node.str_as_lit)]
            for value in values:
                self._judge(value)
            _allow(node.name, node.kwargs, [k for e in (*before, *values) for k in self._kinds(e)])
            if node.name == "over":
                self._keyed(node.kwargs["partition_by"], "over")

    def _kinds(self, expression: nw.Expr) -> list[str]:
        """What the columns of an expression are; of a value written down nothing, since it takes their type."""
        if [node.name for node in expression._nodes] == ["lit"]:
            return []
        return [kind(dtype) for dtype in _plain(self).select(expression).collect_schema().dtypes()]

    def _keyed(self, keys: Any, what: str) -> None:
        for key in _flat([keys]):
            for one in self._kinds(key if isinstance(key, nw.Expr) else nw.col(key)):
                if one not in EXACT:
                    raise _refusal(f"{what} by {one}", "keys are whole numbers, texts, booleans, days and times")

    def group_by(self, *keys: Any, drop_null_keys: bool = False) -> Any:
        flat = [*_flat(keys)]
        for key in flat:
            self._judge(key)
        self._keyed(flat, "group_by")
        grouped: Any = super().group_by
        return grouped(*flat, drop_null_keys=drop_null_keys)

    def join(self, other: Any, on: Any = None, how: Any = "inner", **more: Any) -> Any:
        self._keyed([on, more.get("left_on")], "join")
        return super().join(other, on, how, **more)

    def unique(self, subset: Any = None, **more: Any) -> Any:
        if subset is not None or more:
            raise _refusal("unique of some columns", HINTS["unique"])
        self._keyed(self.columns, "unique")
        return super().unique()


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, str | nw.Expr) or not isinstance(value, Iterable):
            yield from () if value is None else (value,)
        else:
            yield from _flat(value)


def _expressions(values: Iterable[Any], literal: bool) -> Iterator[nw.Expr]:
    """The arguments that are expressions, or name a column."""
    for value in values:
        if isinstance(value, nw.Expr):
            yield value
        elif isinstance(value, str) and not literal:
            yield nw.col(value)


def _allow(name: str, told: Mapping[str, Any], kinds: Sequence[str]) -> None:
    if name not in OPERANDS:
        raise _refusal(name, HINTS.get(name))
    for one in kinds:
        if one not in OPERANDS[name]:
            hint = HINTS.get(name) or f"it is of {', '.join(sorted(OPERANDS[name]))}"
            raise _refusal(f"{name} of {one}", hint)
    if name in LIMITS and not LIMITS[name][0](told):
        raise _refusal(name, f"only {LIMITS[name][1]}")


def _refusal(what: str, hint: str | None) -> NotPortable:
    return NotPortable(f"{what} is not the same on every engine{f' ({hint})' if hint else ''}")


def kind(dtype: Any) -> str:
    """What an expression's values are, as far as engines care."""
    match dtype:
        case nw.Int64():
            return WHOLE
        case nw.Float64():
            return REAL
        case nw.String():
            return TEXT
        case nw.Boolean():
            return TRUTH
        case nw.Date():
            return TIME
        case nw.Datetime(time_unit="us", time_zone=None | "UTC"):
            return TIME
        case _ if dtype.is_integer():
            return SHORT
    return OTHER
