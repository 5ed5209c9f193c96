"""What a signal is: metadata, thresholds per tier, and pure functions over one account that raise, escalate and clear it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from schemas.signals import Action, Evidence, Kind, Scope, Severity
from services.signals.core.days import day_of
from services.signals.core.dossier import Dossier
from services.signals.core.episodes import Episode
from services.signals.core.measures import Feature, Measure, notes
from services.signals.core.portfolio import MIN_ACCOUNTS, SHARE, explained
from services.signals.core.records import User
from services.signals.core.score import WEIGHTS
from services.signals.core.state import Account
from services.signals.core.world import World

USAGE_DROP: Final = "portfolio.usage_drop"
"""The signal whose thresholds say when the portfolio's fall explains an account's."""


class Fact:
    """What an event or the passing of time changed, as bits. A signal is judged only when something that it reads changed.

    Plain ints: an enum's operators cost a microsecond each, and these are combined for every event.
    """

    USAGE = 1  # today's or an earlier day's usage
    LATE_USAGE = 2  # a complete day's usage
    LAST_USAGE = 4  # when the account was last used
    ACTIVE = 8  # the number of active users
    USER = 16  # what a user did: logins and page views
    TICKETS = 32
    INVOICES = 64
    PROFILE = 128
    CONTACTS = 256
    SURVEY = 512
    VALUE = 1024
    RISKS = 2048  # the set of open account-scope risks, or their severities
    CONTRACT = 4096  # renewed
    TIER = 8192  # other thresholds are in force
    LOGIN = 16384  # a user's first login
    SURVEYS = 1 << 15  # any survey sent or answered
    TOUCH = 1 << 16  # touchpoints held, planned or missed
    GOALS = 1 << 17
    MILESTONES = 1 << 18
    COMMITMENTS = 1 << 19
    SUBSCRIPTIONS = 1 << 20
    BREADTH = 1 << 21  # a core or advanced feature, core user or team on a day on which that had not been noted yet
    ERRORS = 1 << 22  # errors and outages that the account saw
    COMPLAINTS = 1 << 23
    MAIL = 1 << 24
    LEARNING = 1 << 25  # training and community
    ADVOCACY = 1 << 26  # references, reviews, referrals
    EVALUATION = 1 << 27
    RELEASES = 1 << 28  # a feature was released, or one that the account had ignored is used
    SCORE = 1 << 29  # the health score or its band
    PORTFOLIO = 1 << 30  # the portfolio was measured
    SOURCES = 1 << 31  # a source went stale or is fresh again
    AWAY = 1 << 32  # a contact is out of office
    COUNTED = 1 << 33  # a measure of the operators' own
    LATE_COUNTED = 1 << 34  # the same, on a complete day
    TEAM = 1 << 35  # a team was used for the first time, or again after four weeks
    ADVANCED = 1 << 36  # an advanced feature was used in a week in which that had not been noted yet


FACT_NAMES: Final = {value: name.lower() for name, value in vars(Fact).items() if name.isupper()}
"""Each fact's bit and its name."""

SEVERITY_RANK: Final = {"info": 0, "warning": 1, "critical": 2}


class Finding(Struct):
    """A condition that holds: how bad it is, the step it reached, and what the raise fixes for later comparison.

    `opened_at` (µs) is given where the episode began before the change that showed it.
    """

    severity: Severity
    level: int = 0
    frozen: dict[str, Any] = {}
    opened_at: int = 0


class Context:
    """What a signal's functions may look at: the account, a user where the scope is user, the moment, the open episode.

    `subject` is what the episode is about, for a signal with `subjects`; `world` is what was said to every account.

    `now` is the account clock in µs, `today` its day. `midnight` is true where the moment is a day roll. `p` are the
    thresholds in force, and `known_at` the instant of which what was said to everybody counts: later than `now` where the
    decision has waited.
    Read only: nothing here may be changed by a signal, except `episode.frozen` by `observe`.
    """

    __slots__ = (
        "account",
        "catalogue",
        "episode",
        "known_at",
        "midnight",
        "now",
        "p",
        "subject",
        "today",
        "user",
        "user_id",
        "world",
    )

    def __init__(
        self, account: Account, catalogue: Catalogue, now: int, *, midnight: bool = False, world: World | None = None
    ) -> None:
        self.account = account
        self.catalogue = catalogue
        self.now = self.known_at = now
        self.today = day_of(now)
        self.midnight = midnight
        self.world = NOTHING_SAID if world is None else world
        self.subject = ""
        self.p: Mapping[str, Any] = {}
        self.episode: Episode | None = None
        self.user: User | None = None
        self.user_id = ""

    @property
    def dossier(self) -> Dossier:
        """What is known of the account beyond its hot record."""
        return self.account.dossier

    def fed_again(self, topic: str) -> int:
        """When a source that feeds the account on this topic last came back from being stale (µs), 0 if none ever did."""
        return self.world.fed_again(self.account.hot.fed, topic, self.now)

    def shared(self, day: int) -> float | None:
        """What accounts of its tier did over the 28 days that ended with `day`, as a ratio minus one; None if not measured."""
        measure = self.world.measure_of(day, self.known_at)
        if measure is None or measure.accounts < self.catalogue.guard["accounts_min"]:
            return None
        return measure.of(self.account.hot.profile.tier)[0]

    def fell_like_all(
        self, change: float, threshold: float, *, day: int | None = None, fall: float | None = None
    ) -> bool:
        """Whether a change of usage past `threshold` is explained by what all did. Both are ratios minus one.

        `day` is the last one that the change looks at, yesterday unless given; `fall` is what the portfolio must have the
        guard's share of, the threshold unless given.
        """
        shared = self.shared(self.today - 1 if day is None else day)
        return shared is not None and explained(change, threshold, shared, self.catalogue.guard["share"], fall)

    @property
    def open(self) -> Episode:
        """The open episode; only for functions that are called while one is open."""
        assert self.episode is not None
        return self.episode

    @property
    def person(self) -> User:
        """The user; only for functions of signals with user scope."""
        assert self.user is not None
        return self.user


NOTHING_SAID: Final = World()
TIERS: Final = ("high", "low", "tech")


def nothing(_: Context) -> None:
    """What a signal that never gets worse does, or one that observes nothing."""
    return


def accepted(_: Mapping[str, Any]) -> str:
    """Why these thresholds are refused, for a signal that takes any."""
    return ""


def never_due(_: Context) -> int:
    """The deadline of a signal that time alone does not change."""
    return 0


class Signal(Struct, frozen=True, kw_only=True):
    """One entry of the catalogue.

    When it is judged: on a change of one of `reads`; of one of `reads_open` while it is open; of one of `arms` while it
    is closed and names no deadline; and when the deadline that `due` named has come. A deadline may be named too early,
    never too late: it must hold whatever in-time events follow, but for changes of `reads`. So a signal whose deadline
    events can only put off reads them in `reads_open` and `arms` alone, and nearly all events judge nothing.

    `raises` says whether to open (a Finding) or not (None); `escalates` whether an open episode got worse; `clears` why
    an open episode ends (a word) or None; `observe` may add to the episode's frozen data while it is open; `due` is the
    next instant in µs, 0 for none, at which time alone may change any of these;
    `describe` is one sentence with number, window and baseline, and the evidence behind it.

    With `subjects`, the signal can be open on several things of one account at once (topics, products, features): the
    function names those that may be open now; each, and each that is open, is judged on its own with `Context.subject`
    set, and `due` is asked for each. Such a signal has no `reads_open` and no `arms`.

    `refuses` says why thresholds, put together by an operator for a tier, cannot be judged by; empty where they can.

    `where` is false of accounts of which it cannot hold as their profile stands: there it is not judged while closed.

    `needs` are the event types (`usage.feature_used`) and profile fields (`profile.seats`) without any one of which it
    can say nothing about an account: there it is starved. It is warming until `warming_days` after the first event, or
    after the latest of the operators' `measures` that it counts by came into force.

    A condition of absence or drop is `held_by` the topics that it reads: while a source that feeds the account there is
    late or stale it is neither raised nor escalated, nor while a window of `hole_days` days (a number, or the threshold of
    that name) overlaps the hole. With `explained`, which says whether what all accounts did (`Context.shared`) accounts for
    it, it is not raised where that is so; with `worse_explained`, not escalated. What reads usage waits at midnights for what
    was measured of the day that ended, for an hour at most. Signals of scope portfolio are judged for the portfolio alone,
    when it was measured or a source stopped or returned.
    """

    id: str
    version: int
    title: str
    kind: Kind
    family: str
    scope: Scope
    severity: str
    pages: bool
    meaning: str
    source: str
    reads: int
    inputs: tuple[str, ...]
    action: Action
    thresholds: Mapping[str, Mapping[str, Any]]
    raises: Callable[[Context], Finding | None]
    clears: Callable[[Context], str | None]
    describe: Callable[[Context], tuple[str, list[Evidence]]]
    escalates: Callable[[Context], Finding | None] = nothing
    observe: Callable[[Context], None] = nothing
    due: Callable[[Context], int] = never_due
    reads_open: int = 0
    arms: int = 0
    composite: bool = False
    once: bool = False
    subjects: Callable[[Context], Iterable[str]] | None = None
    where: Callable[[Account], bool] | None = None
    needs: tuple[str, ...] = ()
    warming_days: int = 0
    measures: tuple[str, ...] = ()
    held_by: tuple[str, ...] = ()
    hole_days: int | str = 0
    explained: Callable[[Context], bool] | None = None
    worse_explained: Callable[[Context], bool] | None = None
    refuses: Callable[[Mapping[str, Any]], str] = accepted

    def parameters(self, tier: str) -> Mapping[str, Any]:
        """Thresholds in force for a tier: the tier's own over the defaults."""
        return {**self.thresholds.get("default", {}), **self.thresholds.get(tier, {})}


class Catalogue:
    """The signals in force, in the order they are judged: parts, then composites, then readers of risks; then by id."""

    def __init__(
        self,
        signals: list[Signal],
        digest: str,
        *,
        measures: Sequence[Measure] = (),
        features: Mapping[str, Feature] | None = None,
        weights: Mapping[str, Mapping[str, Decimal]] | None = None,
        off: Iterable[Signal] = (),
    ) -> None:
        """`measures`, `features` and `weights` (of health's components, per tier) are operators' own; none by default.

        Signals that are `off` are not judged; an episode that they left open ends.
        """
        self.digest = digest
        self.off = {signal.id: signal for signal in off}
        self.measures = tuple(measures)
        self.notes = notes(self.measures, features or {}, Fact.COUNTED, Fact.LATE_COUNTED)
        self.weights = {
            tier: WEIGHTS | {n: float(w) for n, w in (weights or {}).get(tier, {}).items()} for tier in TIERS
        }
        self.score_weights = {tier: tuple(self.weights[tier].values()) for tier in TIERS}
        self.signals = sorted(signals, key=lambda s: (s.composite + 2 * bool(s.reads & Fact.RISKS), s.id))
        self.by_id = {signal.id: signal for signal in self.signals}
        self.rank = {signal.id: index for index, signal in enumerate(self.signals)}
        self.by_tier = {tier: {signal.id: signal.parameters(tier) for signal in signals} for tier in TIERS}
        self.guard = {"accounts_min": MIN_ACCOUNTS, "share": SHARE, **self.by_tier["low"].get(USAGE_DROP, {})}
        self.portfolio_scope = tuple(s for s in self.signals if s.scope == "portfolio")
        self._of_accounts = tuple(s for s in self.signals if s.scope != "portfolio")
        self.account_scope = tuple(s for s in self._of_accounts if s.scope != "user")
        self.choosy = tuple((1 << self.rank[s.id], s.where) for s in self.account_scope if s.where is not None)
        self.user_ranks = self._ranks(s for s in self.signals if s.scope == "user")
        self.risk_ranks = self._ranks(s for s in self.signals if s.reads & Fact.RISKS)
        self._by_facts: dict[int, tuple[int, int, int]] = {}

    def _ranks(self, signals: Iterable[Signal]) -> int:
        return sum(1 << self.rank[signal.id] for signal in signals)

    def reading(self, facts: int) -> tuple[int, int, int]:
        """The signals that have to look at a change of any of these facts: always, while open, and while closed and without
        a deadline. Sets of ranks, as bits: bit n is the signal of rank n."""
        found = self._by_facts.get(facts)
        if found is None:
            always = self._ranks(s for s in self._of_accounts if s.reads & facts)
            # Of a user's signals it is seen user by user what is open.
            always |= self._ranks(s for s in self._of_accounts if s.scope == "user" and (s.reads_open | s.arms) & facts)
            found = self._by_facts[facts] = (
                always,
                self._ranks(s for s in self.account_scope if s.reads_open & facts),
                self._ranks(s for s in self.account_scope if s.arms & facts),
            )
        return found
