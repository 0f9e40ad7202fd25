"""How fast each stage and the whole are, and how fast the common way is on the same machine.

Importing this package loads no torch; the modules below do.
"""
