"""Suites of a project: read with what they need from elsewhere, linted, signed, imported."""
