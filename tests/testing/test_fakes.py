import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.testing.fakes import FakeEncoder


@given(n=st.integers(1, 6), height=st.integers(1, 9), width=st.integers(1, 9), dim=st.integers(2, 20))
def test_a_picture_is_embedded_the_same_alone_and_in_a_batch(n, height, width, dim):
    encoder = FakeEncoder(dim)
    frames = np.random.default_rng(n).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    together = encoder.embed_images(frames)
    assert together.shape == (n, dim)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(together, np.concatenate([encoder.embed_images(frame[None]) for frame in frames]))


def test_pictures_differ_where_any_quarter_differs():
    encoder = FakeEncoder()
    black = np.zeros((1, 8, 8, 3), np.uint8)
    for row in range(0, 8, 2):
        for column in range(0, 8, 2):
            other = black.copy()
            other[0, row : row + 2, column : column + 2, 1] = 200
            assert not np.array_equal(encoder.embed_images(black), encoder.embed_images(other))


def test_grey_has_a_direction():
    assert np.isfinite(FakeEncoder().embed_images(np.full((1, 5, 5, 3), 127, np.uint8))).all()


def test_sentences():
    encoder = FakeEncoder(8)
    a, b, again = encoder.embed_texts(["a", "b", "a"])
    np.testing.assert_array_equal(a, again)
    assert not np.array_equal(a, b)
    np.testing.assert_allclose(np.linalg.norm([a, b], axis=1), 1, atol=1e-6)
    assert not np.array_equal(a, FakeEncoder(8, seed=1).embed_texts(["a"])[0])


def test_protocol_and_pickle():
    encoder = FakeEncoder(6, image_size=48, seed=3)
    assert isinstance(encoder, ImageTextEncoder)
    copy = pickle.loads(pickle.dumps(encoder))
    assert copy.describe() == encoder.describe()
    assert (copy.name, copy.image_size, copy.embedding_dim) == ("fake", 48, 6)
    frames = np.full((2, 3, 3, 3), 9, np.uint8)
    np.testing.assert_array_equal(copy.embed_images(frames), encoder.embed_images(frames))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.embed_images(np.zeros((1, 4, 4, 3))), "frames must be uint8 .0 to 255., got dtype float64"),
        (lambda e: e.embed_images(np.zeros((0, 4, 4, 3), np.uint8)), r"with n, h, w >= 1, got \(0, 4, 4, 3\)"),
        (lambda e: e.embed_texts("a"), "prompts must be a list of at least one string; got 'a'"),
        (lambda e: e.embed_texts([]), r"prompts must be a list of at least one string; got \[\]"),
        (lambda e: e.embed_texts(["a", ""]), r"prompts\[1\] must be a string that is not empty; got ''"),
        (lambda e: FakeEncoder(1), "embedding_dim must be at least 2, got 1"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call(FakeEncoder())


def test_needs_no_torch():
    code = "import sys, vlm_rewards.testing; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
