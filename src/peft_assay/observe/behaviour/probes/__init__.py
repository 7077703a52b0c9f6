"""Behavioural probes, one to a file; `observe.behaviour.catalogue` lists them."""
