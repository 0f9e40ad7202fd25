"""Bad input on the command line ends before work starts: one message, exit code 2, and nothing written.

Each is tried in this process, where types are checked at run time, and once more in a process without.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_rewards.cli import main

TRAIN = "train cartpole --run-dir run"
SENTENCES = "--goal red --baseline any"
POINT = """
import dataclasses
from vlm_rewards import register_task
from vlm_rewards.testing.point import point_task
TASK = register_task(point_task("point-in-a-file"{}), replace=True)
"""
BROKEN = (
    POINT.format("")
    + """
import gymnasium
import numpy as np
def build(size):
    simulator = point_task().simulator(size)
    {}
    return simulator
TASK = register_task(dataclasses.replace(TASK, simulator=build), replace=True)
"""
)
FILES = {
    "point.py": POINT.format(""),
    "undrawn.py": BROKEN.format("simulator.render_mode = None"),
    "grey.py": BROKEN.format("simulator.render = lambda: np.zeros((size, size), dtype=np.uint8)"),
    "many.py": BROKEN.format("simulator.action_space = gymnasium.spaces.MultiBinary(3)"),
    "horizon.py": POINT.format(", horizon=0"),
    "raises.py": "1 / 0",
    "empty.py": "",
    "words.png": "no frame",
    "cut.safetensors": "\0" * 5,
    "notes/thesis.tex": "everything",
    "damaged/config.json": "{",
    "damaged.json": "{",
}

REFUSED = [
    # What to do at all
    ("trian", "unknown command 'trian'. Did you mean 'train'"),
    ("train --seed 1", "the task must come first, got '--seed'"),
    ("train cartpol", "unknown task 'cartpol'. Did you mean 'cartpole'"),
    ("train cartpole --preset gpu", "unknown preset 'gpu'. Did you mean 'cpu'"),
    ("train cartpole --preset", "Missing value for argument '--preset'"),
    ("train cartpole --algo sca", "unknown algorithm 'sca'. Did you mean 'sac'"),
    ("train cartpole --algo a2c", "algorithm 'a2c' is not offered"),
    ("train cartpole --algo sac", "algorithm sac needs a Box action space, got Discrete(2)"),
    ("train cartpole --preset paper --algo qrdqn", "preset must be 'cpu' with algorithm 'qrdqn'"),
    (f"{TRAIN} --colour red", "--colour"),
    (f"{TRAIN} --textures original", "--textures"),
    ("train kneeling --run-dir run --camera side", "invalid choice 'side'"),
    # Settings of a run
    (f"{TRAIN} --alpha 2", "alpha must be a number from 0 to 1, got 2.0"),
    (f"{TRAIN} --alpha nan", "alpha must be a number from 0 to 1, got nan"),
    (f"{TRAIN} --alpha half", "Error parsing --alpha"),
    (f"{TRAIN} --goal same --baseline same", "goal and baseline must differ, both are 'same'"),
    (f"{TRAIN} --goal=", "goal must be a sentence that is not empty, got ''"),
    (f"{TRAIN} --goal {'x' * 10_000}", "goal must have at most 1,000 characters"),
    (f"{TRAIN} --steps 0", "steps must be an int of at least 1, got 0"),
    (f"{TRAIN} --steps 500", "learning_starts must be less than steps (500)"),
    (f"{TRAIN} --steps many", "invalid"),
    (f"{TRAIN} --seed -1", "seed must be an int from 0 to 4294967295, got -1"),
    (f"{TRAIN} --n-envs 0", "n_envs must be an int of at least 1, got 0"),
    (f"{TRAIN} --n-envs 2000000 --chunk-frames 4000000", "the frames in flight need"),
    (f"{TRAIN} --buffer-size 1000000000000", "buffer_size asks for 1,000,000,000,000 transitions"),
    (f"{TRAIN} --learning-rate 0", "learning_rate must be positive, got 0.0"),
    (f"{TRAIN} --net-arch 0", "net_arch must be a list of at least one positive width"),
    (f"{TRAIN} --gamma 1.5", "gamma must be a number from 0 to 1, got 1.5"),
    (f"{TRAIN} --standardise 100000000", "learning would start before the rewards are known"),
    (f"{TRAIN} --device tpu", "device must be one of auto, cpu, cuda, mps, got 'tpu'"),
    (f"{TRAIN} --dtype int4", "dtype must be one of auto, fp32, bf16, fp16, got 'int4'"),
    (f"{TRAIN} --dtype fp16 --device cpu", "dtype must be auto, fp32 or bf16 on the CPU"),
    (f"{TRAIN} --checkpoint-seconds -1", "checkpoint_seconds must be a number of at least 0"),
    ("train cartpole --run-dir notes", "is in use and holds no run; it will not be overwritten"),
    ("train cartpole --run-dir notes --overwrite", "is in use and holds no run; it will not be overwritten"),
    ("train cartpole --run-dir words.png/run", "is not a folder"),
    # Encoders
    (f"{TRAIN} --encoder bundle", "unknown encoder 'bundle'. Did you mean 'bundled'"),
    (f"{TRAIN} --encoder ViT-B-23/openai", "'ViT-B-23'. Did you mean"),
    (f"{TRAIN} --encoder RN50", "is an architecture without weights"),
    (f"{TRAIN} --encoder RN50=no.safetensors", "there is no file"),
    (f"{TRAIN} --encoder RN50=cut.safetensors", "it may be cut short"),
    (f"{TRAIN} --encoder ./notes", "has no open_clip_config.json"),
    # Reward forms
    (f"{TRAIN} --form contrst", "unknown reward form 'contrst'. Did you mean 'contrast'"),
    (f"{TRAIN} --form goal-pictures", "the reward form 'goal-pictures' needs goal_pictures"),
    (f"{TRAIN} --form goal-pictures --goal-pictures no.png", "there is no 'no.png'"),
    (f"{TRAIN} --form goal-pictures --goal-pictures words.png", "words.png"),
    (f"{TRAIN} --form demonstration --demonstration no.mp4", "no.mp4"),
    (f"{TRAIN} --temperature 0.1", "temperature is of no use to the reward form 'goal-baseline'"),
    (f"{TRAIN} --form softmax --temperature 0", "temperature must be positive, got 0.0"),
    ("train cartpole --form softmax --others low ''", "others must be a sentence that is not empty"),
    # Any environment
    ("train --env-id CartPole-v1", "goal must be given with env_id: what the state should look like"),
    ("train --env-id CartPole-v1 --goal red", "baseline must be given with env_id: what any state looks like"),
    (f"train --env-id CartPole-v9 {SENTENCES}", "unknown environment 'CartPole-v9'"),
    (f"train --env-id nowhere:X-v0 {SENTENCES}", "names a module that cannot be imported"),
    (f"train cartpole --env-id CartPole-v1 {SENTENCES}", "give a task or env_id, not both"),
    (f"train --env-id CartPole-v1 --preset paper {SENTENCES}", "preset must be 'cpu' with env_id"),
    (f"train --env-id CartPole-v1 --horizon 0 {SENTENCES}", "horizon must be an int of at least 1, got 0"),
    (f"train --env-id CartPole-v1 --env-kwargs [] {SENTENCES}", "env_kwargs must be a JSON object, got '[]'"),
    (f"train --env-id CartPole-v1 --cameras side {SENTENCES}", "is no MuJoCo environment"),
    (f"train --env-id CartPole-v1 --textures realistic {SENTENCES}", "textures must be left out: 'CartPole-v1' is no"),
    (f"train --env-id Hopper-v5 --textures shiny {SENTENCES}", "invalid choice 'shiny'"),
    (f"train --env-id Hopper-v5 --view 3 0 0 1 {SENTENCES}", "view must be six numbers"),
    (f"train --env-id Hopper-v5 --view 3 0 0 1 90 -10 --cameras track {SENTENCES}", "view must be left out where cam"),
    (f"train --env-id Pendulum-v1 --algo dqn {SENTENCES}", "algorithm dqn needs a Discrete action space"),
    ("train no.py", "task file 'no.py' does not exist"),
    ("train raises.py", "raised ZeroDivisionError"),
    ("train empty.py", "has no task: call register_task"),
    ("train point.py:other", "'other'"),
    ("train horizon.py", "horizon of task 'point-in-a-file' must be an int of at least 1, got 0"),
    ("train undrawn.py --run-dir run", 'must be "rgb_array", got None'),
    ("train grey.py --run-dir run", "must return a uint8 array [height width 3]"),
    ("train many.py", "action space"),
    # Other verbs
    ("train --resume", "Missing value for argument '--resume'"),
    ("train --resume nowhere", "run must be a folder that `vlm-rewards train` wrote, got 'nowhere'"),
    ("train --resume notes", "run must be a folder that `vlm-rewards train` wrote, got 'notes'"),
    ("train --resume damaged", "cannot be read"),
    ("train mountaincar --resume damaged", "leave out the task 'mountaincar'"),
    ("train --resume damaged --algo sac", "leave out the algo 'sac'"),
    ("evaluate nowhere", "run must be a folder that `vlm-rewards train` wrote"),
    ("export nowhere", "run must be a folder that `vlm-rewards train` wrote"),
    ("evaluate cartpol --policy zero", "unknown task 'cartpol'"),
    ("evaluate cartpole --policy zero --episodes 0", "episodes must be an int of at least 1, got 0"),
    ("evaluate cartpole --policy zero --algo dqn", "evaluate takes no --algo"),
    ("evaluate cartpole --policy zeros", "unknown policy 'zeros'. Did you mean 'zero'"),
    ("evaluate kneeling --policy rule", "policy must not be 'rule': task 'kneeling' has no one-line rule"),
    ("evaluate cartpole", "--policy"),
    ("score --goal red", "paths"),
    ("score no.png --goal red", "no.png"),
    ("score words.png --goal red", "words.png"),
    ("score dot.png --goal=", "goal must be a sentence that is not empty"),
    ("score dot.png --goal red --baseline red", "goal and baseline must differ"),
    ("score dot.png --goal red --baseline any --alpha 2", "alpha must be in [0, 1], got 2.0"),
    ("score dot.png --goal red --batch-size 0", "batch_size must be an int of at least 1, got 0"),
    ("score dot.png --goal red --json --csv", "choose one of --json and --csv"),
    (f"relabel nowhere/x-v0 {SENTENCES}", "nowhere/x-v0"),
    (f"relabel ./notes {SENTENCES}", "notes"),
    ("relabel nowhere/x-v0 --goal red", "the reward form 'goal-baseline' needs a baseline"),
    (f"relabel nowhere/x-v0 --alpha 2 {SENTENCES}", "alpha must be in [0, 1], got 2.0"),
    (f"relabel nowhere/x-v0 --env-kwargs [] {SENTENCES}", "env_kwargs must be a JSON object"),
    (f"relabel nowhere/x-v0 --in-place --out y {SENTENCES}", "out and in_place exclude each other"),
    (f"relabel nowhere/x-v0 --batch-size 0 {SENTENCES}", "batch_size must be an int of at least 1"),
    ("finetune --steps 0", "steps must be an int of at least 1, got 0"),
    ("finetune --tasks cartpol", "'cartpol'"),
    ("finetune --out nowhere --resume", "there is no training to go on with in 'nowhere'"),
    # Judging
    ("judge cartpol", "unknown task 'cartpol'. Did you mean 'cartpole'"),
    ("judge cartpole --algo dqn", "judge takes no --algo: no agent is trained"),
    ("judge cartpole --camera fixed", "--camera"),
    ("judge kneeling --camera side", "invalid choice 'side'"),
    ("judge cartpole --observations compact", "--observations"),
    (f"evaluate --env-id CartPole-v1 --policy zero --textures realistic {SENTENCES}", "is no MuJoCo environment"),
    ("judge cartpole --alpha 0.5 2", "alpha must be in [0, 1], got 2.0"),
    ("judge cartpole --focus 0.25", "focus must be one of the alphas"),
    ("judge cartpole --goal red blue --baseline blue", "goal and baseline must differ, both are 'blue'"),
    ("judge cartpole --goal=", "goal must be a sentence that is not empty"),
    ("judge cartpole --encoder bundle", "unknown encoder 'bundle'. Did you mean 'bundled'"),
    ("judge cartpole --encoder bundled bundled", "encoder must be named once each, got bundled, bundled"),
    ("judge cartpole --states nowhere", "states must be uniform, random, rule, the folder of a run or a folder"),
    ("judge cartpole --states rule rule", "states must be named once each, got rule, rule"),
    ("judge cartpole --states notes", "states from the frames of 'notes' need --labels"),
    ("judge cartpole --states damaged", "cannot be read"),
    ("judge cartpole --count 1", "count must be an int of at least 2, got 1"),
    ("judge cartpole --state-seed -1", "seed must be an int from 0 to 4294967295, got -1"),
    ("judge cartpole --labels no.csv", "labels 'no.csv' cannot be read"),
    ("judge cartpole --labels raises.py", "must have the columns file (or index) and label"),
    ("judge cartpole --save-states notes", "save_states must be a new or empty folder, got 'notes'"),
    ("judge cartpole --save-states new --size 0", "size must be an int of at least 32 pixels, got 0"),
    ("judge cartpole --out dot.png", "out must be a folder, got the file 'dot.png'"),
    ("judge cartpole --dtype fp16 --device cpu", "dtype must be auto, fp32 or bf16 on the CPU"),
    (f"judge --env-id CartPole-v1 --states rule {SENTENCES}", "states 'rule' need a one-line rule"),
    ("judge point.py --states uniform", "PointEnv cannot be put into a state"),
    ("judge cartpole --save-states s.npz --format csv", "invalid choice 'csv'"),
    ("judge cartpole --save-states states --format npz", "save_states must end in .npz with format npz, got 'states'"),
    ("judge cartpole --save-states s.npz --format hf", "save_states must be a folder with format hf, got 's.npz'"),
    ("judge cartpole --save-states notes --format hf", "save_states 'notes' is in use and holds no data set"),
    (
        "judge cartpole --save-states notes --format hf --overwrite",
        "save_states 'notes' is in use and holds no data set",
    ),
    ("judge cartpole --save-states dot.png/s.npz", "save_states 'dot.png/s.npz' cannot be made"),
    ("judge cartpole --save-states s.npz --size 31", "size must be an int of at least 32 pixels, got 31"),
    ("judge cartpole --save-states s.npz --count 1", "count must be an int of at least 2, got 1"),
    ("judge kneeling --save-states s.npz --count 3", "count must be an int of at least 4, got 3"),
    (
        f"judge --env-id Hopper-v5 --cameras track -1 --save-states s.npz {SENTENCES}",
        "cameras must be one where rewards are",
    ),
    ("judge cartpole --along pole", "unknown state dimension 'pole'. Did you mean 'pole_angle'"),
    ("judge cartpole --along cart_velocity", "low is needed: state dimension 'cart_velocity' has no bounds"),
    ("judge cartpole --along default --low 1 --high 0", "low must be less than high, got 1 and 0"),
    ("judge cartpole --along default --at cart_position", "at must be NAME=VALUE with a number, got 'cart_position'"),
    (
        "judge cartpole --along default --at cart_position=far",
        "at must be NAME=VALUE with a number, got 'cart_position=far'",
    ),
    ("judge cartpole --along default --at cart_position=1 cart_position=2", "at must name 'cart_position' once"),
    ("judge cartpole --along cart_velocity --low -1 --high 1", "'cart_velocity' cannot be seen"),
    (f"judge --env-id Hopper-v5 --cameras track -1 {SENTENCES}", "cameras must be one where rewards are judged, got 2"),
    (
        "judge cartpole --along default --at cart_position=9",
        "state dimension 'cart_position' must be in [-2.4, 2.4], got 9",
    ),
    ("judge cartpole --to-state pole_angle=1 --low 0", "draw a line of their own: leave out --low"),
    ("judge cartpole --along default --count 9", "count is of no use where rewards are drawn along a line"),
    ("judge cartpole --along default --dry-run", "dry_run plans a judgement"),
    ("judge cartpole --save-states new.npz --dry-run", "dry_run plans a judgement"),
    ("judge cartpole --along default --points 1", "points must be an int of at least 2, got 1"),
    ("judge point.py --along list", "PointEnv cannot be put into a state"),
    ("judge cartpole --out new --encoder paper RN50/openai", "encoder must be named once each"),
    ("judge cartpole --out new --encoder tiny RN50/openia", "unknown pretrained tag of RN50 'openia'"),
    ("list cached --clear nobody", "the cache is empty"),
    ("sweep cartpole", "out must name the sweep's folder"),
    ("report", "no runs were named"),
    ("report nowhere", "runs must be files or folders that exist, got 'nowhere'"),
    ("report damaged.json", "damaged.json"),
    ("report run --max-mb 0", "max_mb must be a positive number, got 0.0"),
    ("report run --title=", "title must be a text that is not empty, got ''"),
    ("report run --out nowhere/a.html", "out must lie in a folder that exists, got 'nowhere/a.html'"),
    ("report run --out a.md --markdown a.md", "out and markdown must be two files, both are 'a.md'"),
]


def arguments_of(line: str) -> list[str]:
    return [argument.strip("'") for argument in line.split(" ")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return filled(tmp_path, monkeypatch)


def filled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    Image.fromarray(np.zeros((40, 40, 3), dtype=np.uint8)).save(folder / "dot.png")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder / "minari"))
    monkeypatch.setenv("VLM_REWARDS_CACHE", str(folder / "cache"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def said(text: str) -> str:
    """What was printed, without the box and the line breaks that tyro puts it into."""
    return " ".join(text.translate(str.maketrans("│╭╰╮╯─", "      ")).split())


def check(line: str, message: str, code: int, errors: str) -> None:
    assert code == 2, errors
    assert message.lower() in said(errors).lower()
    assert "Traceback" not in errors
    assert len(said(errors)) < 1_200, "a message is to be read"


@pytest.mark.parametrize(("line", "message"), REFUSED, ids=lambda value: value[:60])
def test_refused(line: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(folder)
    with pytest.raises(SystemExit) as ended:
        main(arguments_of(line))
    assert isinstance(ended.value.code, int)
    check(line, message, ended.value.code, capsys.readouterr().err)
    assert contents(folder) == before
    assert not (folder / "run").exists()


UNCHECKED = """
import contextlib, io, json, sys, warnings
warnings.simplefilter("ignore")
from vlm_rewards.cli import main
answers = []
for arguments in json.load(sys.stdin):
    errors, code = io.StringIO(), None
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            main(arguments)
        except SystemExit as ended:
            code = ended.code
        except BaseException as error:
            errors.write(f"Traceback: {error!r}")
    answers.append([code, errors.getvalue()])
print(json.dumps(answers))
"""


@pytest.mark.slow
def test_refused_without_type_checks(folder: Path) -> None:
    before = contents(folder)
    done = subprocess.run(
        [sys.executable, "-c", UNCHECKED],
        input=json.dumps([arguments_of(line) for line, _ in REFUSED]),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    for (line, message), (code, errors) in zip(REFUSED, json.loads(done.stdout.splitlines()[-1]), strict=True):
        check(line, message, code, errors)
    assert contents(folder) == before
