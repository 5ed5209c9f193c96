"""What is known of an account beyond usage, profile and open tickets. A record of its own, read only when something asks.

One part per field of knowledge, each in the file of its name. Fields are only ever appended: the order is in stored state.
"""

from __future__ import annotations

from msgspec import Struct, field

from services.signals.core.billing import Billing
from services.signals.core.breadth import Breadth
from services.signals.core.engagement import Engagement
from services.signals.core.episodes import Episode, Past
from services.signals.core.onboarding import Onboarding
from services.signals.core.support import Support
from services.signals.core.troubles import Trouble

MAX_SUBJECTS = 500
"""Subjects of one signal that are told apart; a further one is counted in `Hot.over_cap` and not judged."""


class Dossier(Struct, array_like=True):
    """The parts, and the episodes of signals that can be open on several subjects (topics, products, features) at once."""

    support: Support = field(default_factory=Support)
    billing: Billing = field(default_factory=Billing)
    engagement: Engagement = field(default_factory=Engagement)
    onboarding: Onboarding = field(default_factory=Onboarding)
    breadth: Breadth = field(default_factory=Breadth)
    episodes: dict[str, dict[str, Episode]] = {}  # by signal, then subject
    past: dict[str, dict[str, Past]] = {}
    bands: list[tuple[int, str]] = []  # (µs, band) of each change of the health band, the latest few
    troubles: dict[str, Trouble] = {}  # that ended, by name
