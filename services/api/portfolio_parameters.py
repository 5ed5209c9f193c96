"""Query parameters of `/v1/portfolio`, checked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from services.api.parameters import Day, Instant, Parameters, Text, Tier

GroupBy = Literal["tier", "csm", "industry", "size", "region", "plan", "channel", "tenure", "cohort", "product"]
PARTS = ("signals", "reports")
FILTERS = ("tier", "csm", "industry", "size", "region", "plan", "channel", "use_case")


def _parts(value: Any) -> frozenset[str]:
    named = value if isinstance(value, list | tuple | set | frozenset) else str(value).split(",")
    parts = frozenset(part.strip() for entry in named for part in str(entry).split(",") if part.strip())
    if not parts <= {*PARTS}:
        raise PydanticCustomError("parts", "one or more of signals, reports, with commas between them")
    return parts


Parts = Annotated[
    frozenset[str],
    BeforeValidator(_parts),
    WithJsonSchema({"type": "string", "examples": ["signals,reports"]}),
]


class PortfolioFilter(Parameters):
    """Which period, at which instant, of which accounts, in which groups. Filters and groups go by how accounts stood at
    the end of the period."""

    as_of: Annotated[Instant | None, Field(None, description="as it was known at this instant; now unless given")]
    from_: Annotated[
        Day | None, Field(None, alias="from", description="first day (UTC); the start of the quarter unless given")
    ]
    to: Annotated[
        Day | None,
        Field(None, description="last day (UTC); that of as_of unless given. A later one: terms that end up to then"),
    ]
    group_by: Annotated[GroupBy | None, Field(None, description="measures also by this")]
    include: Annotated[
        Parts,
        Field(frozenset({"signals"}), description="parts that take longer: signals, reports; signals unless given"),
    ]
    accounts_per_csm: Annotated[
        int | None,
        Field(
            None,
            ge=1,
            le=10_000,
            description="accounts that one manager can carry; EBBTIDE_ACCOUNTS_PER_CSM unless given",
        ),
    ]
    tier: Annotated[Tier | None, Field(None, description="only this tier; no tier is low")]
    csm: Annotated[Text | None, Field(None, description="only this customer success manager, with the manager's sheet")]
    industry: Annotated[Text | None, Field(None, description="only this industry")]
    size: Annotated[Text | None, Field(None, description="only this size")]
    region: Annotated[Text | None, Field(None, description="only this region")]
    plan: Annotated[Text | None, Field(None, description="only this plan")]
    channel: Annotated[Text | None, Field(None, description="only of this partner, or direct")]
    use_case: Annotated[Text | None, Field(None, description="only this use case")]

    def where(self) -> dict[str, str]:
        """What accounts are narrowed by."""
        return {name: value for name in FILTERS if (value := getattr(self, name)) is not None}
