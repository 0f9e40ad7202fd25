"""Every figure of the package; the only folder that imports matplotlib.

What is drawn is written to ``out``, whose suffix chooses the format, and returned as a path.
"""
