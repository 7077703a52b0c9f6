"""Where the lane keeps what it saw, for the table."""

import pytest

from foreign import page


@pytest.fixture(scope="session")
def seen():
    """Collect what each row did; the table is written when the lane ends."""
    found = {}
    yield found
    page.remember(found)
