"""Frames to one number each: the reward contract, the formulas of the paper and others, and their registry.

Nothing here needs torch, and nothing here encodes a frame twice: embeddings are the thing to cache, rewards can be
computed again for any prompt or alpha.
"""
