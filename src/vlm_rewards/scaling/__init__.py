"""Encoders of several sizes side by side (section 4.4 of the paper): trained here, or pretrained.

Nothing is imported here: name the module that you need.
"""
