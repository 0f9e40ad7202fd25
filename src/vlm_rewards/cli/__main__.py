"""``python -m vlm_rewards.cli``."""

from vlm_rewards.cli import main

main()
