"""A worker like the harness's, whose children do what a hostile adapter with code execution would do."""
