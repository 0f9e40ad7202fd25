"""Trains an encoder on captioned frames of simulators."""
