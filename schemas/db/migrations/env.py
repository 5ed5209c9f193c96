"""Alembic's entry: runs on the connection that `services.common.db` hands over, one transaction per migration.

`alembic` on its own is not used: there is no ini file, and the database comes from the project's settings.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from schemas.db import feed, people, webhooks  # noqa: F401 - their tables belong to Base's metadata
from schemas.db.tables import Base


def run(connection: Connection) -> None:
    """Run what alembic was asked for on an open connection."""
    context.configure(
        connection=connection, target_metadata=Base.metadata, compare_type=True, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
