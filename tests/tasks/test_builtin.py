import pickle

import numpy as np
import pytest

from vlm_rewards.tasks.cartpole import CartPoleSimulator
from vlm_rewards.tasks.mountain_car import MountainCarSimulator
from vlm_rewards.tasks.task import get_task, list_tasks, make_task_env

NAMES = ["cartpole", "mountaincar", "mountaincar-textured"]
CLASSES = {
    "cartpole": CartPoleSimulator,
    "mountaincar": MountainCarSimulator,
    "mountaincar-textured": MountainCarSimulator,
}


def play(env, policy, seed):
    """One episode: the last info, the number of steps, and whether it ended by truncation alone."""
    observation, _ = env.reset(seed=seed)
    steps, done = 0, False
    while not done:
        observation, _, terminated, truncated, info = env.step(policy(observation))
        steps, done = steps + 1, terminated or truncated
    return info, steps, truncated and not terminated


def test_the_papers_tasks_are_registered_with_its_prompts():
    assert set(NAMES) <= set(list_tasks())
    assert get_task("cartpole").goal == "pole vertically upright on top of the cart"
    assert get_task("cartpole").baseline == "pole and cart"
    for name in NAMES[1:]:
        assert get_task(name).goal == "a car at the peak of the mountain, next to the yellow flag"
        assert get_task(name).baseline == "a car in the mountain"


@pytest.mark.parametrize("name", NAMES)
def test_unwrapped_is_the_simulator_at_the_size_asked_for(name):
    env = make_task_env(get_task(name), 40)
    env.reset(seed=0)
    assert type(env.unwrapped) is CLASSES[name]
    assert env.render_mode == "rgb_array"
    assert env.render().shape == (40, 40, 3)


def test_the_two_mountain_cars_differ_in_their_picture_alone():
    plain, textured = (make_task_env(get_task(name), 64) for name in NAMES[1:])
    assert (plain.reset(seed=1)[0] == textured.reset(seed=1)[0]).all()
    assert (plain.render() != textured.render()).any()
    assert len(np.unique(plain.render())) < len(np.unique(textured.render()))


@pytest.mark.parametrize("name", NAMES)
def test_tasks_travel_to_other_processes(name):
    task = pickle.loads(pickle.dumps(get_task(name)))
    assert (task.name, task.goal, task.horizon) == (name, get_task(name).goal, 200)
    info, steps, truncated = play(make_task_env(task, 32), task.rule, seed=3)
    assert steps == 200
    assert truncated
    assert info["is_success"]


@pytest.mark.parametrize("name", NAMES)
def test_random_actions_do_not_succeed(name):
    env = make_task_env(get_task(name), 32)
    env.action_space.seed(0)
    outcomes = [play(env, lambda _: env.action_space.sample(), seed)[0]["is_success"] for seed in range(5)]
    assert not any(outcomes)


def test_one_bad_step_costs_the_cartpole_episode():
    task = get_task("cartpole")
    env = make_task_env(task, 32)
    observation, _ = env.reset(seed=0)
    for step in range(200):
        if step == 100:
            env.unwrapped.set_state([0.0, 0.0, 0.3, 0.0])
            observation = env.unwrapped.state
        observation, _, _, _, info = env.step(task.rule(observation))
    assert info["criterion"]  # the rule has caught the pole again
    assert not info["is_success"]
