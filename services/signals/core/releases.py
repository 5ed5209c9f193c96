"""Released features as one account knows them: which it could have tried, and which it never did."""

from __future__ import annotations

from services.signals.core.breadth import was_used
from services.signals.core.state import Account
from services.signals.core.world import Release, World


def released(account: Account, world: World) -> list[Release]:
    """Releases since the account is there (not before its first event), newest first."""
    first = account.hot.first_event
    return [release for release in reversed(world.releases) if 0 <= first <= release.at]


def untried(account: Account, world: World) -> list[Release]:
    """Those of them that the account never used in production, newest first."""
    found = released(account, world)
    return [r for r in found if not was_used(r.feature, account.hot.noted, account.dossier.breadth)] if found else []
