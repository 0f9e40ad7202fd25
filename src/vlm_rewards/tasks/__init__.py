"""Tasks: prompts, a simulator, its drawing and a criterion. Importing this package registers those that come with it.

It loads no torch: the worker processes that host simulators must stay without it.
"""

import vlm_rewards.tasks.builtin  # noqa: F401 - registers them
