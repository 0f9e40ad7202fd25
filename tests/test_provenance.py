"""Where a number comes from."""

from __future__ import annotations

import json
import os

from vlm_rewards.provenance import provenance


def test_provenance_says_what_ran_where() -> None:
    facts = json.loads(json.dumps(provenance()))
    assert facts["version"]
    assert {"python", "torch", "gymnasium", "mujoco", "stable_baselines3", "sbx-rl", "jax", "numpy"} <= set(
        facts["versions"]
    )
    assert facts["machine"]["cores"] == os.cpu_count()
    assert facts["machine"]["processor"]
    assert "commit" in facts
