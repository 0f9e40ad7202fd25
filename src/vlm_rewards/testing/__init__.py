"""Fakes that tests, examples and users share."""
