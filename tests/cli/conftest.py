import pytest

from pipeline.certified_world import certified_world, copy_of


@pytest.fixture(scope="session")
def pristine():
    """Certified once for all tests; never written to."""
    return certified_world()


@pytest.fixture
def world(pristine, tmp_path):
    """A copy of the certified project, with its workspace and anchor, for one test to spoil."""
    return copy_of(pristine, tmp_path / "world")
