"""The wheel holds what the package reads: files that are no modules are named as package data."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DATA = PROJECT["tool"]["setuptools"]["package-data"]


def packaged():
    """Every file that the patterns name, each relative to its package."""
    found = set()
    for package, patterns in DATA.items():
        folders = [SOURCE / package.replace(".", "/")] if package != "*" else [p.parent for p in SOURCE.rglob("*.py")]
        found |= {path for folder in folders for pattern in patterns for path in folder.glob(pattern)}
    return found


def test_every_file_beside_the_modules_is_in_the_wheel():
    files = {path for path in SOURCE.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    files = {path for path in files if ".egg-info" not in str(path)}
    assert sorted(files - packaged()) == []


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_each_python_that_is_promised_is_named_everywhere(minor):
    said = f"Programming Language :: Python :: 3.{minor}"
    assert said in PROJECT["project"]["classifiers"]
    assert f"python3.{minor}" in (ROOT / "Makefile").read_text()
    assert f"3.{minor}" in (ROOT / "README.md").read_text()
