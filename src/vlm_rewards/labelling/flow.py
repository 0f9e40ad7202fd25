"""How pictures will flow from simulators to an encoder, counted before any is taken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PictureFlow:
    """Simulators, the ring that their pictures lie in, and the chunks in which these are scored."""

    simulators: int
    """Pictures of a vector step, for each camera."""
    slots: int
    """Vector steps that the ring holds."""
    chunk_steps: int
    """Vector steps whose pictures are scored in one go; see `vlm_rewards.labelling.labeller.chunk_length`."""
    vector_steps: int
    """Vector steps after which all must have been scored, so that a chunk may end early."""
    times: int = 1
    """How often that happens."""
    every: int = 1
    """One state in so many is photographed, and the first and last of each episode."""
    horizon: int = 1
    """Steps of an episode."""

    @property
    def states(self) -> int:
        """States that are photographed in all, if episodes last until the horizon."""
        steps = self.vector_steps * self.times
        episodes, rest = divmod(steps, self.horizon)
        whole = self._photographed(self.horizon) + (self.horizon % self.every != 0 and self.horizon > 1)
        return self.simulators * (episodes * whole + self._photographed(rest))

    @property
    def chunks(self) -> int:
        """Chunks in all."""
        return self.times * -(-self.vector_steps // self.chunk_steps)

    def passes(self, batch_size: int, cameras: int = 1) -> int:
        """Batches that pass through the encoder in all; about, where not every state is photographed.

        Args:
            batch_size: Pictures that pass through it at once, at most.
            cameras: Pictures of each state.
        """
        whole, rest = divmod(self.vector_steps, self.chunk_steps)
        of_whole, of_rest = (self._batches(steps, batch_size, cameras) for steps in (self.chunk_steps, rest))
        return self.times * (whole * of_whole + of_rest)

    def _batches(self, steps: int, batch_size: int, cameras: int) -> int:
        """Of a chunk."""
        pictures = -(-steps // self.every) * self.simulators * cameras
        return -(-pictures // batch_size)

    def _photographed(self, steps: int) -> int:
        """States of an episode's first steps, without the last where it is not due."""
        return steps // self.every + (self.every > 1 and steps > 0)
