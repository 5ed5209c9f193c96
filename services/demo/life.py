"""A customer's whole life as events: all that it does, in order of time, as far as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from services.demo.beginnings import beginning
from services.demo.contract import Contract
from services.demo.customer import Customer
from services.demo.events import Draft
from services.demo.goals import goals
from services.demo.help import Help
from services.demo.relations import Relations
from services.demo.use import Use


def life(customer: Customer, releases: Sequence[tuple[int, str]]) -> list[Draft]:
    """Every event of a customer. `releases` are the days and names of the features released to everybody.

    What was before the simulation's first day is in it too: contracts of customers that were there already.
    """
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
        return draft.time < ends and (draft.time >= begins or draft.type == "account.subscription_changed")

    return sorted((draft for draft in streams if happens(draft)), key=lambda draft: draft.time)
