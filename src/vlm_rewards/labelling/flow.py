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

    @property
    def states(self) -> int:
        """States that are photographed in all."""
        return self.simulators * self.vector_steps * self.times

    @property
    def chunks(self) -> int:
        """Chunks in all."""
        return self.times * -(-self.vector_steps // self.chunk_steps)

    def passes(self, batch_size: int, cameras: int = 1) -> int:
        """Batches that pass through the encoder in all.

        Args:
            batch_size: Pictures that pass through it at once, at most.
            cameras: Pictures of each state.
        """
        whole, rest = divmod(self.vector_steps, self.chunk_steps)
        of_whole, of_rest = (-(-steps * self.simulators * cameras // batch_size) for steps in (self.chunk_steps, rest))
        return self.times * (whole * of_whole + of_rest)
