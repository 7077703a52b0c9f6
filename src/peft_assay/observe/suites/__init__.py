"""Suites as documents: read, checked, linted, scaffolded and imported. All of it is hostile text."""
