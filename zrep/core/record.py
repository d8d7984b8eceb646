"""Frozen data, made cheaply: what zrep knows and what it wants to do are records.

A record is written like a frozen dataclass with slots, and behaves like one. The standard library's dataclasses write
the source text of five functions for each class and compile it at every start; with the modules that takes, it was a
third of what zrep did before its first command, once a minute, on small machines (make bench, row start).
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar, dataclass_transform

_set = object.__setattr__


@dataclass_transform(frozen_default=True)
class _Kind(type):
    """Makes a slot of each annotated field, and remembers the defaults."""

    fields: tuple[str, ...]
    defaults: dict[str, Any]

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _Kind:
        own = tuple(namespace.get("__annotations__", ()))
        defaults = {field: namespace.pop(field) for field in own if field in namespace}
        above = [base for base in bases if isinstance(base, _Kind)]
        fields = (*(field for base in above for field in base.fields), *own)
        kind = super().__new__(cls, name, bases, {**namespace, "__slots__": own, "__match_args__": fields})
        kind.fields = fields
        kind.defaults = {name: value for base in above for name, value in base.defaults.items()} | defaults
        return kind


class Record(metaclass=_Kind):
    """Base of classes that list their fields as annotations, some with a default (a value that cannot change: all
    instances share it). Equal when class and fields are; hashable when the fields are."""

    def __init__(self, *values: Any, **named: Any) -> None:
        kind = type(self)
        placed = dict(zip(kind.fields, values, strict=False))
        given = {**kind.defaults, **placed, **named}
        known = len(given) == len(kind.fields) and len(placed) == len(values) and not named.keys() & placed.keys()
        try:
            for field in kind.fields:
                _set(self, field, given[field])
        except KeyError:
            known = False
        if not known:
            raise TypeError(f"{kind.__name__} takes {', '.join(kind.fields)}, once each")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return contents(self) == contents(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *contents(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in contents(self).items())})"


Some = TypeVar("Some", bound=Record)


def contents(record: Record) -> dict[str, Any]:
    """Fields and values, in order."""
    return {field: getattr(record, field) for field in type(record).fields}


def replace(record: Some, **changed: Any) -> Some:
    """The same record with other values in some fields."""
    return type(record)(**{**contents(record), **changed})
