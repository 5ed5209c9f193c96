"""An account's state: what is stored (`Hot`), and the object the engine works on (`Account`).

`Hot` is small and rewritten with each effect that touches the account. Window history, users, closed tickets and
settled invoices and the ids of the last day are records of their own, written only when they change.
"""

from __future__ import annotations

import heapq

from msgspec import Struct, field

from services.signals.core.activity import Activity
from services.signals.core.contacts import Contacts
from services.signals.core.contract import Profile
from services.signals.core.days import DAY_US, NEVER
from services.signals.core.episodes import Episode, Past
from services.signals.core.records import Invoice, Ticket, User
from services.signals.core.windows import MEASURES, Windows

MAX_OPEN_TICKETS = 2000
MAX_OPEN_INVOICES = 500
OPENINGS_KEPT_US = 30 * DAY_US


class OpenSubject(Struct, array_like=True):
    """An open episode of one user, as the account lists it."""

    signal: str
    user: str
    severity: str


class IdChunk(Struct, array_like=True):
    """A stored set of event ids: its number, how many it has, and the newest hour in it."""

    number: int
    size: int
    newest_hour: int


class Hot(Struct, array_like=True):
    """The account's own record. Instants in µs, days since 1970; -1 is never."""

    clock: int = 0
    first_event: int = -1
    last_usage: int = -1
    usage_days: list[int] = []  # up to five distinct days with usage: more are never asked for
    windows_today: int = 0
    window_sums: list[list[int]] = []
    bucket_today: list[int] = []
    bucket_week: list[int] = []
    activity: Activity = field(default_factory=Activity)
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
    due: dict[str, int] = {}
    user_episodes: dict[str, OpenSubject] = {}
    roll_day: int = 0  # the next day whose midnight may change something
    offsets: list[int] = []
    sequence: int = 0
    changed_days: list[int] = []
    ids_recent: list[tuple[int, int]] = []
    id_chunks: list[IdChunk] = []
    next_chunk: int = 0
    outbox: list[tuple[str, bytes]] = []
    generation: int = 0
    erased: bool = False
    unknown_entities: int = 0
    over_cap: int = 0


class Account:
    """An account under work: its stored state, its windows, the sub-records in use, and what became dirty."""

    __slots__ = (
        "dirty_invoices",
        "dirty_tickets",
        "dirty_users",
        "fresh",
        "health_published",
        "health_urgent",
        "hot",
        "id",
        "ids",
        "invoices",
        "key",
        "new_ids",
        "tickets",
        "user_heap",
        "users",
        "windows",
    )

    def __init__(self, key: bytes, hot: Hot, windows: Windows, user_heap: list[tuple[int, str]]) -> None:
        self.key = key
        self.id = key.decode()
        self.hot = hot
        self.windows = windows
        self.users: dict[str, User] = {}
        self.tickets: dict[str, Ticket] = {}
        self.invoices: dict[str, Invoice] = {}
        self.dirty_users: set[str] = set()
        self.dirty_tickets: set[str] = set()
        self.dirty_invoices: set[str] = set()
        self.ids: dict[int, int] | None = None
        self.new_ids: list[tuple[int, int]] = []
        self.user_heap = user_heap
        self.fresh = False
        self.health_urgent = False
        self.health_published = False

    def next_due(self) -> int:
        """The earliest instant at which time alone can change this account: a midnight, a deadline, a user's deadline."""
        hot = self.hot
        due = self.own_due()
        if self.user_heap and not hot.churned:
            due = min(due, self.user_heap[0][0])
        return due

    def own_due(self) -> int:
        """As `next_due`, without the users': theirs are in their own records."""
        hot = self.hot
        if hot.erased:
            return NEVER
        return min(min(hot.due.values(), default=NEVER), hot.roll_day * DAY_US)

    def note_user_due(self, user_id: str, user: User) -> None:
        """Queue a user's next deadline. Entries that are no longer so are dropped when they come up."""
        due = user.next_due()
        if due:
            heapq.heappush(self.user_heap, (due, user_id))


def fresh_account(key: bytes, clock: int, topics: int) -> Account:
    """An account that nothing is known of, at the partition's clock."""
    day = clock // DAY_US
    hot = Hot(
        clock=clock,
        windows_today=day,
        roll_day=day + 1,
        offsets=[-1] * topics,
        activity=Activity(today=day, last_active=[0] * 92),
    )
    hot.window_sums = [[0, 0, 0, 0] for _ in MEASURES]
    hot.bucket_today = [0] * len(MEASURES)
    hot.bucket_week = [0] * len(MEASURES)
    return Account(key, hot, Windows(day), [])
