"""The whole run, from settings to record: presets, algorithms, checkpoints, watch, sweep, export."""
