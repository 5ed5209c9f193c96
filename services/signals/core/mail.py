"""Mail to the people of an account: what they did with it per day, and who cannot or does not want to be written to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

KEPT_DAYS: Final = 92
MAX_READERS: Final = 200
OPENED, CLICKED, BOUNCED, UNSUBSCRIBED = range(4)


class Reader(Struct, array_like=True):
    """One address or user id that mail goes to. Instants in µs, -1 is never; the events of the last bounce and unsubscribing."""

    read_at: int = -1
    bounced_at: int = -1
    left_at: int = -1
    bounce_event: str = ""
    leave_event: str = ""

    @property
    def bounces(self) -> bool:
        """Whether mail came back and none was read since."""
        return self.bounced_at >= 0 and self.bounced_at >= self.read_at

    @property
    def unsubscribed(self) -> bool:
        """Whether the reader unsubscribed and read no mail since."""
        return self.left_at >= 0 and self.left_at >= self.read_at


class Mail(Struct, array_like=True):
    """Readers by name, and per day what was opened, clicked, bounced and unsubscribed, for the last `KEPT_DAYS` days."""

    readers: dict[str, Reader] = {}
    days: dict[int, list[int]] = {}

    def count(self, what: int, day: int, today: int) -> None:
        """Count one event on its day. Days outside retention are not kept."""
        if day <= today - KEPT_DAYS:
            return
        counts = self.days.setdefault(day, [0, 0, 0, 0])
        counts[what] += 1
        if len(self.days) > KEPT_DAYS:
            for old in [known for known in self.days if known <= today - KEPT_DAYS]:
                del self.days[old]

    def sums(self, today: int, days: int) -> tuple[int, int, int, int]:
        """Opened, clicked, bounced and unsubscribed over the last `days` days (up to 92) including today."""
        found = [counts for day, counts in self.days.items() if today - days < day <= today]
        opened, clicked, bounced, left = (sum(counts[what] for counts in found) for what in range(4))
        return opened, clicked, bounced, left

    def read(self, who: str, at: int) -> None:
        """Someone opened or clicked a mail."""
        reader = self._reader(who)
        reader.read_at = max(reader.read_at, at)

    def bounce(self, who: str, at: int, event_id: str) -> None:
        """A mail to someone came back."""
        reader = self._reader(who)
        if at >= reader.bounced_at:
            reader.bounced_at, reader.bounce_event = at, event_id

    def leave(self, who: str, at: int, event_id: str) -> None:
        """Someone unsubscribed."""
        reader = self._reader(who)
        if at >= reader.left_at:
            reader.left_at, reader.leave_event = at, event_id

    def reader(self, names: Callable[[str], bool]) -> Reader:
        """What one person did, who may be written to under several names."""
        found = Reader()
        for who, known in self.readers.items():
            if names(who):
                found.read_at = max(found.read_at, known.read_at)
                if known.bounced_at > found.bounced_at:
                    found.bounced_at, found.bounce_event = known.bounced_at, known.bounce_event
                if known.left_at > found.left_at:
                    found.left_at, found.leave_event = known.left_at, known.leave_event
        return found

    @property
    def over(self) -> bool:
        """Whether there are more readers than are kept."""
        return len(self.readers) > MAX_READERS

    def forget_one(self) -> None:
        """Drop the reader with the least to say: one who reads mail before one who does not, the longest ago first."""
        readers = self.readers
        del readers[min(readers, key=lambda who: (_troubled(readers[who]), _latest(readers[who]), who))]

    def _reader(self, who: str) -> Reader:
        return self.readers.setdefault(who, Reader())


def _troubled(reader: Reader) -> bool:
    return reader.bounces or reader.unsubscribed


def _latest(reader: Reader) -> int:
    return max(reader.read_at, reader.bounced_at, reader.left_at)
