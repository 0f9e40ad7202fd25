"""Tasks: prompts, a simulator, its drawing and a criterion.

Nothing here loads torch: the worker processes that host simulators must stay without it.
"""
