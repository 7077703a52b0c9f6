"""Scorers, one to a file; `observe.behaviour.scorers.catalogue` lists them."""
