"""What was said to every account at once, as one partition knows it: released features. Kept in the partition's own record."""

from __future__ import annotations

from msgspec import Struct

MAX_RELEASES = 40


class Release(Struct, array_like=True):
    """A feature that was released to every account, at `at` (µs)."""

    feature: str
    at: int
    advanced: bool = False


class World(Struct, array_like=True):
    """Releases by time, the latest `MAX_RELEASES`. A feature is released once: the earliest time counts."""

    releases: list[Release] = []

    def release(self, feature: str, at: int, *, advanced: bool) -> bool:
        """Take in a release. True when it is news."""
        known = next((entry for entry in self.releases if entry.feature == feature), None)
        if known is not None:
            if at >= known.at:
                return False
            self.releases.remove(known)
        self.releases.append(Release(feature, at, advanced))
        self.releases.sort(key=lambda entry: (entry.at, entry.feature))
        del self.releases[:-MAX_RELEASES]
        return True
