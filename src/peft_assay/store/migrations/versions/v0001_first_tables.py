"""The first tables: workspace, ledger, artifacts, observations, certificates, revocation lists; all append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("workspace", "ledger", "artifacts", "observations", "certificates", "revocation_lists")


def upgrade() -> None:
    """Creates the tables and the triggers that keep rows from being changed or removed."""
    op.create_table("workspace", sa.Column("id", sa.String(32), primary_key=True))
    op.create_table(
        "ledger",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String(20), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "artifacts",
        sa.Column("seq", sa.Integer, sa.ForeignKey("ledger.seq"), primary_key=True),
        sa.Column("digest", sa.String(71), nullable=False, index=True),
        sa.Column("source", sa.String, nullable=False, index=True),
        sa.Column("at", sa.String(20), nullable=False),
    )
    op.create_table(
        "observations",
        sa.Column("envelope", sa.String(71), primary_key=True),
        sa.Column("artifact", sa.String(71), nullable=False, index=True),
        sa.Column("conditions", sa.String(71), nullable=False),
        sa.Column("observed_at", sa.String(20), nullable=False),
        sa.Column("seq", sa.Integer, sa.ForeignKey("ledger.seq"), nullable=False, unique=True),
    )
    op.create_table(
        "certificates",
        sa.Column("envelope", sa.String(71), primary_key=True),
        sa.Column("artifact", sa.String(71), nullable=False, index=True),
        sa.Column("lock", sa.String(71), nullable=False),
        sa.Column("policy", sa.String(71), nullable=False),
        sa.Column("issued_at", sa.String(20), nullable=False),
        sa.Column("not_after", sa.String(20), nullable=False),
        sa.Column("seq", sa.Integer, sa.ForeignKey("ledger.seq"), nullable=False, unique=True),
    )
    op.create_table(
        "revocation_lists",
        sa.Column("envelope", sa.String(71), primary_key=True),
        sa.Column("sequence", sa.Integer, nullable=False, unique=True),
        sa.Column("issued_at", sa.String(20), nullable=False),
        sa.Column("seq", sa.Integer, sa.ForeignKey("ledger.seq"), nullable=False, unique=True),
    )
    for table in APPEND_ONLY:
        for verb in ("update", "delete"):
            op.execute(
                f"create trigger {table}_no_{verb} before {verb} on {table} "
                f"begin select raise(abort, '{table} is append-only'); end"
            )
