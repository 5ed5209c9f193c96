"""One account through time: deadlines up to an event are judged, the event is applied, what it changed is judged again.

The meaning is "as if every signal were judged after every event and at every instant". What is skipped here cannot
have changed: a signal is judged when a fact that it reads changed, when a deadline that it named has come, and at
midnights if it reads days.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from schemas.envelope import Event
from schemas.signals import Action, Severity, Transition, TransitionType
from services.signals.core import transitions
from services.signals.core.activity import LOW_ADOPTION
from services.signals.core.apply import HANDLERS, Records
from services.signals.core.components import COMPONENTS
from services.signals.core.days import DAY_US, NEVER, day_of
from services.signals.core.dossier import MAX_SUBJECTS
from services.signals.core.episodes import Episode, Past, episode_id
from services.signals.core.portfolio import AWAITED_US, awaited_until
from services.signals.core.records import User
from services.signals.core.score import band_of, score
from services.signals.core.scores import settle
from services.signals.core.signal import (
    FACT_NAMES,
    SEVERITY_RANK,
    Catalogue,
    Context,
    Fact,
    Finding,
    Signal,
    never_due,
    nothing,
)
from services.signals.core.state import OPENINGS_KEPT_US, Account, OpenSubject
from services.signals.core.troubles import Trouble, remember
from services.signals.core.world import World

Emit = Callable[[Account, str, Transition], None]
ALL_FACTS = sum(FACT_NAMES)
USAGE = "usage"
USAGE_FACTS = Fact.USAGE | Fact.LATE_USAGE
"""What windows are judged by at midnights and late events only."""
SCORED_AT_ONCE = (
    Fact.TICKETS
    | Fact.INVOICES
    | Fact.PROFILE
    | Fact.CONTACTS
    | Fact.SURVEY
    | Fact.SURVEYS
    | Fact.TOUCH
    | Fact.SUBSCRIPTIONS
    | Fact.CONTRACT
    | Fact.LEARNING
    | Fact.ADVOCACY
    | Fact.COMPLAINTS
    | Fact.MAIL
    | Fact.LATE_USAGE
)
"""What changes the health score at once; usage on the running day is scored when the day ends."""
BANDS_KEPT = 12
SUMS = ("usage", "health")
"""Families that say how usage or the account as a whole goes, not what happened to it."""
SUBJECT_FACTS = Fact.USER | Fact.LOGIN | Fact.SURVEY
NOBODY: tuple[str, ...] = ()
NO_PAST = Past()


def _gone(name: str, *, of_users: bool, of_subjects: bool) -> Signal:
    """What stands for a signal that the catalogue does not have any more, so that what it left open can end."""
    return Signal(
        id=name,
        version=0,
        title=name,
        kind="risk",
        family=name.partition(".")[0],
        scope="user" if of_users else "account",
        severity="",
        pages=False,
        meaning="",
        source="",
        reads=0,
        inputs=(),
        action=Action(title="Nothing to do: it is not judged any more", owner="csm", playbook=name, runbook=name),
        thresholds={},
        raises=nothing,
        clears=nothing,
        describe=lambda _: (f"The catalogue has no signal {name} any more.", []),
        subjects=(lambda _: NOBODY) if of_subjects else None,
    )


class Engine:
    """Judges accounts by a catalogue. Holds no state of its own; `emit` receives each transition as it happens.

    With `naive` nothing is skipped: every signal is judged after every event and at every midnight. It is what the
    skipping is held against.
    """

    def __init__(self, catalogue: Catalogue, records: Records, emit: Emit) -> None:
        self.catalogue = catalogue
        self._notes = catalogue.notes
        self.records = records
        self.emit = emit
        self.naive = False
        self.historical = False
        self.historical_until = 0  # a change at or before this instant belongs to a replay, however late it is judged
        self.world = World()
        self._risks_changed = False

    def advance(self, account: Account, to: int) -> None:
        """Move the account clock to `to` (µs), judging every deadline up to and including it, in order."""
        hot = account.hot
        while (due := min(account.wake, account.tomorrow) if self.naive else account.wake) <= to:
            now = max(due, hot.clock)
            midnight = now >= account.tomorrow and now % DAY_US == 0
            users = NOBODY if hot.churned else self._due_users(account, now)
            self._shift(account, day_of(now))
            hot.clock = now
            facts = ALL_FACTS if self.naive and midnight else 0
            if 0 < hot.score_due <= now or (self.naive and midnight):
                facts |= self._score(account, day_ends=midnight)
            self.judge(account, facts, users=users, midnight=midnight, due=True)
            if now == hot.armed:
                # Most of what `arm` named is gone, and a dict never gives room back: 4 kB an account.
                hot.due = dict(hot.due)
            account.wake = account.next_due()
        if to > hot.clock:
            if to >= account.tomorrow:
                self._shift(account, day_of(to))
            hot.clock = to

    def apply(self, account: Account, event: Event, at: int) -> None:
        """Apply one event at its time `at` (µs) to an account that has been advanced to it, and judge what it changed."""
        hot = account.hot
        if hot.first_event < 0 or at < hot.first_event:
            hot.first_event = at
            hot.erased = False
            self.arm(account)
        known = HANDLERS.get(event.__class__)
        if known is None:
            return
        handler, bit = known
        hot.seen |= bit
        was_churned = hot.churned
        counted = 0
        if self._notes and (note := self._notes.get(event.__class__)) is not None:
            counted = note(account, event, at)
        facts = handler(account, event, at, self.records) | counted
        subject = facts & SUBJECT_FACTS
        if was_churned or hot.churned:
            self._apply_churned(account, event, facts, at < hot.clock)
            return
        account.unscored |= facts
        if facts & Fact.PROFILE:
            account.ranks_known = False  # other signals may apply to it now
        if facts & SCORED_AT_ONCE:
            facts |= self._score(account)
        elif facts and not 0 < hot.score_due <= account.tomorrow:
            hot.score_due = account.tomorrow
            account.wake = min(account.wake, account.tomorrow)
        if self.naive:
            facts |= ALL_FACTS & ~(Fact.TIER | Fact.SCORE | USAGE_FACTS)
        if facts and (self._called(account, facts) or facts & Fact.TIER):
            users = (event.data.user or "",) if subject else NOBODY
            self.judge(account, facts, users=users, late=at < hot.clock)
            if facts & Fact.TIER:
                self.arm(account)

    def hear(self, account: Account, at: int, facts: int) -> None:
        """Judge what a broadcast of time `at` (µs) changed for this account."""
        if account.hot.first_event < 0 and not account.portfolio:
            return
        self.advance(account, at)
        # What was measured at a midnight is known as its day is judged.
        midnight = bool(facts & Fact.PORTFOLIO) and at == account.hot.clock and at % DAY_US == 0
        self.judge(account, facts, users=NOBODY, midnight=midnight)

    def _apply_churned(self, account: Account, event: Event, facts: int, late: bool) -> None:
        """Where the account is churned, or was until this event."""
        account.parts = []
        users = (event.data.user or "",) if facts & SUBJECT_FACTS else NOBODY
        if account.hot.churned:
            if event.type == "account.churned":
                self.clear_all(account, "churned")
            self._await_return(account, users)
        else:
            due = self._due_users(account, account.hot.clock)
            # Told late, the midnight has passed at which windows would have been judged, as with a late use.
            judged = ALL_FACTS & ~USAGE_FACTS | (Fact.LATE_USAGE if late else 0)
            self.judge(account, judged, users=due, late=late, due=True)
            self.arm(account)

    def _score(self, account: Account, *, day_ends: bool = False) -> int:
        """Score the account anew at its clock. The facts that changed. With `day_ends` the day before ended with this score."""
        hot = account.hot
        if hot.churned:
            hot.score_due = 0
            return 0
        now = hot.clock
        today = day_of(now)
        if self.naive:
            account.parts = []
        new = score(account, now, COMPONENTS, self.catalogue.score_weights[hot.profile.tier])
        hot.score_due = new.rests_until if now < new.rests_until < NEVER else 0
        if hot.score_due:
            account.wake = min(account.wake, hot.score_due)
        settle(hot, today - 2 if day_ends else today - 1)
        before, band = (hot.score, hot.coverage), hot.band
        hot.score, hot.coverage = new.points, new.coverage
        hot.band = band_of(hot.score, band) if new.tenths >= 0 else ""
        settle(hot, today - 1)
        if hot.band != band:
            account.health_urgent = True
            bands = account.change_dossier().bands
            bands.append((now, hot.band))
            del bands[:-BANDS_KEPT]
        elif (hot.score, hot.coverage) == before:
            return 0
        return Fact.SCORE

    def arm(self, account: Account) -> None:
        """Let every signal with deadlines name its own again, at the next midnight: thresholds or rules are others now."""
        hot = account.hot
        if hot.catalogue != self.catalogue.digest:
            hot.catalogue = self.catalogue.digest
            hot.due = {}  # ranks of another catalogue
        account.ranks_known = False
        soon = hot.armed = account.tomorrow
        if not hot.score_due and not hot.churned:
            hot.score_due = soon
        for signal in self.catalogue.portfolio_scope if account.portfolio else self.catalogue.account_scope:
            if signal.due is not never_due and (signal.where is None or signal.where(account)):
                rank = self.catalogue.rank[signal.id]
                hot.due[rank] = min(hot.due.get(rank, soon), soon)
        account.wake = min(account.wake, soon)

    def _await_return(self, account: Account, users: Sequence[str]) -> None:
        """Nothing is judged while an account is churned: these users are due at once when it renews."""
        context = Context(account, self.catalogue, account.hot.clock, world=self.world)
        for signal in self.catalogue.signals:
            if signal.scope == "user":
                for user_id in users:
                    self._aim(context, signal, user_id)
                    self._set_due(context, signal, context.now)

    def clear_all(self, account: Account, because: str) -> None:
        """End every open episode at the account clock: the account churned or was erased."""
        self._end_strays(account)
        context = Context(account, self.catalogue, account.hot.clock, world=self.world)
        open_before = list(account.hot.user_episodes.values())
        for signal in self.catalogue.signals:
            entries = [entry for entry in account.hot.user_episodes.values() if entry.signal == signal.id]
            single = signal.scope != "user" and signal.subjects is None
            for subject in [""] if single else sorted(entry.user or entry.about for entry in entries):
                context.p = self.catalogue.by_tier[account.hot.profile.tier][signal.id]
                self._aim(context, signal, subject)
                if context.episode is not None:
                    self._clear(context, signal, because)
        account.hot.due = {}
        account.ranks_known = False
        if because == "churned":
            self._await_return(account, sorted({entry.user for entry in open_before if not entry.about}))

    def _end_strays(self, account: Account) -> bool:
        """End the episodes of signals that are not judged any more: switched off, or gone from the catalogue. Whether there
        were any.

        Of one that is gone it is said what its episode still knows; where that was not kept yet, the account's health lists
        it no more.
        """
        hot, known = account.hot, self.catalogue.by_id
        entries = hot.user_episodes
        strays = {name for name in hot.episodes if name not in known}
        strays.update(entry.signal for entry in entries.values() if entry.signal not in known)
        context = Context(account, self.catalogue, hot.clock, world=self.world)
        for name in sorted(strays):
            off = self.catalogue.off.get(name)
            of = sorted((entry.user, entry.about) for entry in entries.values() if entry.signal == name)
            for user, about in of or [("", "")]:
                signal = off or _gone(name, of_users=bool(user), of_subjects=bool(about))
                self._aim(context, signal, user or about)
                episode = context.episode
                if episode is None:
                    continue
                if off is None and episode.kind:
                    signal = replace(signal, kind=episode.kind, version=episode.version, pages=episode.pages)
                context.p = signal.parameters(hot.profile.tier)
                self._clear(context, signal, "switched_off", said=off is not None or episode.kind != "")
            for key in [key for key, entry in entries.items() if entry.signal == name]:
                del entries[key]
            account.health_urgent = True
        return bool(strays)

    def judge(
        self,
        account: Account,
        facts: int,
        *,
        users: Sequence[str],
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
            account.ranks_known = False
            return
        if account.portfolio:
            self._judge_portfolio(account)
            return
        now = hot.clock
        waiting = hot.due
        catalogue = self.catalogue
        signals = catalogue.signals
        if due and now == hot.armed and (hot.episodes or hot.user_episodes) and self._end_strays(account):
            facts |= Fact.RISKS
        called = self._called(account, facts)
        if due:
            for rank, at in waiting.items():
                if at <= now:
                    called |= 1 << rank  # type: ignore[operator]  # `arm` saw to it that these are ranks
            if users:
                called |= catalogue.user_ranks
        if not users:
            called &= ~catalogue.user_ranks
        self._risks_changed = False
        if not called:
            return
        context = Context(account, catalogue, now, midnight=midnight, world=self.world)
        parameters = catalogue.by_tier[hot.profile.tier]
        risk_readers = called & catalogue.risk_ranks
        called ^= risk_readers
        while called:
            rank = (called & -called).bit_length() - 1
            called &= called - 1
            signal = signals[rank]
            if signal.scope == "user":
                for user_id in users:
                    self._judge_user(context, signal, user_id, parameters, facts, late, due)
            else:
                self._judge_account(context, signal, parameters, waiting.get(rank, 0), late)
        if self._risks_changed:
            risk_readers |= self._called(account, facts | Fact.RISKS) & catalogue.risk_ranks
        while risk_readers:
            rank = (risk_readers & -risk_readers).bit_length() - 1
            risk_readers &= risk_readers - 1
            self._judge_account(context, signals[rank], parameters, waiting.get(rank, 0), late)

    def _called(self, account: Account, facts: int) -> int:
        """The signals that a change of these facts calls for as the account stands, by rank, as bits."""
        always, while_open, while_resting = self.catalogue.reading(facts)
        if not account.ranks_known:
            self._learn_ranks(account)
        called = always | while_open & account.open_ranks | while_resting & account.resting_ranks
        return called if facts & Fact.PROFILE else called & ~account.idle_ranks

    def _learn_ranks(self, account: Account) -> None:
        hot, rank = account.hot, self.catalogue.rank
        opened = idle = named = 0
        for name in hot.episodes:
            if name in rank:
                opened |= 1 << rank[name]
        for place, at in hot.due.items():
            if at != hot.armed:  # a deadline that `arm` named is nothing to rest on
                named |= 1 << place  # type: ignore[operator]  # `arm` saw to it that these are ranks
        for bit, where in self.catalogue.choosy:
            if not opened & bit and not where(account):
                idle |= bit
        account.open_ranks, account.resting_ranks, account.idle_ranks = opened, ~(opened | named), idle
        account.ranks_known = True

    def _judge_portfolio(self, account: Account) -> None:
        """Judge the signals of the portfolio, all of them: they are few, and rarely asked for."""
        context = Context(account, self.catalogue, account.hot.clock, world=self.world)
        parameters = self.catalogue.by_tier[account.hot.profile.tier]
        for signal in self.catalogue.portfolio_scope:
            named = account.hot.due.get(self.catalogue.rank[signal.id], 0)
            self._judge_account(context, signal, parameters, named, late=False)

    def _judge_user(
        self,
        context: Context,
        signal: Signal,
        user_id: str,
        parameters: Mapping[str, Any],
        facts: int,
        late: bool,
        due: bool,
    ) -> None:
        """Judge a signal of user scope for one user if one of `facts` calls for it, or with `due` in any case."""
        self._aim(context, signal, user_id)
        open_or_not = signal.reads_open if context.episode is not None else signal.arms
        if due or (signal.reads | open_or_not) & facts:
            context.p = parameters[signal.id]
            named = 0 if context.user is None else context.user.due.get(signal.id, 0)
            self._set_due(context, signal, self._judge_in_time(context, signal, named, late))

    def _judge_account(
        self, context: Context, signal: Signal, parameters: Mapping[str, Any], named: int, late: bool
    ) -> None:
        """Judge a signal of account scope, whose deadline was `named` (0 for none)."""
        episode = context.account.hot.episodes.get(signal.id)
        if episode is None and signal.where is not None and not self.naive and not signal.where(context.account):
            if named:
                self._aim(context, signal, "")
                self._set_due(context, signal, 0)
            return
        context.p = parameters[signal.id]
        context.user, context.user_id, context.subject = None, "", ""
        if signal.subjects is None:
            context.episode = episode
            self._set_due(context, signal, self._judge_in_time(context, signal, named, late))
        else:
            self._judge_subjects(context, signal, signal.subjects, named, late)

    def _judge_in_time(self, context: Context, signal: Signal, named: int, late: bool) -> int:
        """Judge what the context is aimed at, whose deadline was `named` (0 for none): at once, or when the portfolio's measure
        of the day that ended is there, an hour after the midnight at the latest. The next deadline, or NEVER."""
        guarded = signal.explained is not None
        is_open = context.episode is not None
        asks = signal.worse_explained is not None if is_open else guarded or USAGE in signal.held_by
        if not asks:
            return self._judge_one(context, signal, late)
        last = context.now - context.now % DAY_US
        if named != last + AWAITED_US:
            return self._judge_one(context, signal, late, waits=context.midnight or (guarded and late))
        if context.now < named:
            # An open episode may end meanwhile; whether it got worse is judged as of the midnight, when that is known.
            return min(named, self._judge_one(context, signal, late, waits=True, known_at=last)) if is_open else named
        # It waited for the portfolio's measure: the decision is that of the midnight.
        now, midnight = context.now, context.midnight
        context.now, context.midnight = last, True
        due_at = self._judge_one(context, signal, late, known_at=now)
        context.now, context.midnight = now, midnight
        if due_at <= now:  # nothing waited: this very instant is a deadline of its own
            due_at = self._judge_one(context, signal, late)
        return due_at

    def _judge_subjects(
        self,
        context: Context,
        signal: Signal,
        subjects: Callable[[Context], Iterable[str]],
        named: int,
        late: bool,
    ) -> None:
        """Judge a signal on each of its subjects; its deadline is the earliest of theirs. While one of them waits for the
        portfolio's measure, those that are not open wait with it."""
        account = context.account
        dossier = account.dossier
        known = dossier.past.get(signal.id, {})
        context.episode = None
        names = {*subjects(context), *dossier.episodes.get(signal.id, ())}
        earliest = NEVER
        for name in sorted(names):
            if name not in known and len(known) >= MAX_SUBJECTS:
                account.hot.over_cap += 1
                continue
            self._aim(context, signal, name)
            earliest = min(earliest, self._judge_in_time(context, signal, named, late))
        context.subject, context.episode = "", None
        self._set_due(context, signal, earliest)

    def _judge_one(
        self, context: Context, signal: Signal, late: bool, *, waits: bool = False, known_at: int = 0
    ) -> int:
        """Open, escalate or clear; the next instant at which time alone may change it, or NEVER.

        With `waits` it is not opened, nor escalated, before the last day's measure is known, or an hour has passed since
        midnight.
        `known_at` is given where the decision has waited: what was said by then counts.
        """
        today = context.today
        wake = 0
        ended = False
        context.known_at = known_at or context.now
        if context.episode is None:
            finding = signal.raises(context)
            if finding is not None and (wake := self._held(context, signal, waits)):
                finding = None
            past = self._past(context, signal) if finding is not None or signal.once else None
            ended = signal.once and past is not None and past.ordinal > 0
            if finding is not None and past is not None and not ended:
                if past.cleared_day == today:
                    wake = (today + 1) * DAY_US  # a signal that cleared is not raised again before the next day roll
                else:
                    self._raise(context, signal, finding, past)
        else:
            if signal.observe is not nothing:
                signal.observe(context)
                if signal.subjects is not None:
                    context.account.change_dossier()
            because = signal.clears(context)
            if because is not None:
                self._clear(context, signal, "late_event" if late else because)
                ended = signal.once
                wake = 0 if ended else (today + 1) * DAY_US
            else:
                worse = signal.escalates(context)
                if worse is not None and not (wake := self._held(context, signal, waits)):
                    self._escalate(context, signal, worse)
        named = 0 if ended or signal.due is never_due else signal.due(context)
        if named <= context.now:
            named = 0
        return min(named or NEVER, wake or NEVER)

    def _held(self, context: Context, signal: Signal, waits: bool) -> int:
        """When to look again at a condition that holds and is not this account's doing, or not known to be; 0 if it is."""
        known_at, tomorrow = context.known_at, (context.today + 1) * DAY_US
        if self._in_a_hole(context, signal, known_at):
            return tomorrow
        if waits and self.world.measure(known_at) is None and known_at < (awaited := awaited_until(known_at)):
            return awaited
        explained = signal.explained if context.episode is None else signal.worse_explained
        return tomorrow if explained is not None and explained(context) else 0

    def _in_a_hole(self, context: Context, signal: Signal, known_at: int) -> bool:
        """Whether a source that feeds the account is stale, or was within a window that the signal looks at, or was late
        as yesterday ended."""
        if not signal.held_by:
            return False
        hot, days = context.account.hot, signal.hole_days
        if self.world.late(hot.fed, signal.held_by, known_at):
            return True
        if not self.world.holes:
            return False
        days = int(context.p[days]) if isinstance(days, str) else days
        return self.world.held(hot.fed, hot.first_event, signal.held_by, days, context.now)

    def _aim(self, context: Context, signal: Signal, subject: str) -> None:
        """Point the context at a user, or at what the account's episode is about."""
        context.user, context.user_id, context.subject = None, "", ""
        if signal.scope == "user":
            context.user_id = subject
            user = context.user = self.records.user(context.account, subject)
            context.episode = user.episodes.get(signal.id)
        elif signal.subjects is not None:
            context.subject = subject
            context.episode = context.account.dossier.episodes.get(signal.id, {}).get(subject)
        else:
            context.episode = context.account.hot.episodes.get(signal.id)

    @staticmethod
    def _past(context: Context, signal: Signal) -> Past:
        if signal.subjects is not None:
            past = context.account.dossier.past.get(signal.id, {}).get(context.subject)
        else:
            past = (context.account.hot.past if context.user is None else context.user.past).get(signal.id)
        return past or NO_PAST

    def _set_due(self, context: Context, signal: Signal, due: int) -> None:
        account, user = context.account, context.user
        if due == NEVER:
            due = 0
        if user is not None:
            before = user.due.pop(signal.id, 0)
            if due:
                user.due[signal.id] = due
            if due != before:  # the queue holds a user's earliest deadline only
                self.records.changed(account, context.user_id)
                account.note_user_due(context.user_id, user)
            return
        table, rank = account.hot.due, self.catalogue.rank[signal.id]
        before = table.get(rank, 0)
        if due == before:
            return
        if due:
            table[rank] = due
        else:
            del table[rank]
        account.wake = min(account.wake, due or NEVER)
        if not (before and due) or before == account.hot.armed:
            account.ranks_known = False

    def _raise(self, context: Context, signal: Signal, finding: Finding, past: Past) -> None:
        account, user = context.account, context.user
        hot = account.hot
        ordinal = past.ordinal + 1
        identity = episode_id(account.id, hot.generation, signal.id, context.user_id or context.subject, ordinal)
        opened = finding.opened_at or context.now
        episode = Episode(
            identity,
            ordinal,
            opened,
            finding.severity,
            finding.level,
            1,
            dict(finding.frozen),
            signal.kind,
            signal.version,
            signal.pages,
        )
        context.episode = episode
        if signal.subjects is not None:
            dossier = account.change_dossier()
            dossier.episodes.setdefault(signal.id, {})[context.subject] = episode
            dossier.past.setdefault(signal.id, {})[context.subject] = Past(ordinal, past.cleared_day)
            hot.user_episodes[identity] = OpenSubject(signal.id, "", finding.severity, context.subject, opened)
        elif user is None:
            hot.episodes[signal.id] = episode
            hot.past[signal.id] = Past(ordinal, past.cleared_day)
        else:
            user.episodes = {**user.episodes, signal.id: episode}
            user.past = {**user.past, signal.id: Past(ordinal, past.cleared_day)}
            self.records.changed(account, context.user_id)
            hot.user_episodes[identity] = OpenSubject(signal.id, context.user_id, finding.severity, "", opened)
        self._emit(context, signal, "signal.raised", finding.severity, None, None)

    def _escalate(self, context: Context, signal: Signal, worse: Finding) -> None:
        episode = context.open
        previous: Severity = episode.severity  # type: ignore[assignment]  # stored as text, written by _raise only
        severity = worse.severity if SEVERITY_RANK[worse.severity] > SEVERITY_RANK[previous] else previous
        episode.severity, episode.level = severity, worse.level
        episode.changes += 1
        if signal.subjects is not None:
            context.account.change_dossier()
            context.account.hot.user_episodes[episode.episode_id].severity = severity
        elif context.user is not None:
            context.account.hot.user_episodes[episode.episode_id].severity = severity
            self.records.changed(context.account, context.user_id)
        self._emit(context, signal, "signal.escalated", severity, previous, None)

    def _clear(self, context: Context, signal: Signal, because: str, *, said: bool = True) -> None:
        hot, user, episode = context.account.hot, context.user, context.open
        episode.changes += 1
        if said:
            self._emit(context, signal, "signal.cleared", episode.severity, None, because)  # type: ignore[arg-type]
        past = Past(episode.ordinal, context.today)
        if episode.severity == "critical" and because == "recovered":
            self._remember_trouble(context, signal, episode)
        if signal.subjects is not None:
            dossier = context.account.change_dossier()
            del dossier.episodes[signal.id][context.subject]
            dossier.past[signal.id][context.subject] = past
            hot.user_episodes.pop(episode.episode_id, None)
        elif user is None:
            del hot.episodes[signal.id]
            hot.past[signal.id] = past
        else:
            user.episodes = {key: value for key, value in user.episodes.items() if key != signal.id}
            user.past = {**user.past, signal.id: past}
            self.records.changed(context.account, context.user_id)
            hot.user_episodes.pop(episode.episode_id, None)
        context.episode = None

    def _remember_trouble(self, context: Context, signal: Signal, episode: Episode) -> None:
        """A critical risk of the account ended, and what follows can be told. One that sums up others or usage is none."""
        own = signal.scope == "account" and not signal.reads & Fact.RISKS and signal.family not in SUMS
        if signal.kind == "risk" and own:
            about = f" {context.subject}" if context.subject else ""
            name = f"{signal.title}{about} ({signal.id} {episode.ordinal})"
            dossier = context.account.change_dossier()
            dossier.troubles = remember(dossier.troubles, name, Trouble(episode.opened_at, context.now), context.now)

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
            about=context.subject,
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
        context.account.ranks_known = False
        self._risks_changed = True
        self.emit(context.account, topic, change)

    def _due_users(self, account: Account, now: int) -> Sequence[str]:
        """Users whose deadline has come, each once, in order of their ids. Stale queue entries are dropped."""
        heap = account.user_heap
        if not heap or heap[0][0] > now:
            return NOBODY
        due: set[str] = set()
        while heap and heap[0][0] <= now:
            _, user_id = heapq.heappop(heap)
            user: User = self.records.user(account, user_id)
            for name in [name for name in user.due if name not in self.catalogue.by_id]:
                del user.due[name]  # of a signal that is no more
            if 0 < user.next_due() <= now:
                due.add(user_id)
            else:
                account.note_user_due(user_id, user)
        return sorted(due)

    def _shift(self, account: Account, day: int) -> None:
        """Move on to a later day: at each midnight the ended day is complete, and it is settled how well it was adopted."""
        windows, hot = account.windows, account.hot
        if day <= windows.today:
            return
        account.tomorrow = (day + 1) * DAY_US
        account.fed_today = 0
        activity = hot.activity
        seats = hot.profile.seats
        if seats:
            ended, enough = windows.today, LOW_ADOPTION * seats
            while ended < day and activity.in_28 >= enough:
                hot.low_adoption_since = -1
                ended += 1
                activity.advance(ended)
            if ended < day:  # time alone only lowers it: the days after a low one are low
                if hot.low_adoption_since < 0:
                    hot.low_adoption_since = ended
                activity.advance(day)
        else:
            hot.low_adoption_since = -1
            activity.advance(day)
        windows.advance(day)
        hot.windows_today = day
        horizon = day * DAY_US - OPENINGS_KEPT_US
        if hot.openings and hot.openings[0][0] <= horizon:
            hot.openings = [entry for entry in hot.openings if entry[0] > horizon]
