"""Builds the zoo: one small base model, adapters of many kinds for one task, and members that must not be admitted."""
