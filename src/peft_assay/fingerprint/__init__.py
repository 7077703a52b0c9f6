"""An adapter's function: the change that it makes to the base, in whatever form it is stored. numpy only, no I/O.

The gate and the authority both compute it from the adapter's bytes, so it lies below `trust`.
"""
