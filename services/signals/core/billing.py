"""Invoices, payments and subscriptions beyond the unpaid ones, in bounded form. Money is decimal text."""

from __future__ import annotations

from msgspec import Struct


class Billing(Struct, array_like=True):
    """What finance knows of an account. Instants in µs, -1 is never."""
