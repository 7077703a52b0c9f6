"""Evaluation: policy and observations in, verdict out. Pure: no I/O, no clock, nothing remembered."""
