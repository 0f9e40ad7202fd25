"""Own-state rewards in Minari datasets, wherever the frames come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import vlm_rewards
from offline_datasets import Recorder, Reward, brightness, options, right_rewards, tree_of
from vlm_rewards.collection.shaping import PotentialShaping
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.offline.relabelling import relabel
from vlm_rewards.rewards.base import CallableReward
from vlm_rewards.rewards.combined import CameraReward
from vlm_rewards.testing.counting import counting_label

minari = pytest.importorskip("minari")
h5py = pytest.importorskip("h5py")

NAME, NEW = "test/counting-v0", "test/counting-vlm-v0"


@pytest.mark.parametrize(
    ("where", "frames_from"),
    [
        ("replay", "replay"),
        ("observations", "observations"),
        ("dict", "observations/camera"),
        ("infos", "infos/camera"),
        ("own", "infos/camera"),
    ],
)
def test_each_step_gets_the_reward_of_the_state_it_led_to(recorder: Recorder, where: str, frames_from: str) -> None:
    played = recorder.store(NAME, episodes=6, where=where)
    assert {episode["terminations"][-1] for episode in played} == {True, False}
    record = relabel(NAME, Reward(), options())
    assert record["frames_from"] == [frames_from]
    new = minari.load_dataset(NEW)
    assert new.total_episodes == 6
    for got, episode in zip(new, played, strict=True):
        assert got.rewards.dtype == np.float32
        np.testing.assert_array_equal(got.rewards, right_rewards(episode))
        np.testing.assert_array_equal(got.infos["true_rewards"], episode["rewards"])


def test_a_plain_function_is_a_reward_that_needs_no_encoder(recorder: Recorder) -> None:
    played = recorder.store(NAME, where="infos")
    reward = CallableReward(brightness, frame_size=32)
    record = vlm_rewards.relabel(NAME, reward, vlm_rewards.RelabelOptions(batch_size=4))
    assert record["reward"] == {"formula": "callable", "name": "brightness"}
    assert record["image_size"] == 32
    for got, episode in zip(minari.load_dataset(NEW), played, strict=True):
        np.testing.assert_array_equal(got.rewards, brightness(np.stack(episode["pictures"][1:])))


def test_all_else_is_as_it_was_and_the_old_dataset_too(recorder: Recorder, minari_root: Path) -> None:
    recorder.store(NAME, where="dict", infos={"note": {"deep": np.arange(4)}})
    before = tree_of(minari_root / NAME)
    relabel(NAME, Reward(), options())
    assert tree_of(minari_root / NAME) == before
    old, new = minari.load_dataset(NAME), minari.load_dataset(NEW)
    for one, two in zip(old, new, strict=True):
        for part in ("actions", "terminations", "truncations"):
            np.testing.assert_array_equal(getattr(one, part), getattr(two, part))
        for key in ("camera", "numbers"):
            np.testing.assert_array_equal(one.observations[key], two.observations[key])
        np.testing.assert_array_equal(two.infos["note"]["deep"], np.arange(4))
    one, two = (list(data.storage.get_episode_metadata(range(5))) for data in (old, new))
    assert one == two
    assert two[0]["seed"] == 100
    assert new.env_spec == old.env_spec
    assert minari.list_local_datasets().keys() == {NAME, NEW}


def test_pictures_are_linked_or_copied(recorder: Recorder, minari_root: Path) -> None:
    recorder.store(NAME, where="dict")
    relabel(NAME, Reward(), options())
    relabel(NAME, Reward(), options(out="elsewhere/deep/copied-v3", copy_frames=True))
    with h5py.File(minari_root / NEW / "data" / "main_data.hdf5") as file:
        observations = file["episode_3/observations"]
        link = observations.get("camera", getlink=True)
        assert (link.filename, link.path) == ("../../counting-v0/data/main_data.hdf5", "/episode_3/observations/camera")
        assert isinstance(observations.get("numbers", getlink=True), h5py.HardLink)
    with h5py.File(minari_root / "elsewhere/deep/copied-v3/data/main_data.hdf5") as file:
        assert isinstance(file["episode_3/observations"].get("camera", getlink=True), h5py.HardLink)
    # The folder of datasets may be moved as a whole.
    moved = minari_root.with_name("moved")
    minari_root.rename(moved)
    for name in (NEW, "elsewhere/deep/copied-v3"):
        episode = next(iter(minari.MinariDataset(moved / name / "data")))
        assert episode.observations["camera"].shape[1:] == (32, 32, 3)


def test_relabelling_again_keeps_the_first_rewards_and_links_to_the_first_file(
    recorder: Recorder, minari_root: Path
) -> None:
    played = recorder.store(NAME, where="observations")
    relabel(NAME, Reward(), options())
    record = relabel(NEW, Reward(brightness, "bright"), options(out="third-v1"))
    third = minari.load_dataset("third-v1")
    for got, episode in zip(third, played, strict=True):
        np.testing.assert_array_equal(got.infos["true_rewards"], episode["rewards"])
        np.testing.assert_allclose(got.rewards, brightness(np.stack(episode["pictures"][1:])), atol=1e-6)
    old = np.concatenate([episode["rewards"] for episode in played])
    assert record["true_rewards"]["mean"] == pytest.approx(old.mean())
    with h5py.File(minari_root / "third-v1/data/main_data.hdf5") as file:
        link = file["episode_0"].get("observations", getlink=True)
        assert link.filename == "../../test/counting-v0/data/main_data.hdf5"


def test_the_new_dataset_can_be_used_as_any_other(recorder: Recorder, minari_root: Path) -> None:
    from minari.data_collector.episode_buffer import EpisodeBuffer

    recorder.store(NAME, where="observations", episodes=3)
    relabel(NAME, Reward(), options())
    new = minari.load_dataset(NEW)
    assert len(list(new.filter_episodes(lambda episode: len(episode) > 0))) == 3
    assert len(new.sample_episodes(2)) == 2
    played = recorder.play(7)
    kept = {key: played[key] for key in ("actions", "rewards", "terminations", "truncations")}
    new.update_dataset_from_buffer([EpisodeBuffer(id=3, observations=played["pictures"], infos={}, **kept)])
    assert minari.load_dataset(NEW).total_episodes == 4
    one, two = minari.split_dataset(new, sizes=[2, 1], seed=0)
    assert (one.total_episodes, two.total_episodes) == (2, 1)


def test_the_record_says_what_was_done(recorder: Recorder, minari_root: Path) -> None:
    played = recorder.store(NAME, episodes=6)
    record = relabel(NAME, Reward(), options(), command="vlm-rewards relabel ...")
    metadata = json.loads((minari_root / NEW / "data" / "metadata.json").read_text())
    stored = metadata["vlm_rewards"]
    assert {key: record[key] for key in stored} == stored
    new = np.concatenate([right_rewards(episode) for episode in played]).astype(np.float64)
    old = np.concatenate([episode["rewards"] for episode in played])
    assert stored["source"] == NAME
    assert stored["out"] == NEW
    assert stored["command"] == "vlm-rewards relabel ..."
    assert stored["reward"]["encoder"]["name"] == "fake"
    assert stored["version"] == vlm_rewards.__version__
    assert (stored["episodes"], stored["frames"]) == (6, len(new))
    assert stored["rewards"]["mean"] == pytest.approx(new.mean())
    assert stored["rewards"]["std"] == pytest.approx(new.std())
    assert (stored["rewards"]["min"], stored["rewards"]["max"]) == (new.min(), new.max())
    assert stored["true_rewards"]["mean"] == pytest.approx(old.mean())
    assert stored["correlation"] == pytest.approx(np.corrcoef(new, old)[0, 1])
    assert record["labelled_frames"] == len(new)
    assert record["frames_per_second"] == pytest.approx(len(new) / record["seconds"], rel=0.1)
    assert metadata["dataset_id"] == NEW
    assert "Rewards of test/counting-v0 replaced" in metadata["description"]
    assert metadata["total_steps"] == len(new)
    assert str(minari_root) not in json.dumps(stored)


def test_jpeg_pictures_are_decoded(recorder: Recorder) -> None:
    played = recorder.store(NAME, where="observations", jpeg=True)
    relabel(NAME, Reward(brightness), options())
    for got, episode in zip(minari.load_dataset(NEW), played, strict=True):
        np.testing.assert_allclose(got.rewards, brightness(np.stack(episode["pictures"][1:])), atol=0.01)


def test_several_cameras_make_strips(recorder: Recorder) -> None:
    played = recorder.store(NAME, where="dict", infos={})
    _add_second_camera(NAME)
    with pytest.raises(
        InvalidInputError, match="has frames in several places; choose with frames: observations/camera"
    ):
        relabel(NAME, Reward(brightness), options())
    frames = ("observations/camera", "observations/other")
    with pytest.raises(InvalidInputError, match="frames must name as many frames of a state as the reward scores, 1"):
        relabel(NAME, Reward(brightness), options(frames=frames))
    relabel(NAME, CameraReward(Reward(brightness), cameras=2, rule="min"), options(frames=frames))
    for got, episode in zip(minari.load_dataset(NEW), played, strict=True):
        pictures = np.stack(episode["pictures"][1:])
        lower = np.minimum(brightness(pictures), brightness(255 - pictures))
        np.testing.assert_allclose(got.rewards, lower, atol=1e-6)


def _add_second_camera(name: str) -> None:
    """A negative of the first camera's frames."""
    folder = Path(minari.load_dataset(name).spec.data_path)
    pictures = gym.spaces.Box(0, 255, (32, 32, 3), np.uint8)
    with h5py.File(folder / "main_data.hdf5", "a") as file:
        for group in file.values():
            group["observations"]["other"] = 255 - group["observations"]["camera"][()]
    from minari.serialization import serialize_space

    metadata = json.loads((folder / "metadata.json").read_text())
    numbers = gym.spaces.Box(-1.0, 2.0, (3,), np.float32)
    spaces = gym.spaces.Dict({"camera": pictures, "other": pictures, "numbers": numbers})
    metadata["observation_space"] = serialize_space(spaces)
    (folder / "metadata.json").write_text(json.dumps(metadata))


@pytest.mark.parametrize("where", ["replay", "observations"])
@pytest.mark.parametrize("base", ["environment", "reward"])
def test_shaping_pays_differences_of_potentials(recorder: Recorder, where: str, base: str) -> None:
    played = recorder.store(NAME, episodes=6, where=where)
    gamma = 0.5
    shaping = PotentialShaping(
        Reward(), gamma=gamma, base="environment" if base == "environment" else Reward(brightness)
    )
    relabel(NAME, shaping, options())
    for got, episode in zip(minari.load_dataset(NEW), played, strict=True):
        potential = counting_label(np.stack(episode["observations"])).astype(np.float64)
        bright = brightness(np.stack(episode["pictures"][1:]))
        for step, paid in enumerate(got.rewards):
            after = 0.0 if episode["terminations"][step] else potential[step + 1]
            first = episode["rewards"][step] if base == "environment" else float(bright[step])
            assert paid == pytest.approx(first + gamma * after - potential[step], abs=1e-6)


def test_shaping_needs_the_first_state(recorder: Recorder) -> None:
    recorder.store(NAME, where="own")
    with pytest.raises(InvalidInputError, match="hold no frame of the state before the first step"):
        relabel(NAME, PotentialShaping(Reward(), gamma=0.9), options())


def test_a_dataset_may_be_given_as_its_folder(recorder: Recorder, minari_root: Path, monkeypatch: Any) -> None:
    played = recorder.store(NAME, where="infos")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(minari_root / "not-there"))
    for folder, out in ((minari_root / NAME, "one-v0"), (minari_root / NAME / "data", "two-v0")):
        relabel(folder, Reward(), options(out=out))
        got = minari.MinariDataset(minari_root / out / "data")[0]
        np.testing.assert_array_equal(got.rewards, right_rewards(played[0]))
