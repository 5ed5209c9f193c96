"""An operators' condition as the functions of a signal: judged by the same engine as every other signal."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.signals import Evidence, Severity
from services.signals.core.signal import SEVERITY_RANK, Context, Fact, Finding
from services.signals.operators.conditions import Condition, Dropped, Kept, Leaf, leaves, rank
from services.signals.operators.reasons import Reason

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")


@dataclass(frozen=True)
class Rule:
    """The condition, and the sentence that explains it."""

    condition: Condition
    reason: Reason

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The conditions that it is made of."""
        return tuple(leaves(self.condition))

    @property
    def reads(self) -> int:
        """Facts that it is judged by at once. Another tier has other thresholds."""
        facts = Fact.TIER
        for leaf in self.leaves:
            facts |= leaf.reads
        return facts

    @property
    def reads_open(self) -> int:
        """Facts that it is judged by while it is open: also what the parts that do not hold yet wait for."""
        facts = 0
        for leaf in self.leaves:
            facts |= leaf.reads_open | (leaf.arms if self.compound else 0)
        return facts

    @property
    def arms(self) -> int:
        """Facts that it is judged by while it is closed and names no deadline."""
        return 0 if self.compound else self.leaves[0].arms

    @property
    def compound(self) -> bool:
        """Whether there are several parts: then a part without a deadline cannot wait for a fact, for another names one."""
        return len(self.leaves) > 1

    def raises(self, c: Context) -> Finding | None:
        """Open when the condition holds by the raise thresholds of its parts."""
        kept = {leaf.label: leaf.keep(c) for leaf in self.leaves if leaf.holds(c)}
        worst = rank(self.condition, dict.fromkeys(kept, True))
        return None if worst < 0 else Finding(SEVERITIES[worst], frozen=kept)

    def observe(self, c: Context) -> None:
        """Each part goes on by itself while the episode is open: it ends by its clear threshold, and may hold again."""
        frozen = c.open.frozen
        for leaf in self.leaves:
            kept: Kept | None = frozen.get(leaf.label)
            if kept is not None and kept[0]:
                if leaf.keeps(c, kept):
                    continue
                kept[0] = False
            if leaf.holds(c):
                frozen[leaf.label] = leaf.keep(c)

    def clears(self, c: Context) -> str | None:
        """Clear when the condition holds no more."""
        if self._rank(c) >= 0:
            return None
        ended = [(leaf, c.open.frozen[leaf.label]) for leaf in self.leaves if leaf.label in c.open.frozen]
        lapsed = any(leaf.lapsed(c, kept) for leaf, kept in ended if not kept[0])
        return "expired" if lapsed else "recovered"

    def escalates(self, c: Context) -> Finding | None:
        """Get worse when a part of a worse severity holds as well."""
        worst = self._rank(c)
        return Finding(SEVERITIES[worst]) if worst > SEVERITY_RANK[c.open.severity] else None

    def explained(self, c: Context) -> bool:
        """Whether what all accounts did explains its only part, a drop."""
        part = self.leaves[0]
        assert isinstance(part, Dropped)
        return c.fell_like_all(part.change(c), -int(part.of(c, "percent")) / 100)

    def due(self, c: Context) -> int:
        """The earliest deadline of its parts."""
        earliest = 0
        for leaf in self.leaves:
            kept = self._kept(c, leaf)
            at = leaf.due(c, kept)
            if not at and kept is None and self.compound:
                at = leaf.unknown(c)
            if at and (not earliest or at < earliest):
                earliest = at
        return earliest

    def describe(self, c: Context) -> tuple[str, list[Evidence]]:
        """The file's sentence, or one made of what held; evidence of every part that held in this episode."""
        frozen = c.open.frozen
        held = [leaf for leaf in self.leaves if leaf.label in frozen]
        now = [leaf for leaf in held if frozen[leaf.label][0]] or held
        if self.reason.given:
            values = {leaf.label: leaf.values(c, frozen.get(leaf.label)) for leaf in self.leaves}
            sentence = self.reason.told(values)
        else:
            sentence = "; ".join(leaf.sentence(c, frozen[leaf.label]) for leaf in now) + "."
        return sentence, [leaf.proof(c, frozen[leaf.label]) for leaf in held]

    def _rank(self, c: Context) -> int:
        return rank(self.condition, {label: kept[0] for label, kept in c.open.frozen.items()})

    @staticmethod
    def _kept(c: Context, leaf: Leaf) -> Kept | None:
        kept: Kept | None = None if c.episode is None else c.episode.frozen.get(leaf.label)
        return kept if kept is not None and kept[0] else None
