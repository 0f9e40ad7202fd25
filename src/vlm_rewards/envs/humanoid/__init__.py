"""The MuJoCo humanoid: its model, its poses, and the eight tasks."""
