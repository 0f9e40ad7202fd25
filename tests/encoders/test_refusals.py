"""What cannot be loaded is refused, before any download, in words that say what to do."""

import json
import os
import pickle
import sys
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.errors import (
    CheckpointError,
    InvalidInputError,
    MissingExtraError,
    UnknownNameError,
    WeightsNotFoundError,
)

pytestmark = pytest.mark.usefixtures("no_network")


class RunsCode:
    """A pickle that runs a command where it is loaded without care."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.fixture
def broken_copy(tmp_path, model_folder):
    """A function that copies a model's folder with another configuration; None takes a key away."""

    def copy(architecture="ViT-B-32", **changes):
        folder = tmp_path / "copy"
        folder.mkdir()
        for file in model_folder(architecture).iterdir():
            (folder / file.name).symlink_to(file)
        config = json.loads((folder / "open_clip_config.json").read_text())
        config["model_cfg"] = {k: v for k, v in {**config["model_cfg"], **changes}.items() if v is not None}
        (folder / "open_clip_config.json").unlink()
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        return folder

    return copy


class TestNames:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            (
                "ViT-B-23/openai",
                "unknown open_clip architecture 'ViT-B-23'. Did you mean .*'ViT-B-32'.*Accepted: bundled",
            ),
            ("ViT-B/32", "unknown open_clip architecture 'ViT-B'.*'ViT-B-32'"),
            (
                "RN50/opnai",
                "unknown pretrained tag of RN50 'opnai'. Did you mean 'openai'.*Tags of RN50: openai, yfcc15m, cc12m",
            ),
            ("RN50", "'RN50' is an architecture without weights: say which, as 'RN50/tag'. Tags of RN50: openai"),
            (
                "ViT-M-16-alt",
                "open_clip has no pretrained weights for it; give a file: 'ViT-M-16-alt=/path/file.safetensors'",
            ),
            ("bundle", "unknown encoder 'bundle'. Did you mean 'bundled'"),
            ("", "unknown encoder ''.*Accepted: bundled; Architecture/tag"),
            ("RN51=/x.safetensors", "unknown open_clip architecture 'RN51'"),
            ("RN50/nothing=/x.safetensors", "unknown pretrained tag of RN50 'nothing'"),
            ("hf-hub:one", "must be 'hf-hub:org/name'. Accepted"),
            ("hf-hub:one/two/three", "must be 'hf-hub:org/name'"),
        ],
    )
    def test_unknown(self, name, message):
        with pytest.raises(UnknownNameError, match=message):
            load_encoder(name)

    def test_folder_written_without_a_dot(self, tmp_path, monkeypatch):
        (tmp_path / "runs" / "mine").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UnknownNameError, match=r"There is a folder of that name: write './runs/mine'"):
            load_encoder("runs/mine")
        with pytest.raises(UnknownNameError, match=r"There is a folder of that name: write './runs'"):
            load_encoder("runs")

    def test_file_without_an_architecture(self, model_folder):
        path = model_folder("ViT-B-32") / "open_clip_model.safetensors"
        with pytest.raises(UnknownNameError, match="is a file; say which architecture it is for"):
            load_encoder(path)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"device": "gpu"}, "device must be auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
            ({"device": "cuda:99"}, "device must be one that this machine has, got 'cuda:99'"),
            ({"device": "meta"}, "device must be one that this machine has, got 'meta'"),
            ({"device": "cpu", "dtype": "float32"}, "dtype must be one of auto, fp32, bf16, fp16, got 'float32'"),
            ({"device": "cpu", "dtype": "fp16"}, "dtype must be auto, fp32 or bf16 on the CPU, got 'fp16'"),
            ({"batch_size": 0}, "batch_size must be an int of at least 1, got 0"),
            ({"batch_size": True}, "batch_size must be an int of at least 1, got True"),
        ],
    )
    def test_settings_are_judged_first(self, settings, message):
        with pytest.raises(InvalidInputError, match=message):
            load_encoder("ViT-B-32/openai", **settings)


class TestMissing:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("./nowhere", "there is no folder .*nowhere"),
            ("local-dir:nowhere", "there is no folder .*nowhere"),
            ("RN50=nowhere.safetensors", "there is no file .*nowhere.safetensors"),
        ],
    )
    def test_paths(self, name, message):
        with pytest.raises(WeightsNotFoundError, match=message):
            load_encoder(name)

    def test_configuration(self, tmp_path):
        with pytest.raises(WeightsNotFoundError, match=r"has no open_clip_config.json"):
            load_encoder(tmp_path)

    def test_weights(self, broken_copy):
        folder = broken_copy()
        (folder / "open_clip_model.safetensors").unlink()
        with pytest.raises(WeightsNotFoundError, match=r"has no weights; put open_clip_model.safetensors there"):
            load_encoder(folder)

    def test_weights_that_could_be_either(self, broken_copy):
        folder = broken_copy()
        (folder / "open_clip_model.safetensors").rename(folder / "epoch_1.safetensors")
        (folder / "epoch_2.safetensors").symlink_to(folder / "epoch_1.safetensors")
        with pytest.raises(
            CheckpointError, match=r"must hold one file of weights.*epoch_1.safetensors, epoch_2.safetensors"
        ):
            load_encoder(folder)

    def test_bundled(self, monkeypatch, tmp_path):
        monkeypatch.setattr("vlm_rewards.encoders.sources.bundled_folder", lambda: tmp_path)
        with pytest.raises(WeightsNotFoundError, match=r"bundled encoder has no weights.*`vlm-rewards finetune`"):
            load_encoder("bundled")

    @pytest.mark.parametrize(
        ("name", "form"),
        [("ViT-B-32/openai", "'ViT-B-32/openai=/path/file.safetensors'"), ("hf-hub:a/b", "'Architecture=/path/file")],
    )
    def test_no_network(self, name, form, hub_cache, monkeypatch):
        def fail(*args, **kwargs):
            raise OSError("Name or service not known")

        monkeypatch.setattr("open_clip.pretrained.download_pretrained", fail)
        monkeypatch.setattr("open_clip.pretrained.download_pretrained_from_hf", fail)
        with pytest.raises(
            WeightsNotFoundError, match=rf"could not be downloaded \(OSError: Name or .*{form}.*'bundled'"
        ):
            load_encoder(name)

    def test_tokenizer(self, broken_copy, hub_cache, small_architectures, tmp_path):
        folder = broken_copy("ViT-B-16-SigLIP")
        for file in folder.glob("*token*"):
            file.unlink()
        message = r"needs the tokenizer 'timm/ViT-B-16-SigLIP', whose files \(tokenizer.json, ...\) are neither beside"
        for name in (str(folder), f"ViT-B-16-SigLIP={folder / 'open_clip_model.safetensors'}"):
            with pytest.raises(WeightsNotFoundError, match=message):
                load_encoder(name)

    def test_text_tower(self, broken_copy, hub_cache):
        text = {"hf_model_name": "roberta-base", "hf_tokenizer_name": "roberta-base"}
        folder = broken_copy("ViT-B-16-SigLIP", text_cfg=text)
        # What open_clip's repositories call config.json may describe a whole CLIP; that does not count.
        (folder / "config.json").write_text('{"model_type": "clip"}')
        with pytest.raises(WeightsNotFoundError, match=r"text tower 'roberta-base', whose config.json is neither"):
            load_encoder(folder)

    def test_extra(self, model_folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingExtraError, match=r'needs transformers .*pip install "vlm-rewards\[hf\]"'):
            load_encoder(model_folder("ViT-B-16-SigLIP"))
        assert load_encoder(model_folder("ViT-B-32"), device="cpu").embedding_dim == 32


class TestDamaged:
    @pytest.mark.parametrize("text", ["{", "[]", '{"model_cfg": 3}', "{}"])
    def test_configuration(self, text, tmp_path):
        (tmp_path / "open_clip_config.json").write_text(text)
        message = (
            "open_clip_config.json('? cannot be read|' must hold a JSON object| must be .* with the key 'model_cfg')"
        )
        with pytest.raises(CheckpointError, match=message):
            load_encoder(tmp_path)

    def test_configuration_without_a_key(self, broken_copy):
        with pytest.raises(
            CheckpointError, match="model_cfg must have the key 'embed_dim'; it has vision_cfg, text_cfg"
        ):
            load_encoder(broken_copy(embed_dim=None))

    def test_configuration_of_nothing_known(self, broken_copy):
        with pytest.raises(CheckpointError, match=r"not be what its model_cfg describes: .*sharpness"):
            load_encoder(broken_copy(sharpness=3))

    def test_configuration_that_wants_code(self, broken_copy):
        text = {"hf_tokenizer_name": "x/y", "tokenizer_kwargs": {"trust_remote_code": True}}
        with pytest.raises(CheckpointError, match="asks for trust_remote_code; a model is data, not code"):
            load_encoder(broken_copy(text_cfg=text))

    def test_configuration_that_wants_the_network(self, broken_copy):
        vision = {"timm_model_name": "hf-hub:somebody/tower", "image_size": 64}
        with pytest.raises(CheckpointError, match="must name an architecture of timm, got 'hf-hub:somebody/tower'"):
            load_encoder(broken_copy(vision_cfg=vision))

    @pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
    @pytest.mark.parametrize("keep", [0, 7, 0.5, 0.99])
    def test_cut_short(self, suffix, keep, tmp_path, model_folder, small_architectures):
        path = tmp_path / f"x{suffix}"
        state = load_file(model_folder("RN50") / "open_clip_model.safetensors")
        save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
        with pytest.raises(CheckpointError, match=f"x{suffix}' cannot be loaded; it may be cut short"):
            load_encoder(f"RN50={path}")

    @pytest.mark.parametrize(
        ("protocol", "message"),
        [
            (
                "torch",
                r"unpickling it could run code; it was refused.*\(Trying to load unsupported GLOBAL posix.system",
            ),
            ("pickle", "hold no state_dict.*Unsupported operand"),
        ],
    )
    def test_pickled_code_is_not_run(self, protocol, message, tmp_path, small_architectures):
        path, trace = tmp_path / "x.pt", tmp_path / "trace"
        content = {"state_dict": RunsCode(f"touch {trace}")}
        torch.save(content, path) if protocol == "torch" else path.write_bytes(pickle.dumps(content))
        with pytest.raises(CheckpointError, match=message) as caught:
            load_encoder(f"RN50={path}")
        assert not trace.exists()
        assert "weights_only" not in str(caught.value)
        # The test is worth nothing if the file could not do harm.
        torch.load(path, weights_only=False) if protocol == "torch" else pickle.loads(path.read_bytes())
        assert trace.exists()

    def test_scripted_model(self, tmp_path, small_architectures):
        path = tmp_path / "x.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
        with pytest.raises(CheckpointError, match="convert its state_dict to safetensors first"):
            load_encoder(f"RN50={path}")

    @pytest.mark.parametrize("content", [{}, [1, 2], {"state_dict": 3}])
    def test_no_state_dict(self, content, tmp_path, small_architectures):
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(CheckpointError, match="hold no state_dict"):
            load_encoder(f"RN50={tmp_path / 'x.pt'}")

    def test_other_keys(self, tmp_path, model_folder, small_architectures):
        state = load_file(model_folder("RN50") / "open_clip_model.safetensors")
        state = {key: value for key, value in state.items() if not key.startswith("transformer.")}
        save_file({**state, "ema.decay": torch.zeros(1)}, tmp_path / "x.safetensors")
        message = (
            r"does not fit the architecture. Missing keys \(24\): transformer.resblocks.0.\S+, \S+, \S+, .... "
            r"Unexpected keys \(1\): ema.decay.$"
        )
        with pytest.raises(CheckpointError, match=message):
            load_encoder(f"RN50={tmp_path / 'x.safetensors'}")

    def test_other_shapes(self, tmp_path, model_folder, small_architectures):
        state = load_file(model_folder("RN50") / "open_clip_model.safetensors")
        state["ln_final.weight"] = torch.zeros(7)
        save_file(state, tmp_path / "x.safetensors")
        with pytest.raises(CheckpointError, match=r"Other shapes \(1\): ln_final.weight \(file \[7\], model \[32\]\)."):
            load_encoder(f"RN50={tmp_path / 'x.safetensors'}")

    def test_other_suffix(self, tmp_path):
        np.savez(tmp_path / "x.npz", a=np.zeros(1))
        with pytest.raises(InvalidInputError, match=r"must end in one of .safetensors, .bin, .*, got '.npz'"):
            load_encoder(f"RN50={tmp_path / 'x.npz'}")

    def test_tower_whose_parts_do_not_fit(self, tmp_path, save_folder):
        # open_clip's linear projection expects another width than this trunk of timm has.
        vision = {"image_size": 64, "timm_model_name": "mobilenetv4_conv_small_050", "timm_proj": "linear"}
        text = {"context_length": 8, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
        save_folder(tmp_path / "m", {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}, {})
        with pytest.raises(CheckpointError, match="its parts do not fit each other"):
            load_encoder(tmp_path / "m")

    def test_vocabulary_smaller_than_the_tokenizer(self, tmp_path, save_folder):
        vision = {"image_size": 64, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
        text = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}
        save_folder(tmp_path / "m", {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}, {})
        with pytest.raises(CheckpointError, match="its parts do not fit each other: IndexError"):
            load_encoder(tmp_path / "m", device="cpu")
