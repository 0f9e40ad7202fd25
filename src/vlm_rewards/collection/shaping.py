"""How the scores of states become the rewards of transitions; potential-based shaping is the rule that is not plain.

Whatever brings rewards to a learner (`LabelRewards`, the wrappers, relabelling) scores states by `TransitionRule.score`
and asks `TransitionRule.rewards` for those of transitions. It need not know which rule it has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.arrays import Rewards
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.base import AnyReward, FrameReward, as_frame_reward, check_callable, score_columns


class TransitionRule:
    """Pays the score of the state that a transition leads to: the rule of every reward of a state.

    Attributes:
        state_rewards: What scores a state, a column each. VLM returns are sums of the first column.
    """

    needs_resets = False
    """Whether the states in which episodes begin must be scored, too."""
    needs_true_rewards = False
    """Whether the environment's own rewards are part of the result."""

    def __init__(self, *state_rewards: AnyReward) -> None:
        self.state_rewards = tuple(check_callable(reward) for reward in state_rewards)

    @property
    def columns(self) -> int:
        """Numbers that a state scores."""
        return len(self.state_rewards)

    def score(self, frames: ArrayLike) -> NDArray[np.float32]:
        """Score states: frames, uint8 ``[n h w 3]``, to float32 ``[n columns]``."""
        return score_columns(self.state_rewards, frames)

    def rewards(
        self, before: np.ndarray, after: np.ndarray, true_rewards: np.ndarray | None, terminated: np.ndarray | None
    ) -> Rewards:
        """Make the rewards of transitions, float32 ``[n]``; refused where something that the rule needs is not known.

        Args:
            before: What the states before scored, ``[n columns]``; ignored unless `needs_resets`.
            after: What the states after scored, ``[n columns]``.
            true_rewards: The environment's own rewards, ``[n]``; None where nobody knows them.
            terminated: bool ``[n]``, not where an episode was truncated; None where nobody knows.
        """
        return np.ascontiguousarray(after[:, 0], dtype=np.float32)


def rule_of(reward: AnyReward) -> TransitionRule:
    """How a reward is applied to transitions; refuses what cannot score frames."""
    return _ShapingRule(reward) if isinstance(reward, PotentialShaping) else TransitionRule(reward)


class LateTransitions:
    """The rewards of transitions of simulators that go side by side, whose states are scored late.

    Args:
        rule: How scores become rewards.
        initial: What the states after the reset scored, float32 ``[n_envs columns]``; only where the rule needs it.
    """

    def __init__(self, rule: TransitionRule, initial: np.ndarray | None = None) -> None:
        self.rule = rule
        self._last = initial
        self._steps: deque[tuple[np.ndarray, np.ndarray, np.ndarray]] = deque()

    def observe(self, dones: np.ndarray, infos: list[dict[str, Any]]) -> list[int]:
        """Note a vector step; returns the simulators whose state after the reset must be scored, too."""
        if not self.rule.needs_resets:
            return []
        truncated = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])
        true_rewards = np.array([info["true_reward"] for info in infos], dtype=np.float64)
        self._steps.append((np.array(dones), dones & ~truncated, true_rewards))
        return np.flatnonzero(dones).tolist()

    def rewards(self, values: np.ndarray, after_resets: np.ndarray) -> np.ndarray:
        """Make the rewards of transitions, float32 ``[steps n_envs]``, of what the oldest states noted scored.

        ``values`` are ``[steps n_envs columns]``; ``after_resets``, ``[n columns]``, of the resets within, in order.
        """
        if not self.rule.needs_resets:
            return np.ascontiguousarray(values[:, :, 0])
        resets = iter(after_resets)
        rows = [self._of_step(after, resets) for after in values]
        return np.stack(rows) if rows else np.empty(values.shape[:2], dtype=np.float32)

    def _of_step(self, after: np.ndarray, resets: Iterator[np.ndarray]) -> np.ndarray:
        dones, terminated, true_rewards = self._steps.popleft()
        rewards = self.rule.rewards(np.asarray(self._last), after, true_rewards, terminated)
        self._last = np.array(after)
        for index in np.flatnonzero(dones):
            # The next transition starts from the first state of a new episode, not from the last of the old one.
            self._last[index] = next(resets)
        return rewards

    def state_dict(self) -> dict[str, np.ndarray] | None:
        """What the present states scored; None where the rule does not need it."""
        return None if self._last is None else {"last": self._last.copy()}

    def load_state_dict(self, state: Mapping[str, np.ndarray] | None) -> None:
        """Put back what `state_dict` gave."""
        self._steps.clear()
        self._last = None if state is None else np.array(state["last"])


def shaped(
    base: ArrayLike, potential: ArrayLike, next_potential: ArrayLike, terminated: ArrayLike, gamma: float
) -> NDArray[np.float32]:
    """Add ``gamma * Phi(s') - Phi(s)`` to a reward (Ng, Harada and Russell 1999, theorem 1).

    The potential of a terminated (absorbing) state is 0, or the way an episode
    ends would be paid for. A truncated episode has not ended for the learner,
    which bootstraps from its last state: that state keeps its potential.

    All are arrays ``[...]``, potentials of the states before and after, and so is the result, float32. With another
    gamma than the learner's own discount the guarantee is lost.
    """
    # In float64, rounded once at the end: the difference of two like potentials is small against either.
    after = np.where(np.asarray(terminated, dtype=bool), 0.0, np.asarray(next_potential, dtype=np.float64))
    total = np.asarray(base, dtype=np.float64) + gamma * after - np.asarray(potential, dtype=np.float64)
    return np.asarray(total, dtype=np.float32)


class PotentialShaping:
    """A VLM reward as a potential: the learner is paid ``base + gamma * Phi(s') - Phi(s)``.

    *Where it comes from:* Ng, Harada and Russell 1999, *Policy Invariance Under
    Reward Transformations*: whatever ``Phi`` is, the optimal policies are those
    of the base reward.

    *When to use it:* where the environment has a reward that is right but
    sparse. The prompt then says where to look, and cannot be exploited: a
    wrong one costs time, not correctness. Alone it means nothing, as all
    policies would be equally good; therefore it needs a base.

    Called on frames it says how good their states are: the base reward if that
    is one of frames, else the potential. What a learner is paid is a matter of
    transitions: `rule_of`.

    Args:
        potential: ``Phi``, any reward.
        gamma: The learner's discount, in [0, 1].
        base: ``"environment"`` for the environment's own reward, the one and explicit way for it to reach a learner; or
            another reward.

    Attributes:
        frame_size: Side in pixels of the square frames that the potential wants.
        cameras: Frames of each state that it sees.
        encoder: The potential's, where it has one.

    Raises:
        InvalidInputError: gamma or base is not usable, or potential and base see different cameras.
    """

    encoder: ImageTextEncoder

    def __init__(
        self, potential: FrameReward, *, gamma: float, base: Literal["environment"] | FrameReward = "environment"
    ) -> None:
        if isinstance(gamma, bool) or not 0.0 <= gamma <= 1.0:
            raise InvalidInputError(f"gamma must be a number from 0 to 1, got {gamma!r}.")
        if isinstance(base, str) and base != "environment":
            raise InvalidInputError(f"base must be 'environment' or a reward, got {base!r}.")
        if isinstance(potential, PotentialShaping) or isinstance(base, PotentialShaping):
            raise InvalidInputError("potential and base must be rewards of a state, not shapings of transitions.")
        potential = as_frame_reward(potential)  # refuses what does not say which frames it wants
        base = base if isinstance(base, str) else as_frame_reward(base)
        self.potential, self.gamma, self.base = potential, float(gamma), base
        self.frame_size, self.cameras = potential.frame_size, int(getattr(potential, "cameras", 1))
        if not isinstance(base, str) and getattr(base, "cameras", 1) != self.cameras:
            both = sorted({self.cameras, int(getattr(base, "cameras", 1))})
            raise InvalidInputError(f"potential and base must see the same cameras, got {both} of them.")
        if hasattr(potential, "encoder"):
            self.encoder = getattr(potential, "encoder")  # noqa: B009 - only some rewards have one

    def __call__(self, frames: ArrayLike) -> Rewards:
        """How good states are: frames, uint8 ``[n h w 3]``, to float32 ``[n]``."""
        return self.potential(frames) if isinstance(self.base, str) else self.base(frames)

    def describe(self) -> dict[str, Any]:
        """JSON-able facts for a run's record."""
        base = self.base if isinstance(self.base, str) else self.base.describe()
        facts = {"formula": "PotentialShaping", "gamma": self.gamma, "base": base}
        encoder = {"encoder": self.encoder.describe()} if hasattr(self, "encoder") else {}
        return {**facts, "potential": self.potential.describe(), **encoder}


class _ShapingRule(TransitionRule):
    """The last column is the potential; before it stands the base reward, where that is one of frames."""

    needs_resets = True

    def __init__(self, shaping: PotentialShaping) -> None:
        of_frames = () if isinstance(shaping.base, str) else (shaping.base,)
        super().__init__(*of_frames, shaping.potential)
        self.needs_true_rewards = not of_frames
        self._gamma = shaping.gamma

    def rewards(
        self, before: np.ndarray, after: np.ndarray, true_rewards: np.ndarray | None, terminated: np.ndarray | None
    ) -> Rewards:
        base = true_rewards if self.needs_true_rewards else after[:, 0]
        if base is None or terminated is None:
            raise InvalidInputError("shaping needs a dataset that has rewards and says which steps were terminal.")
        return shaped(base, before[:, -1], after[:, -1], terminated, self._gamma)


def shaped_by(reward: FrameReward, shaping: bool, gamma: float) -> FrameReward:
    """Use a reward as a potential over the environment's own, where settings ask for that (`RewardConfig.shaping`)."""
    return PotentialShaping(reward, gamma=gamma) if shaping else reward
