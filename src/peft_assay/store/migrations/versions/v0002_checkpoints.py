"""A signed checkpoint of the whole ledger beside each entry that a holder of a key wrote; older entries have none."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; the next entry's checkpoint covers all entries before it."""
    op.add_column("ledger", sa.Column("checkpoint", sa.LargeBinary, nullable=True))
