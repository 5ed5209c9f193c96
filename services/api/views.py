"""Saved views: lists that a success team asks for by name, each with its meaning in words. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from services.api.parameters import RenewalWindow, ViewFilter


class View(Struct, frozen=True, kw_only=True):
    """One view. `signals`: an account is in it while one of them is open. None: accounts without the newest feature."""

    name: str
    title: str
    meaning: str
    order: str
    source: str
    signals: tuple[str, ...] | None
    some_first: bool = False

    @property
    def parameters(self) -> dict[str, str]:
        """What may be asked, and what it means."""
        model = RenewalWindow if self.signals is not None else ViewFilter
        return {name: field.description or "" for name, field in model.model_fields.items()}


BY_RANK: Final = "Highest rank first."

VIEWS: Final = {
    view.name: view
    for view in (
        View(
            name="core-use-and-survey",
            title="Core use eroded, and the survey is bad or unanswered",
            meaning=(
                "Accounts whose use of core features fell by 20 % or more in 6 months and whose latest survey is "
                "unanswered or negative: `critical.usage_and_survey` is open."
            ),
            order=(
                "First those that renew in this quarter or are under a year old, among them those with a scheduled rise "
                "of the price on top; then the others, again with a rise first. Within each, highest rank first."
            ),
            source="Customer Success (Mehta, Steinman, Murphy), ch. 16",
            signals=("critical.usage_and_survey",),
            some_first=True,
        ),
        View(
            name="support-and-billing",
            title="An old urgent ticket, and an invoice a month overdue",
            meaning=(
                "Accounts with a P1 or P2 ticket open for 10 days or more whose latest invoice is 30 days or more "
                "overdue: `critical.support_and_billing` is open."
            ),
            order=BY_RANK,
            source="Customer Success (Mehta, Steinman, Murphy), ch. 16",
            signals=("critical.support_and_billing",),
        ),
        View(
            name="sponsor-or-champion",
            title="The sponsor moved, or the champion unsubscribed",
            meaning=(
                "Accounts that lost the executive sponsor or the champion, or whose champion unsubscribed from mail: "
                "`relationship.sponsor_lost` or `relationship.champion_unsubscribed` is open."
            ),
            order=BY_RANK,
            source="Customer Success (Mehta, Steinman, Murphy), ch. 16",
            signals=("relationship.sponsor_lost", "relationship.champion_unsubscribed"),
        ),
        View(
            name="newest-feature-untried",
            title="Has not tried the newest feature",
            meaning=(
                "Accounts that were there when the newest feature was released and have not used it since, from the day "
                "of its release, churned ones aside. `usage_seen` is false where an account never sent any use of a "
                "feature: there it may be the data that is missing. `feature` asks for another released feature."
            ),
            order="Highest weight first: the account's value and urgency, whatever is open.",
            source="Customer Success (Mehta, Steinman, Murphy), ch. 16",
            signals=None,
        ),
    )
}
