"""One account through time: deadlines up to an event are judged, the event is applied, what it changed is judged again.

The meaning is "as if every signal were judged after every event and at every instant". What is skipped here cannot
have changed: a signal is judged when a fact that it reads changed, when a deadline that it named has come, and at
midnights if it reads days.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from schemas.envelope import Event
from schemas.signals import Severity, Transition, TransitionType
from services.signals.core import transitions
from services.signals.core.apply import HANDLERS, Records
from services.signals.core.days import DAY_US, NEVER, day_of
from services.signals.core.episodes import Episode, Past, episode_id
from services.signals.core.records import User
from services.signals.core.signal import (
    FACT_NAMES,
    SEVERITY_RANK,
    Catalogue,
    Context,
    Fact,
    Finding,
    Signal,
    never_due,
)
from services.signals.core.state import OPENINGS_KEPT_US, Account, OpenSubject
from services.signals.core.windows import UNCHANGING

Emit = Callable[[Account, str, Transition], None]
LOW_ADOPTION = 0.5
BUT_DAYS = sum(FACT_NAMES) & ~(Fact.DAY | Fact.LATE_USAGE)
"""Everything but what is judged at midnights and late events only."""


class Engine:
    """Judges accounts by a catalogue. Holds no state of its own; `emit` receives each transition as it happens."""

    def __init__(self, catalogue: Catalogue, records: Records, emit: Emit) -> None:
        self.catalogue = catalogue
        self.records = records
        self.emit = emit
        self.historical = False
        self.historical_until = 0  # a change at or before this instant belongs to a replay, however late it is judged
        self._risks_changed = False

    def advance(self, account: Account, to: int) -> None:
        """Move the account clock to `to` (µs), judging every midnight and deadline up to and including it, in order."""
        hot = account.hot
        while (due := account.next_due()) <= to:
            now = max(due, hot.clock)
            day = day_of(now)
            midnight = now == day * DAY_US and day > account.windows.today
            users = [] if hot.churned else self._due_users(account, now)
            if midnight:
                self._roll(account, day)
            else:
                self._shift(account, day)
            hot.clock = now
            self.judge(account, Fact.DAY if midnight else 0, users=users, midnight=midnight, due=True)
        if to > hot.clock:
            self._shift(account, day_of(to))
            hot.clock = to

    def apply(self, account: Account, event: Event, at: int) -> None:
        """Apply one event at its time `at` (µs) to an account that has been advanced to it, and judge what it changed."""
        hot = account.hot
        late = at < hot.clock
        if hot.first_event < 0 or at < hot.first_event:
            hot.first_event = at
        hot.erased = False
        hot.roll_day = account.windows.today + 1
        was_churned = hot.churned
        handler = HANDLERS.get(event.type)
        facts = handler(account, event, at, self.records) if handler is not None else 0
        touched = [getattr(event.data, "user", None) or ""] if facts & (Fact.USER | Fact.SURVEY) else []
        if hot.churned:
            if event.type == "account.churned":
                self.clear_all(account, "churned")
            self._await_return(account, touched)
        elif was_churned:
            self.judge(account, BUT_DAYS, users=self._due_users(account, hot.clock), late=late, due=True)
        elif facts:
            self.judge(account, facts, users=touched, late=late)

    def _await_return(self, account: Account, users: list[str]) -> None:
        """Nothing is judged while an account is churned: these users are due at once when it renews."""
        context = Context(account, self.catalogue, account.hot.clock)
        for signal in self.catalogue.signals:
            if signal.scope == "user":
                for user_id in users:
                    self._aim(context, signal, user_id)
                    self._set_due(context, signal, context.now)

    def clear_all(self, account: Account, because: str) -> None:
        """End every open episode at the account clock: the account churned or was erased."""
        context = Context(account, self.catalogue, account.hot.clock)
        open_before = list(account.hot.user_episodes.values())
        for signal in self.catalogue.signals:
            subjects = [entry.user for entry in account.hot.user_episodes.values() if entry.signal == signal.id]
            for user_id in sorted(subjects) if signal.scope == "user" else [""]:
                context.p = self.catalogue.by_tier[account.hot.profile.tier][signal.id]
                self._aim(context, signal, user_id)
                if context.episode is not None:
                    self._clear(context, signal, because)
        account.hot.due = {}
        if because == "churned":
            self._await_return(account, sorted({entry.user for entry in open_before}))

    def judge(
        self,
        account: Account,
        facts: int,
        *,
        users: list[str],
        late: bool = False,
        midnight: bool = False,
        due: bool = False,
    ) -> None:
        """Judge every signal that reads one of `facts`, and, with `due`, those whose deadline has come.

        `users` are the subjects of user-scope signals. `late` marks a change made by an event before the account clock.
        """
        hot = account.hot
        if hot.churned:
            hot.due = {}
            return
        now = hot.clock
        context = Context(account, self.catalogue, now)
        context.midnight = midnight
        parameters = self.catalogue.by_tier[hot.profile.tier]
        waiting = hot.due
        self._risks_changed = False
        for signal in self._to_judge(account, facts, due and bool(users or waiting)):
            if signal.scope == "user":
                context.p = parameters[signal.id]
                for user_id in users:
                    self._aim(context, signal, user_id)
                    self._judge_one(context, signal, late)
            elif (
                signal.reads & facts
                or (due and 0 < waiting.get(signal.id, 0) <= now)
                or (self._risks_changed and signal.reads & Fact.RISKS)
            ):
                context.p = parameters[signal.id]
                context.user, context.user_id = None, ""
                context.episode = hot.episodes.get(signal.id)
                self._judge_one(context, signal, late)

    def _to_judge(self, account: Account, facts: int, everything: bool) -> list[Signal]:
        """The signals that may have something to say, in judging order. Readers of risks are always among them."""
        return self.catalogue.signals if everything else self.catalogue.reading(facts | Fact.RISKS)

    def _judge_one(self, context: Context, signal: Signal, late: bool) -> None:
        today = context.today
        wake = 0
        ended = False
        if context.episode is None:
            finding = signal.raises(context)
            past = self._past(context, signal) if finding is not None or signal.once else None
            ended = signal.once and past is not None and past.ordinal > 0
            if finding is not None and past is not None and not ended:
                if past.cleared_day == today:
                    wake = (today + 1) * DAY_US  # a signal that cleared is not raised again before the next day roll
                else:
                    self._raise(context, signal, finding, past)
        else:
            signal.observe(context)
            because = signal.clears(context)
            if because is not None:
                self._clear(context, signal, "late_event" if late else because)
                ended = signal.once
                wake = 0 if ended else (today + 1) * DAY_US
            else:
                worse = signal.escalates(context)
                if worse is not None:
                    self._escalate(context, signal, worse)
        named = 0 if ended or signal.due is never_due else signal.due(context)
        if named <= context.now:
            named = 0
        self._set_due(context, signal, min(named or NEVER, wake or NEVER))

    def _aim(self, context: Context, signal: Signal, user_id: str) -> None:
        context.user_id = user_id
        if signal.scope == "user":
            user = self.records.user(context.account, user_id)
            context.user = user
            context.episode = user.episodes.get(signal.id)
        else:
            context.user = None
            context.episode = context.account.hot.episodes.get(signal.id)

    @staticmethod
    def _past(context: Context, signal: Signal) -> Past:
        past = (context.account.hot.past if context.user is None else context.user.past).get(signal.id)
        return past or Past()

    @staticmethod
    def _set_due(context: Context, signal: Signal, due: int) -> None:
        account, user = context.account, context.user
        table = account.hot.due if user is None else user.due
        before = table.get(signal.id, 0)
        if due in (0, NEVER):
            table.pop(signal.id, None)
            due = 0
        else:
            table[signal.id] = due
        if user is not None and due != before:  # the queue holds a user's earliest deadline only
            account.note_user_due(context.user_id, user)

    def _raise(self, context: Context, signal: Signal, finding: Finding, past: Past) -> None:
        account, user = context.account, context.user
        hot = account.hot
        ordinal = past.ordinal + 1
        identity = episode_id(account.id, hot.generation, signal.id, context.user_id, ordinal)
        opened = finding.opened_at or context.now
        episode = Episode(identity, ordinal, opened, finding.severity, finding.level, 1, dict(finding.frozen))
        context.episode = episode
        if user is None:
            hot.episodes[signal.id] = episode
            hot.past[signal.id] = Past(ordinal, past.cleared_day)
        else:
            user.episodes = {**user.episodes, signal.id: episode}
            user.past = {**user.past, signal.id: Past(ordinal, past.cleared_day)}
            hot.user_episodes[identity] = OpenSubject(signal.id, context.user_id, finding.severity)
        self._emit(context, signal, "signal.raised", finding.severity, None, None)

    def _escalate(self, context: Context, signal: Signal, worse: Finding) -> None:
        episode = context.open
        previous: Severity = episode.severity  # type: ignore[assignment]  # stored as text, written by _raise only
        severity = worse.severity if SEVERITY_RANK[worse.severity] > SEVERITY_RANK[previous] else previous
        episode.severity, episode.level = severity, worse.level
        episode.changes += 1
        if context.user is not None:
            context.account.hot.user_episodes[episode.episode_id].severity = severity
        self._emit(context, signal, "signal.escalated", severity, previous, None)

    def _clear(self, context: Context, signal: Signal, because: str) -> None:
        hot, user, episode = context.account.hot, context.user, context.open
        episode.changes += 1
        self._emit(context, signal, "signal.cleared", episode.severity, None, because)  # type: ignore[arg-type]
        past = Past(episode.ordinal, context.today)
        if user is None:
            del hot.episodes[signal.id]
            hot.past[signal.id] = past
        else:
            user.episodes = {key: value for key, value in user.episodes.items() if key != signal.id}
            user.past = {**user.past, signal.id: past}
            hot.user_episodes.pop(episode.episode_id, None)
        context.episode = None

    def _emit(
        self,
        context: Context,
        signal: Signal,
        what: TransitionType,
        severity: Severity,
        previous: Severity | None,
        because: str | None,
    ) -> None:
        reason, evidence = signal.describe(context)
        if because is not None:
            reason = f"Cleared, {transitions.CLEARED_WORDS[because]}. {reason}"
        topic, change = transitions.transition(
            context.account,
            signal,
            context.open,
            what=what,
            user=context.user_id if context.user is not None else "",
            now=context.now,
            severity=severity,
            previous=previous,
            reason=reason,
            evidence=evidence,
            because=because,
            historical=self.historical or context.now <= self.historical_until,
            catalogue=self.catalogue.digest,
        )
        context.account.health_urgent = True
        self._risks_changed = True
        self.emit(context.account, topic, change)

    def _due_users(self, account: Account, now: int) -> list[str]:
        """Users whose deadline has come, each once, in order of their ids. Stale queue entries are dropped."""
        due: set[str] = set()
        heap = account.user_heap
        while heap and heap[0][0] <= now:
            _, user_id = heapq.heappop(heap)
            user: User = self.records.user(account, user_id)
            if 0 < user.next_due() <= now:
                due.add(user_id)
            else:
                account.note_user_due(user_id, user)
        return sorted(due)

    def _roll(self, account: Account, day: int) -> None:
        """Midnight at the start of `day`: the ended day is complete, windows move on, and it is settled whether the
        next midnight can change anything."""
        hot = account.hot
        seats = hot.profile.seats
        if seats and hot.activity.in_28 / seats < LOW_ADOPTION:
            if hot.low_adoption_since < 0:
                hot.low_adoption_since = account.windows.today
        else:
            hot.low_adoption_since = -1
        self._shift(account, day)
        horizon = day * DAY_US - OPENINGS_KEPT_US
        if hot.openings and hot.openings[0][0] <= horizon:
            hot.openings = [entry for entry in hot.openings if entry[0] > horizon]
        share_is_low = bool(seats) and hot.activity.in_28 / seats < LOW_ADOPTION
        if share_is_low != (hot.low_adoption_since >= 0):
            hot.roll_day = day + 1  # the run of low days starts or ends with this one
        else:
            hot.roll_day = day + min(account.windows.next_change(), hot.activity.next_change() or UNCHANGING)
        account.health_urgent = True

    @staticmethod
    def _shift(account: Account, day: int) -> None:
        if day > account.windows.today:
            account.windows.advance(day)
            account.hot.activity.advance(day)
            account.hot.windows_today = day
