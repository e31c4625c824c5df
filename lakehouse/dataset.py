"""The vocabulary in which a user declares data: `Dataset` and `Serving`."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

import dataframely as dy
import polars as pl

Clean = Callable[[pl.LazyFrame], pl.LazyFrame]


class DeclarationError(Exception):
    """A dataset file says something that cannot be. Raised when definitions load; mend the file."""


@dataclass(frozen=True)
class Serving:
    """A table that people and applications read: a function over cleaned tables.

    The function's parameter names are its upstream datasets; it gets their cleaned tables as LazyFrames and
    returns one row a `key`. With `group`, only the groups that changed are computed again: every upstream that has
    the `group` column is handed over filtered to them. `publish` sends what changed to DynamoDB.
    """

    compute: Callable[..., pl.LazyFrame]
    key: str | Sequence[str]
    group: str | None = None
    publish: bool = False

    @property
    def name(self) -> str:
        return self.compute.__name__

    @property
    def keys(self) -> list[str]:
        return [self.key] if isinstance(self.key, str) else list(self.key)

    @property
    def upstreams(self) -> list[str]:
        return list(inspect.signature(self.compute).parameters)

    @cached_property
    def fingerprint(self) -> str:
        return _digest(_said(self.compute), repr(self.keys), repr(self.group))


@dataclass(frozen=True)
class Dataset:
    """Objects of one kind: where they land, what their rows must be, what is served from them.

    `landing`: a glob over object keys. `contract`: the cleaned columns, a dataframely schema with a primary key.
    `clean`: optional, text columns in, the contract's columns out; it keeps the columns whose names begin with
    `_`. It goes row by row: what becomes of a record may depend on that record alone, since the records come in
    batches that are cut anywhere between objects, and again when a table is rebuilt. A window, an aggregate or a
    deduplication belongs into a serving function. `order_by`: the columns that say which of two rows of one key
    is newer; the object's LastModified, its key and the record number decide what is left. `on_delete`: whether a
    deleted object's rows stay.
    """

    name: str
    landing: str
    contract: type[dy.Schema]
    clean: Clean | None = None
    order_by: Sequence[str] = ()
    on_delete: Literal["keep", "retract"] = "keep"
    serving: Sequence[Serving] = field(default=())

    def __post_init__(self) -> None:
        if not self.keys:
            raise DeclarationError(f"{self.name}: the contract {self.contract.__name__} has no primary key")

    @property
    def keys(self) -> list[str]:
        return list(self.contract.primary_key())

    def matches(self, key: str) -> bool:
        return re.fullmatch(_pattern(self.landing), key, re.DOTALL) is not None

    @cached_property
    def fingerprint(self) -> str:
        source = _said(self.contract) + (_said(self.clean) if self.clean else "")
        return _digest(source, repr(self.keys), repr(tuple(self.order_by)), self.on_delete)


def load(package: str = "lakehouse.datasets") -> dict[str, Dataset]:
    """Every module of `package` that has a `dataset`, by name. Raises `DeclarationError` where two disagree."""
    root = importlib.import_module(package)
    modules = [importlib.import_module(f"{package}.{m.name}") for m in pkgutil.iter_modules(root.__path__)]
    return check([m.dataset for m in modules if hasattr(m, "dataset")])


def check(found: Sequence[Dataset]) -> dict[str, Dataset]:
    """The datasets by name; refuses doubled names, overlapping globs and unknown upstreams."""
    datasets = {d.name: d for d in found}
    if len(datasets) < len(found):
        raise DeclarationError("two datasets have one name")
    for one, other in combinations(found, 2):
        if (key := common(one.landing, other.landing)) is not None:
            raise DeclarationError(
                f"{one.name} ({one.landing}) and {other.name} ({other.landing}) both claim {key!r}"
            )
    tables: set[str] = set()
    for serving in (s for d in found for s in d.serving):
        if serving.name in tables:
            raise DeclarationError(f"two serving tables are named {serving.name}")
        tables.add(serving.name)
        for upstream in serving.upstreams:
            if upstream not in datasets:
                raise DeclarationError(f"{serving.name} reads {upstream}, which no dataset declares")
    return datasets


def route(datasets: dict[str, Dataset], key: str) -> str | None:
    """The dataset that claims an object key, or None."""
    return next((d.name for d in datasets.values() if d.matches(key)), None)


WILD = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


def _tokens(glob: str) -> list[str]:
    return re.findall(r"\*\*|.", glob, re.DOTALL)


def _pattern(glob: str) -> str:
    return "".join(WILD.get(token, re.escape(token)) for token in _tokens(glob))


def common(one: str, other: str) -> str | None:
    """A key that both globs match, or None where there is none."""
    a, b = _tokens(one), _tokens(other)
    seen = {(0, 0)}
    ends = deque([(0, 0, "")])
    while ends:
        i, j, key = ends.popleft()
        if i == len(a) and j == len(b):
            return key
        for i2, j2, letter in _steps(a, i, b, j):
            if (i2, j2) not in seen:
                seen.add((i2, j2))
                ends.append((i2, j2, key + letter))
    return None


def _steps(a: list[str], i: int, b: list[str], j: int) -> Iterator[tuple[int, int, str]]:
    """Where two globs can stand next: a star is passed by, or both take a letter that each allows."""
    one, other = a[i] if i < len(a) else "", b[j] if j < len(b) else ""
    if "*" in one:
        yield i + 1, j, ""
    if "*" in other:
        yield i, j + 1, ""
    if one and other and (letter := _letter(one, other)):
        yield i + ("*" not in one), j + ("*" not in other), letter


def _letter(one: str, other: str) -> str:
    """A letter that both tokens allow; "" if there is none."""
    if one in WILD and other in WILD:
        return "x"
    plain, wild = (other, one) if one in WILD else (one, other)
    return plain if plain == wild or wild == "**" or (wild in WILD and plain != "/") else ""


def _said(code: Any) -> str:
    """A function's or class's source, and all that it names in its own package: code by source, values by repr."""
    found: dict[str, str] = {}
    package = code.__module__.rpartition(".")[0] or code.__module__
    _tell(f"{code.__module__}.{code.__qualname__}", code, package, found)
    return "\0".join(found.values())


def _tell(name: str, value: Any, package: str, found: dict[str, str]) -> None:
    if name in found or inspect.ismodule(value) or isinstance(value, Dataset | Serving):
        return
    if not (inspect.isfunction(value) or inspect.isclass(value)):
        found[name] = f"{name} = {_written(value)}"
        return
    if not f"{value.__module__}.".startswith(f"{package}."):
        return
    found[name] = inspect.getsource(value)
    known = _known(value)
    for word, _, inner in (w.partition(".") for w in _words(value, found[name])):
        if word in known and not inspect.ismodule(known[word]):
            _tell(f"{value.__module__}.{word}", known[word], package, found)
        elif inner and word in known and f"{known[word].__name__}.".startswith(f"{package}."):
            _tell(f"{known[word].__name__}.{inner}", getattr(known[word], inner, None), package, found)


def _words(code: Any, source: str) -> list[str]:
    """The names in a source, `a` and `a.b`; of a lambda whose lines are no statement, what its code looks up."""
    try:
        nodes = [*ast.walk(ast.parse(textwrap.dedent(source)))]
    except SyntaxError:
        return [*code.__code__.co_names, *code.__code__.co_freevars]
    plain = [n.id for n in nodes if isinstance(n, ast.Name)]
    return plain + [
        f"{n.value.id}.{n.attr}" for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
    ]


def _known(code: Any) -> dict[str, Any]:
    if inspect.isclass(code):
        return vars(sys.modules[code.__module__])
    code = inspect.unwrap(code)
    return {**code.__globals__, **inspect.getclosurevars(code).nonlocals}


def _written(value: Any) -> str:
    """A repr that is the same in every process: sets in order, no addresses, frames in full."""
    match value:
        case set() | frozenset():
            return f"{{{', '.join(sorted(map(_written, value)))}}}"
        case list() | tuple():
            return f"[{', '.join(map(_written, value))}]"
        case dict():
            return f"{{{', '.join(f'{_written(k)}: {_written(v)}' for k, v in value.items())}}}"
        case pl.DataFrame():
            return f"{value.schema}{value.rows()}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
