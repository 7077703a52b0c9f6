"""An adapter's function: what it does to the base, whatever it is written as. numpy only, no I/O.

The gate and the authority both compute it from the adapter's bytes, so it lies below `trust`.
"""
