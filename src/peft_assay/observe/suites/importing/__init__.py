"""Suites from what others wrote: tasks of lm-evaluation-harness, and logs of real conversations."""
