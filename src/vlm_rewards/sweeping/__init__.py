"""Many runs as one experiment: prompts, alphas, encoders, algorithms and seeds, and what they amount to together.

Importing this package loads no torch; the modules below do.
"""
