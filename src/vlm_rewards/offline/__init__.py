"""Recorded episodes (Minari, LeRobot): VLM rewards for their frames."""
