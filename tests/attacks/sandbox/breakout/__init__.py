"""A harness whose children answer like the real one, or try to break out: what adapter code could do inside.

Each deed is an ordinary function. Behind walls the forked, confined child calls it; as its own positive control a
plain process calls it, in a scratch folder and with a parent that nobody misses.
"""
