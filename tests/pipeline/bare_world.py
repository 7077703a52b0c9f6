"""A project with an anchor and two workspaces in which nothing was certified: made in a second, without a sandbox."""

import json
import shutil

from pipeline.certified_world import ZOO, World

SECOND = ("--workspace", "elsewhere")


def bare_world(root):
    """A project with an anchor and two workspaces of an earlier version, each with a list of its own beginning."""
    world = World(root)
    shutil.copytree(ZOO, world.project, ignore=shutil.ignore_patterns("adapters", "build", ".peft-assay"))
    for place in ((), SECOND):
        assert world.run("init", ".", *place).code == 0
        without_records(world)
    return world


def state(world):
    return world.trust / "state"


def without_records(world):
    """As a version before this one left it: marks, and no records of keys."""
    shutil.rmtree(state(world) / "authority")
    for path in state(world).glob("*.json"):
        mark = json.loads(path.read_text())
        for name in ("list", "attested"):
            mark.pop(name, None)
        path.write_text(json.dumps(mark))
