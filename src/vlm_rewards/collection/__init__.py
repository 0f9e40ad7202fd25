"""Steps simulators, renders their states, scores the frames in the background and brings rewards to learners."""
