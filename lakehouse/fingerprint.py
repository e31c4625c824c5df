"""code → a fingerprint: its source and all that it names in its package, so that a table knows what made it."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import sys
import textwrap
from typing import Any

import polars as pl


def digest(*parts: str) -> str:
    """Sixteen letters for some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def fingerprint(code: Any, *facts: str) -> str:
    """What tells a function, with all that it names in its package and these facts, from another."""
    return digest(said(code), *facts)


def said(code: Any) -> str:
    """A function's or class's source, and all that it names in its own package: code by source, values by repr."""
    found: dict[str, str] = {}
    package = code.__module__.rpartition(".")[0] or code.__module__
    _tell(f"{code.__module__}.{code.__qualname__}", code, package, found)
    return "\0".join(found.values())


def _tell(name: str, value: Any, package: str, found: dict[str, str]) -> None:
    if name in found or inspect.ismodule(value) or hasattr(type(value), "fingerprint"):
        return
    if not (inspect.isfunction(value) or inspect.isclass(value)):
        found[name] = f"{name} = {_written(value)}"
        for key, one in value.items() if isinstance(value, dict) else ():
            if inspect.isfunction(one) or inspect.isclass(one):
                _tell(f"{name}[{key!r}]", one, package, found)
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
        case pl.Expr():
            return str(value)  # whole: its repr is cut, and tells where it lies
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
