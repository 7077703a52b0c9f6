"""Alembic's environment: migrations run on the connection that the workspace hands over, in its transaction."""

from alembic import context

from peft_assay.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
