"""Which features and teams use the product, in bounded form."""

from __future__ import annotations

from msgspec import Struct


class Breadth(Struct, array_like=True):
    """Features and teams of an account, by the day of their use."""
