"""The command ``vlm-rewards``: one verb a subcommand."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from vlm_rewards import __version__
from vlm_rewards.errors import VLMRewardsError, unknown_name
from vlm_rewards.tasks.rendering import configure_headless

_VERBS = {
    "train": "train an agent on a task from its prompt",
    "export": "write a trained policy as a file for other programs",
    "evaluate": "run a trained agent, or random, zero and rule policies, and say how often they succeed",
    "score": "score images or videos with a reward",
    "judge": "say how far rewards are from the truth, draw them along a line of states, or write states to judge on",
    "sweep": "train a grid of prompts, alphas, encoders, algorithms and seeds",
    "relabel": "write VLM rewards into a recorded data set",
    "finetune": "train an encoder on captioned frames of simulators",
    "list": "list tasks, encoders, rewards, algorithms and cached embeddings, which it can forget",
    "report": "turn runs and records into one page: tables, figures, videos, settings, commands",
}

BAD_INPUT = 2
"""Exit code for a message of ours: bad input, missing weights, a damaged file."""
FAILED = 1
"""Exit code for a run that failed after it had started."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; default: the process's own.
    """
    configure_headless()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        sys.exit(_dispatch(arguments))
    except VLMRewardsError as error:
        print(f"vlm-rewards: error: {error}", file=sys.stderr)
        sys.exit(FAILED if _happened_at_work(error) else BAD_INPUT)
    except BrokenPipeError:  # `vlm-rewards ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except KeyboardInterrupt:
        print("vlm-rewards: interrupted", file=sys.stderr)
        sys.exit(130)


def _happened_at_work(error: VLMRewardsError) -> bool:
    from vlm_rewards.errors import LabellerError, RunFolderError, UnlabelledSampleError, WorkerError

    return isinstance(error, (LabellerError, RunFolderError, UnlabelledSampleError, WorkerError))


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if arguments else BAD_INPUT
    if arguments[0] == "--version":
        print(f"vlm-rewards {__version__}")
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb not in _VERBS:
        raise unknown_name("command", verb, _VERBS)
    return _command(verb)(rest)


def _command(verb: str) -> Callable[[list[str]], int]:
    # Each verb is a module of its own, so that `--help` does not wait for torch.
    import importlib

    module = "listing" if verb == "list" else verb  # a module `list` would hide Python's own in this package
    return importlib.import_module(f"vlm_rewards.cli.{module}").main


def _usage() -> str:
    width = max(len(verb) for verb in _VERBS)
    lines = [f"  {verb:<{width}}  {text}" for verb, text in _VERBS.items()]
    return "\n".join(
        [
            "usage: vlm-rewards COMMAND [...]",
            "",
            "Turn one sentence into a reward, train an agent with it, see how far to trust it.",
            "",
            *lines,
            "",
            "vlm-rewards COMMAND --help tells more of each.",
        ]
    )
