"""Records behave like frozen dataclasses."""

from __future__ import annotations

from typing import Any

import pytest

from zrep.core.record import Record, contents, replace


class Point(Record):
    x: int
    y: int = 0

    @property
    def sum(self) -> int:
        return self.x + self.y


class Named(Point):
    name: str = "origin"


class Other(Record):
    x: int
    y: int = 0


def test_fields_come_from_positions_names_and_defaults() -> None:
    assert [Point(1), Point(1, 2), Point(y=2, x=1), Named(1, 2, "a")] == [
        Point(x=1, y=0),
        Point(x=1, y=2),
        Point(1, 2),
        Named(x=1, y=2, name="a"),
    ]
    assert contents(Named(1)) == {"x": 1, "y": 0, "name": "origin"}
    assert Named(1, 2).sum == 3


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((), {}),
        ((1, 2, 3), {}),
        ((1,), {"x": 1}),
        ((1,), {"z": 1}),
        ((), {"y": 1}),
        ((1, 2), {"y": 2}),
        ((), {"y": 1, "z": 1}),
    ],
)
def test_other_fields_are_refused(values: tuple[int, ...], named: dict[str, int]) -> None:
    make: Any = Point
    with pytest.raises(TypeError, match="Point takes x, y"):
        make(*values, **named)


def test_nothing_can_be_changed() -> None:
    point: Any = Point(1)
    for name in ("x", "z"):
        with pytest.raises(AttributeError, match="frozen"):
            setattr(point, name, 2)
    with pytest.raises(AttributeError, match="frozen"):
        del point.x
    assert not hasattr(point, "__dict__")


def test_equal_when_class_and_fields_are() -> None:
    other: object = Other(1, 2)
    assert Point(1, 2) == Point(1, 2) != Point(1, 3)
    assert Point(1, 2) != other
    assert len({Point(1, 2), Point(1, 2), Other(1, 2)}) == 2
    assert repr(Point(1, 2)) == "Point(x=1, y=2)"


def test_replace_and_patterns() -> None:
    assert replace(Named(1, 2), y=5, name="b") == Named(1, 5, "b")
    with pytest.raises(TypeError):
        replace(Point(1), z=1)
    match Point(1, 2):
        case Point(x, y=2):
            assert x == 1
        case _:
            pytest.fail("no match")
