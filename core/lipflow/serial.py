"""Config dataclasses to JSON and back, with every field checked."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import types
import typing
from typing import Any, TypeVar

from lipflow.checks import InputError

T = TypeVar("T")


def to_json(config: Any) -> dict[str, Any]:
    """A (nested) config dataclass as plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def config_hash(config: Any) -> str:
    """Twelve hex digits that name this config's values."""
    return hashlib.sha256(json.dumps(to_json(config), sort_keys=True).encode()).hexdigest()[:12]


def from_json(kind: type[T], body: object, *, what: str) -> T:
    """Read a config dataclass from JSON values; a field that is absent takes its default.

    Raises:
        InputError: for a field that is unknown, missing without a default, or of another type.
    """
    if not isinstance(body, dict):
        raise InputError(what, expected="an object", got=type(body).__name__)
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, kind)) if f.init}
    unknown = sorted(set(body) - set(fields))
    if unknown:
        raise InputError(what, expected=f"fields of {kind.__name__}", got=f"{unknown[0]!r}")
    hints = typing.get_type_hints(kind)
    values = {name: _value(hints[name], value, f"{what}.{name}") for name, value in body.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(what, expected=f"all fields of {kind.__name__}", got=error) from error


def _value(hint: Any, value: Any, what: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (a for a in arguments if a is not type(None))
        return _value(inner, value, what)
    if origin is typing.Literal:
        if not any(type(value) is type(choice) and value == choice for choice in arguments):
            raise InputError(what, expected=" or ".join(map(str, arguments)), got=_short(value))
        return value
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type, hint), value, what=what)
    if origin is tuple:
        if isinstance(value, list):
            if arguments[-1] is Ellipsis:
                return tuple(_value(arguments[0], v, what) for v in value)
            if len(value) == len(arguments):
                return tuple(_value(a, v, what) for a, v in zip(arguments, value))
        raise InputError(what, expected=hint, got=_short(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            value = float(value)
    if type(value) is not hint or (hint is float and not math.isfinite(value)):
        raise InputError(what, expected=getattr(hint, "__name__", hint), got=_short(value))
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
