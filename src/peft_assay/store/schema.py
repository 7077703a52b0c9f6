"""The tables as SQLAlchemy sees them; migrations make them."""

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, MetaData, String, Table

metadata = MetaData()

workspace = Table("workspace", metadata, Column("id", String(32), primary_key=True))
"""One row: the random identity by which high-water marks outside know this workspace."""

ledger = Table(
    "ledger",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String(20), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("checkpoint", LargeBinary, nullable=True),
)
"""`checkpoint`: a signed statement about the whole ledger up to this entry, where its writer holds a key."""

artifacts = Table(
    "artifacts",
    metadata,
    Column("seq", Integer, ForeignKey("ledger.seq"), primary_key=True),
    Column("digest", String(71), nullable=False, index=True),
    Column("source", String, nullable=False, index=True),
    Column("at", String(20), nullable=False),
)
"""One row per admission: which artifact came from which source. The manifest is a blob under the artifact's digest."""

observations = Table(
    "observations",
    metadata,
    Column("envelope", String(71), primary_key=True),
    Column("artifact", String(71), nullable=False, index=True),
    Column("conditions", String(71), nullable=False),
    Column("observed_at", String(20), nullable=False),
    Column("seq", Integer, ForeignKey("ledger.seq"), nullable=False, unique=True),
)

certificates = Table(
    "certificates",
    metadata,
    Column("envelope", String(71), primary_key=True),
    Column("artifact", String(71), nullable=False, index=True),
    Column("lock", String(71), nullable=False),
    Column("policy", String(71), nullable=False),
    Column("issued_at", String(20), nullable=False),
    Column("not_after", String(20), nullable=False),
    Column("seq", Integer, ForeignKey("ledger.seq"), nullable=False, unique=True),
)

revocation_lists = Table(
    "revocation_lists",
    metadata,
    Column("envelope", String(71), primary_key=True),
    Column("sequence", Integer, nullable=False, unique=True),
    Column("issued_at", String(20), nullable=False),
    Column("seq", Integer, ForeignKey("ledger.seq"), nullable=False, unique=True),
)
