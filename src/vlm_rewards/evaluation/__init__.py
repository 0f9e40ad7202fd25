"""How far a policy or a reward is to be trusted: rollouts, states to judge on, distances, ranks, intervals."""
