"""How far a stream under way is, as it is remembered on the host that drives it, and how that is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from zrep.core.quantities import duration, size

# zfs send says once a second how far it is: after so many seconds without a word it stands still.
_STILL = 10
_NOTES = ("moving_since", "moving_at", "moving_sent", "moving_size")


class Moving(Struct, frozen=True):
    """A stream that is under way. since: when it began, at: when it was last seen to move, seconds since 1970; sent:
    bytes until then; size: the bytes it is estimated to have, 0: not known."""

    since: int
    at: int
    sent: int
    size: int

    def notes(self) -> dict[str, int | None]:
        """What is to be remembered of it."""
        return dict(zip(_NOTES, (self.since, self.at, self.sent, self.size), strict=True))

    @property
    def percent(self) -> int | None:
        """How much of it is sent, at most 99 while it goes on; None: not known."""
        return min(99, 100 * self.sent // self.size) if self.size else None

    @property
    def rate(self) -> int | None:
        """Bytes a second since it began; None: it has only begun."""
        return self.sent // (self.at - self.since) if self.at > self.since else None

    def still(self, now: int) -> bool:
        """Whether it has not moved for long."""
        return now - self.at > _STILL

    def left(self, now: int) -> int | None:
        """Seconds it may still take; None: not known, or it stands still."""
        if not self.size or not self.rate or self.still(now):
            return None
        return max(0, self.size - self.sent) // self.rate


# Nothing is remembered of a stream that has ended.
ENDED: Mapping[str, None] = dict.fromkeys(_NOTES)


def read_moving(notes: Mapping[str, object]) -> Moving | None:
    """The stream that is remembered; None: none, or what is there is not what zrep writes."""
    values = [notes.get(name) for name in _NOTES]
    numbers = [value for value in values if isinstance(value, int) and value >= 0]
    return Moving(*numbers) if len(numbers) == len(_NOTES) else None


def together(streams: Sequence[Moving]) -> Moving | None:
    """Several streams as one; None of none. Of one whose size is not known none is."""
    if not streams:
        return None
    return Moving(
        since=min(each.since for each in streams),
        at=max(each.at for each in streams),
        sent=sum(each.sent for each in streams),
        size=sum(each.size for each in streams) if all(each.size for each in streams) else 0,
    )


def say(moving: Moving, now: int) -> str:
    """Such as: sending 42 %, 3m left."""
    far = f"{size(moving.sent)} sent" if moving.percent is None else f"sending {moving.percent} %"
    if moving.still(now):
        return f"{far}, not moving for {duration(now - moving.at)}"
    left = moving.left(now)
    return far if left is None else f"{far}, {duration(left)} left"
