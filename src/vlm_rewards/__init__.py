"""Turn one sentence into a reward function for reinforcement learning.

The package follows *Vision-Language Models are Zero-Shot Reward Models* (Rocamonde et al., ICLR 2024, arXiv
2310.12921): a vision-language model scores how well a frame of the simulator's state fits a sentence.

Importing this module is cheap: it loads neither torch nor OpenGL. The public names are those of ``__init__.pyi``, and
are imported when they are first used.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
