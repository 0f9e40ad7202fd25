"""Every figure of the package; the only folder that imports matplotlib."""

from vlm_rewards.reporting.figures.curves import plot_learning_curve, plot_video_rewards

__all__ = ["plot_learning_curve", "plot_video_rewards"]
