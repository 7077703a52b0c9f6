"""Imports from a list: the packages that the supervisor names are found, and no others, wherever they lie.

The interpreter starts without its environment's own set-up (``-S``): no ``.pth`` file is executed, no editable
install's hook is there, and nothing looks into the folder of installed packages. A package that is installed and not
listed is absent for every import and every question after its version, behind whichever walls.
"""

import importlib.machinery
import importlib.metadata
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import spec_from_file_location
from types import ModuleType
from typing import Any


class Listed(importlib.metadata.DistributionFinder):
    """Finds the listed modules, and distributions with their name, version and modules, from the supervisor's list."""

    def __init__(self, modules: Mapping[str, str], versions: Mapping[str, Sequence[Any]]) -> None:
        self._modules = modules
        self._distributions = [
            Told(name, version, {one: modules[one] for one in names if one in modules})
            for name, (version, names) in versions.items()
        ]

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002 - of the protocol
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a listed package or module by its place; None for all else, submodules among it."""
        place = self._modules.get(fullname) if path is None else None
        if place is None:
            return None
        if not os.path.isdir(place):  # noqa: PTH112 - before pathlib is needed
            return spec_from_file_location(fullname, place)
        first = os.path.join(place, "__init__.py")  # noqa: PTH118 - before pathlib is needed
        if os.path.isfile(first):  # noqa: PTH113 - before pathlib is needed
            return spec_from_file_location(fullname, first, submodule_search_locations=[place])
        spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [place]
        return spec

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context | None = None
    ) -> Iterator[importlib.metadata.Distribution]:
        """Return all listed distributions, or those of one name."""
        name = None if context is None else context.name
        wanted = None if name is None else normalised(name)
        yield from (one for one in self._distributions if wanted is None or normalised(one.told) == wanted)


class Told(importlib.metadata.Distribution):
    """A distribution without files: its own folder may hold a record of its origin, with a password."""

    def __init__(self, name: str, version: str, modules: Mapping[str, str]) -> None:
        self.told = name
        self._modules = modules
        self._texts = {
            "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            "top_level.txt": "".join(f"{module}\n" for module in modules),
        }

    def read_text(self, filename: str) -> str | None:
        """Return the text from the list."""
        return self._texts.get(filename)

    def locate_file(self, path: Any) -> Any:
        """Return the place of a file of one of its modules; raises FileNotFoundError for every other one."""
        first, _, rest = str(path).partition("/")
        if first not in self._modules:
            raise FileNotFoundError(path)
        return pathlib.Path(self._modules[first], *([rest] if rest else ()))


def normalised(name: str) -> str:
    """Return a distribution's name as names are compared (the packaging user guide, name normalisation)."""
    return name.lower().replace("_", "-").replace(".", "-")


def import_from_list(modules: Mapping[str, str], versions: Mapping[str, Sequence[Any]]) -> None:
    """Search only the standard library's folders and the list from now on."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [entry for entry in sys.path if entry not in given]
    own = [finder for finder in sys.meta_path if getattr(finder, "__module__", None) == "_frozen_importlib"]
    sys.meta_path[:] = [*own, importlib.machinery.PathFinder, Listed(modules, versions)]
