"""A customer's whole life as events: all that it does, in order of time, as far as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

from services.demo.beginnings import beginning
from services.demo.contract import Contract
from services.demo.customer import Customer
from services.demo.events import Draft
from services.demo.goals import goals
from services.demo.help import Help
from services.demo.relations import Relations
from services.demo.use import Use

HISTORY: Final = ("account.subscription_changed", "account.updated")
"""What was before the simulation's first day: the contracts of customers that were there already."""


def life(customer: Customer, releases: Sequence[tuple[int, str]]) -> list[Draft]:
    """Every event of a customer, and its `HISTORY`. `releases` are the days and names of features released to everybody."""
    streams = chain(
        Contract(customer).events(),
        Relations(customer).events(),
        goals(customer),
        beginning(customer),
        Use(customer, releases).events(),
        Help(customer).events(),
    )
    begins, ends = customer.at(customer.plan.starts, 0), customer.at(customer.last, 0)

    def happens(draft: Draft) -> bool:
        if draft.type == "account.churned":
            return customer.plan.churns is not None
        return draft.time < ends and (draft.time >= begins or draft.type in HISTORY)

    return sorted((draft for draft in streams if happens(draft)), key=lambda draft: draft.time)
