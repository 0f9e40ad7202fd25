"""The MuJoCo humanoid: its model, its poses, the eight tasks, and what a task of one's own needs."""
