"""An account's state: what is stored (`Hot`), and the object the engine works on (`Account`).

`Hot` is small and rewritten with each effect that touches the account. Window history, users, closed tickets and
settled invoices and the ids of the last day are records of their own, written only when they change.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct, field

from schemas.signals import PORTFOLIO_ACCOUNT
from services.signals.core.activity import Activity
from services.signals.core.breadth import Noted
from services.signals.core.contacts import Contacts
from services.signals.core.contract import Profile
from services.signals.core.days import DAY_US, NEVER
from services.signals.core.dossier import Dossier
from services.signals.core.episodes import Episode, Past
from services.signals.core.open_tickets import OpenTickets
from services.signals.core.records import Invoice, Ticket, User
from services.signals.core.windows import Windows

MAX_OPEN_TICKETS = 2000
MAX_OPEN_INVOICES = 500
OPENINGS_KEPT_US = 30 * DAY_US
PORTFOLIO_KEY: Final = b"\0" + PORTFOLIO_ACCOUNT.encode()
"""Where the portfolio's own episodes are kept: no account id has a control character."""


class OpenSubject(Struct, array_like=True):
    """An open episode of one user, or of one subject of the account (`about`: a topic, a product), as the account lists it."""

    signal: str
    user: str
    severity: str
    about: str = ""
    opened_at: int = 0


class IdChunk(Struct, array_like=True):
    """A stored set of event ids: its number, how many it has, the newest hour in it, and the format it was written in."""

    number: int
    size: int
    newest_hour: int
    version: int = 1


class Hot(Struct, array_like=True):
    """The account's own record. Instants in µs, days since 1970; -1 is never."""

    clock: int = 0
    first_event: int = -1
    last_usage: int = -1
    usage_days: list[int] = []  # up to five distinct days with usage: more are never asked for
    windows_today: int = 0
    counts_today: list[int] = []  # per measure
    counts_changed: dict[int, list[int]] = {}  # per day, what the stored buckets lack
    activity: Activity = field(default_factory=Activity)
    users_active: dict[str, int] = {}  # last active day of users whose own record is behind
    low_adoption_since: int = -1
    value_reached: bool = False
    goals_tracked: bool = False
    churned: bool = False
    churn_known_at: int = -1
    renewals: int = 0
    profile: Profile = field(default_factory=Profile)
    contacts: Contacts = field(default_factory=Contacts)
    tickets: dict[str, Ticket] = {}
    openings: list[tuple[int, str]] = []  # (time, ticket) of the last 30 days, by time
    invoices: dict[str, Invoice] = {}
    episodes: dict[str, Episode] = {}
    past: dict[str, Past] = {}
    due: dict[int | str, int] = {}  # by rank in the catalogue `catalogue`; until format 2 by signal
    user_episodes: dict[str, OpenSubject] = {}
    offsets: list[int] = []
    sequence: int = 0
    changed_days: list[int] = []
    ids: dict[int, bytes] = {}  # by hour, 8 bytes each
    id_chunks: list[IdChunk] = []
    next_chunk: int = 0
    outbox: list[tuple[str, bytes]] = []
    generation: int = 0
    erased: bool = False
    unknown_entities: int = 0
    over_cap: int = 0
    catalogue: str = ""  # the rules that the deadlines in `due` were named by
    ids_1: list[tuple[int, int]] = []  # as format 1 had them; they expire within a day
    seen: int = 0  # event types that ever came, as bits
    heard: int = 0  # number of the last broadcast that was applied
    fed: dict[int, int] = {}  # by number of a feed (see `World.feeds`), the last day on which it sent something
    own_measures: list[int] = []  # numbers of the operators' measures whose counts follow the built-in ones
    score: float = -1.0  # health as last settled, -1 for none
    coverage: float = 0.0
    band: str = ""
    scores: bytes = b""  # of the last days that ended, as core/scores.py writes them
    scores_until: int = -1  # the last of these days
    scores_told: int = -1  # the last of them that was published
    score_due: int = 0  # when the score may change by itself, 0 while nothing is known
    noted: Noted = field(default_factory=Noted)  # features, teams and core users that wait for the dossier
    armed: int = 0  # the midnight at which every deadline was asked to be named anew


class Account:
    """An account under work: its stored state, its windows, the sub-records in use, and what became dirty.

    `wake` is no later than the next instant at which time alone can change the account; `tomorrow` is the midnight that
    ends its day. `open_ranks`, `resting_ranks` and `idle_ranks` are sets of signals by rank, as bits: open; closed and
    without a deadline; those that cannot hold of it. They are found out anew where `ranks_known` is not set.
    `portfolio` marks the account that stands for all of them. `fed_today` are the feeds that sent something on its
    day already, as bits. `new_ids` are those of this effect, by hour.
    `health_urgent` asks for its health at the end of the effect, `health_whole` for one that tells every day that is held.
    `parts` are the components of the health score as last worked out, `unscored` the facts that changed since.
    `seen_users` remembers last active days that were read. `cold` and `told` are the profile and contacts, and the episodes,
    as they were last stored. `over_cap_counted` is how much of `Hot.over_cap` the partition has counted.
    """

    __slots__ = (
        "_dossier",
        "_open_tickets",
        "_read_dossier",
        "cold",
        "dirty",
        "dirty_dossier",
        "dirty_invoices",
        "dirty_tickets",
        "dirty_users",
        "fed_today",
        "fresh",
        "health_published",
        "health_urgent",
        "health_whole",
        "hot",
        "id",
        "idle_ranks",
        "ids",
        "invoices",
        "key",
        "new_ids",
        "open_ranks",
        "over_cap_counted",
        "parts",
        "portfolio",
        "ranks_known",
        "resting_ranks",
        "seen_users",
        "tickets",
        "told",
        "tomorrow",
        "unscored",
        "user_heap",
        "users",
        "wake",
        "windows",
    )

    def __init__(
        self,
        key: bytes,
        hot: Hot,
        windows: Windows,
        user_heap: list[tuple[int, str]],
        read_dossier: Callable[[bytes], Dossier] | None = None,
    ) -> None:
        self._dossier: Dossier | None = None
        self._open_tickets: OpenTickets | None = None
        self._read_dossier = read_dossier
        self.cold = self.told = b""
        self.over_cap_counted = hot.over_cap
        self.dirty_dossier = False
        self.fed_today = 0
        self.key = key
        self.portfolio = key == PORTFOLIO_KEY
        self.id = PORTFOLIO_ACCOUNT if self.portfolio else key.decode()
        self.hot = hot
        self.windows = windows
        self.users: dict[str, User] = {}
        self.seen_users: dict[str, int] = {}
        self.tickets: dict[str, Ticket] = {}
        self.invoices: dict[str, Invoice] = {}
        # As keys of dicts: an empty set takes 216 bytes, an empty dict 64, and nearly always they are empty.
        self.dirty_users: dict[str, None] = {}
        self.dirty_tickets: dict[str, None] = {}
        self.dirty_invoices: dict[str, None] = {}
        self.ids: dict[bytes | int, int] | None = None
        self.new_ids: dict[int, bytearray] = {}
        self.user_heap = user_heap
        self.dirty = False
        self.fresh = False
        self.health_urgent = False
        self.health_whole = False
        self.health_published = False
        self.ranks_known = False
        self.open_ranks = self.resting_ranks = self.idle_ranks = 0
        self.parts: list[Any] = []
        self.unscored = 0
        self.tomorrow = (windows.today + 1) * DAY_US
        self.wake = self.next_due()

    @property
    def dossier(self) -> Dossier:
        """What is known beyond the hot record, read from its own record the first time it is asked for."""
        if self._dossier is None:
            self._dossier = Dossier() if self._read_dossier is None else self._read_dossier(self.key)
        return self._dossier

    def change_dossier(self) -> Dossier:
        """The dossier, which is about to be changed: it will be stored."""
        self.dirty_dossier = True
        return self.dossier

    @property
    def open_tickets(self) -> OpenTickets:
        """The open tickets in order, for reading; whoever changes one of `Hot.tickets` tells it."""
        if self._open_tickets is None:
            self._open_tickets = OpenTickets(self.hot.tickets)
        return self._open_tickets

    def next_due(self) -> int:
        """The earliest instant at which time alone can change this account: a deadline, or a user's deadline."""
        due = self.own_due()
        if self.user_heap and not self.hot.churned:
            due = min(due, self.user_heap[0][0])
        return due

    def own_due(self) -> int:
        """As `next_due`, without the users': theirs are in their own records."""
        hot = self.hot
        if hot.erased:
            return NEVER
        due = min(hot.due.values()) if hot.due else NEVER
        return min(due, hot.score_due or NEVER)

    def note_user_due(self, user_id: str, user: User) -> None:
        """Queue a user's next deadline. Entries that are no longer so are dropped when they come up."""
        due = user.next_due()
        if due:
            heapq.heappush(self.user_heap, (due, user_id))
            self.wake = min(self.wake, due)


def fresh_account(key: bytes, clock: int, topics: int, own: Sequence[int] = ()) -> Account:
    """An account that nothing is known of, at the partition's clock."""
    day = clock // DAY_US
    hot = Hot(clock=clock, windows_today=day, offsets=[-1] * topics, activity=Activity(today=day))
    return Account(key, hot, Windows(day, own), [])
