"""Foreign checkpoints: read they do what their maths says; damaged or strange ones are refused by name."""

import json
import pickle
import struct
import warnings
from pathlib import Path

import foreign
import pytest
import torch
from foreign import ALL, D, Foreign, K, M
from safetensors.torch import load_file

from saebench.saes import TopK, formats

X = foreign.random(50, D, seed=9) * 2 + 0.5


def refused(path: Path, format: str | None = None) -> str:
    """The one line by which a checkpoint is refused."""
    with pytest.raises(ValueError, match=r".+") as error:
        formats.load(path, format)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 400
    assert str(path) in message or str(path.parent) in message
    return message


@pytest.mark.parametrize("name", ALL)
def test_the_maths_of_the_format(tmp_path, name):
    checkpoint = ALL[name]()
    path = checkpoint.write(tmp_path)
    assert formats.detect(path) == checkpoint.format
    sae = formats.read(path).sae
    assert not sae.training
    with torch.no_grad():
        codes, output = sae.reconstruct(X)
    want = checkpoint.codes(X)
    assert 0.01 < (want != 0).float().mean() < 0.7
    torch.testing.assert_close(codes.to_dense(), want, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output, checkpoint.decode(want, X), rtol=1e-5, atol=1e-5)


def test_small_activations_under_a_layer_norm(tmp_path):
    """Where the 1e-5 beside the deviation matters, and only on the way in."""
    checkpoint, small = ALL["openai"](), X / 1000
    sae = formats.load(checkpoint.write(tmp_path))
    with torch.no_grad():
        want = checkpoint.decode(checkpoint.codes(small), small)
        torch.testing.assert_close(sae(small), want, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("name", ["of_version_5", "jumprelu", "sparsify", "dictionary", "openai"])
def test_weights_keep_their_type(tmp_path, name, dtype):
    checkpoint = ALL[name]()
    for key, tensor in checkpoint.tensors.items():
        if tensor.is_floating_point():
            checkpoint.tensors[key] = tensor.to(dtype)
    sae = formats.load(checkpoint.write(tmp_path))
    assert {sae.W_enc.dtype, sae.b_enc.dtype, sae.W_dec.dtype, sae.b_dec.dtype} == {dtype}
    if name == "jumprelu":
        assert sae.log_threshold.dtype == torch.float32


def test_a_folded_bias_is_not_rounded(tmp_path):
    """W_enc · b_dec in 16 bits would be another SAE: the bias becomes float32, the weights stay."""
    checkpoint = ALL["standard"]()
    checkpoint.tensors = {key: tensor.bfloat16() for key, tensor in checkpoint.tensors.items()}
    sae = formats.load(checkpoint.write(tmp_path))
    assert (sae.W_enc.dtype, sae.b_enc.dtype) == (torch.bfloat16, torch.float32)
    wide = {key: tensor.float() for key, tensor in checkpoint.tensors.items()}
    want = (X @ wide["W_enc"] + wide["b_enc"]).relu()
    torch.testing.assert_close(sae.encode(X).to_dense().detach(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_each_missing_tensor_is_named(tmp_path, name):
    for key in ALL[name]().tensors:
        if (
            key in ("scaling_factor", "stats_last_nonzero", "latents_mean_square", "k", "threshold")
            and name != "jumprelu"
        ):
            continue  # what can be done without
        if name == "openmoss_layers" and key == "encoder.weight":
            continue  # it is by this that the old names are known
        checkpoint = ALL[name]()
        del checkpoint.tensors[key]
        message = refused(checkpoint.write(tmp_path / key), checkpoint.format)
        assert "missing tensor" in message
        plain = {"log_jumprelu_threshold": "log_jumprelu_threshold", "encoder.bias": "b_E", "decoder.weight": "W_D"}
        old = {**plain, "decoder.bias": "b_D", "dataset_average_activation_norm.h": "dataset_average_activation_norm.h"}
        assert (old[key] if name == "openmoss_layers" else key) in message


@pytest.mark.parametrize("name", ALL)
def test_each_wrong_shape_is_named(tmp_path, name):
    for key, tensor in ALL[name]().tensors.items():
        if tensor.ndim == 0 or key in ("scaling_factor", "stats_last_nonzero", "latents_mean_square"):
            continue
        checkpoint = ALL[name]()
        checkpoint.tensors[key] = torch.cat([tensor, tensor[:1]])
        message = refused(checkpoint.write(tmp_path / key))
        assert "has shape" in message
        assert name == "openmoss_layers" or checkpoint.format == "openai" or f"{key} has shape" in message


@pytest.mark.parametrize("name", ALL)
def test_other_tensors_and_numbers_are_refused(tmp_path, name):
    checkpoint = ALL[name]()
    checkpoint.tensors["W_skip"] = torch.zeros(D, D)
    assert "unknown tensors W_skip" in refused(checkpoint.write(tmp_path / "extra"))
    [first, *_] = [key for key, tensor in checkpoint.tensors.items() if tensor.ndim == 2 and key != "W_skip"]
    for number, value in enumerate((torch.nan, torch.inf)):
        checkpoint = ALL[name]()
        checkpoint.tensors[first] = checkpoint.tensors[first].clone()
        checkpoint.tensors[first][1, 1] = value
        assert "contains NaN or Inf" in refused(checkpoint.write(tmp_path / f"nan{number}"))
    checkpoint.tensors[first] = checkpoint.tensors[first].nan_to_num().long()
    assert "is of type torch.int64" in refused(checkpoint.write(tmp_path / "int"))


CONTRADICTIONS = [
    ("standard", "d_in", D + 1, "d_in 7"),
    ("standard", "d_sae", M + 1, "d_sae 21"),
    ("standard", "d_in", None, "d_in is missing"),
    ("standard", "d_in", "6", "d_in must be a whole number"),
    ("standard", "d_in", 6.5, "d_in must be a whole number"),
    ("standard", "d_in", float("nan"), "d_in must be a whole number"),
    ("standard", "d_in", True, "d_in must be a whole number"),
    ("standard", "architecture", "transcoder", "architecture is 'transcoder'"),
    ("standard", "architecture", ["topk"], "architecture is ['topk']"),
    ("standard", "architecture", "topk", "k is missing"),
    ("standard", "architecture", "gated", "missing tensors b_gate"),
    ("standard", "apply_b_dec_to_input", "no", "apply_b_dec_to_input must be true or false"),
    ("standard", "normalize_activations", "constant_norm_rescale", "'constant_norm_rescale'; saebench reads none"),
    ("standard", "normalize_activations", "expected_average_only_in", "no activation_scaler.json"),
    ("standard", "reshape_activations", "other", "reshape_activations is 'other'"),
    ("of_version_5", "activation_fn_kwargs", {"k": M}, f"k = {M} must be smaller than n_latents = {M}"),
    ("of_version_5", "activation_fn_kwargs", {"k": 0}, "k must be a whole number of at least 1, is 0"),
    ("of_version_5", "activation_fn_kwargs", None, "activation_fn_kwargs is missing"),
    ("of_version_5", "activation_fn_str", "tanh-relu", "activation_fn is 'tanh-relu'"),
    ("of_version_5", "finetuning_scaling_factor", True, "finetuning_scaling_factor"),
    ("of_version_5", "normalize_activations", True, "no activation_scaler.json"),
    ("sparsify", "k", M + 1, "must be smaller than n_latents"),
    ("sparsify", "k", None, "k is missing"),
    ("sparsify", "num_latents", 0, f"num_latents {32 * D}"),
    ("sparsify", "activation", "groupmax", "activation is 'groupmax'; saebench reads topk"),
    ("sparsify", "transcode", True, "transcode is True"),
    ("sparsify", "skip_connection", True, "skip_connection is True"),
    ("sparsify", "signed", True, "signed is True"),
    ("dictionary", "trainer", None, "trainer is missing"),
    ("dictionary", "trainer", [], "trainer must be a table"),
    ("openai", "activation", "Tanh", "activation is 'Tanh'"),
    ("openai", "activation_state_dict", {"k": K, "postact_fn": "Identity"}, "postact_fn is 'Identity'"),
    ("openai", "activation_state_dict", {}, "k is missing"),
    ("openmoss", "expansion_factor", 0, "expansion_factor must be a positive number"),
    ("openmoss", "expansion_factor", 8, "expansion_factor 8"),
    ("openmoss", "hook_point_out", "mlp", "a transcoder"),
    ("openmoss", "use_glu_encoder", True, "use_glu_encoder is True"),
    ("openmoss", "norm_activation", "token-wise", "norm_activation is 'token-wise'"),
    ("openmoss", "act_fn", "layertopk", "act_fn is 'layertopk'"),
    ("openmoss", "sae_type", "clt", "sae_type is 'clt'"),
    ("openmoss", "use_decoder_bias", False, "unknown tensors b_D"),
]


@pytest.mark.parametrize(("name", "key", "value", "says"), CONTRADICTIONS)
def test_contradictions_and_strange_settings_are_named(tmp_path, name, key, value, says):
    checkpoint = ALL[name]()
    checkpoint.config[key] = value
    assert says in refused(checkpoint.write(tmp_path))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("dict_class", "IdentityDict", "dict_class is 'IdentityDict'"),
        ("activation_dim", D + 1, f"activation_dim {D + 1}"),
        ("k", K + 1, f"trainer.k is {K + 1}, but the tensor k is {K}"),
        ("dict_class", "GatedAutoEncoder", "missing tensors decoder_bias, gate_bias"),
    ],
)
def test_contradictions_in_a_trainer(tmp_path, key, value, says):
    checkpoint = ALL["dictionary"]()
    checkpoint.config["trainer"][key] = value
    assert says in refused(checkpoint.write(tmp_path))


@pytest.mark.parametrize("sizes", [[10, 9], [20, 0], None])
def test_group_sizes_that_do_not_fit(tmp_path, sizes):
    trainer = {"dict_class": "MatryoshkaBatchTopKSAE", "activation_dim": D, "dict_size": M, "k": K}
    tensors = ALL["standard"]().tensors | {"threshold": torch.tensor(0.1)}
    if sizes is not None:
        tensors["group_sizes"] = torch.tensor(sizes)
    checkpoint = Foreign("dictionary_learning", {"trainer": trainer}, tensors, torch.relu, torch.add)
    assert "group_sizes are" in refused(checkpoint.write(tmp_path))


def test_a_scaling_factor_in_the_weights_is_refused(tmp_path):
    checkpoint = ALL["of_version_5"]()
    checkpoint.tensors["scaling_factor"] = torch.full((M,), 2.0)
    assert "unknown tensors scaling_factor" in refused(checkpoint.write(tmp_path))


@pytest.mark.parametrize("factor", ["x", 0, -1, True])
def test_a_strange_scaler_is_refused(tmp_path, factor):
    checkpoint = ALL["standard"]()
    checkpoint.config["normalize_activations"] = "expected_average_only_in"
    checkpoint.write(tmp_path)
    (tmp_path / "activation_scaler.json").write_text(json.dumps({"scaling_factor": factor}))
    assert "activation_scaler.json" in refused(tmp_path)


@pytest.mark.parametrize("name", ["standard", "sparsify", "openmoss"])
def test_every_truncation_is_refused(tmp_path, name):
    [file] = ALL[name]().write(tmp_path).glob("*.safetensors")
    whole = file.read_bytes()
    for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        assert "not a whole safetensors file" in refused(tmp_path)
    file.write_bytes(struct.pack("<Q", 1 << 60) + whole[8:])
    assert "not a whole safetensors file" in refused(tmp_path)


@pytest.mark.parametrize("name", ["dictionary", "openai"])
def test_every_truncated_pickle_is_refused(tmp_path, name):
    path = ALL[name]().write(tmp_path)
    file = path if path.is_file() else path / "ae.pt"
    whole = file.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 10):
        file.write_bytes(whole[:length])
        assert "not a checkpoint of weights only" in refused(path)


class Exploit:
    """What a pickle can do to its reader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
@pytest.mark.parametrize("name", ["dictionary", "openai"])
def test_a_pickle_that_runs_code_is_never_run(tmp_path, name, write):
    path = ALL[name]().write(tmp_path)
    write(ALL[name]().tensors | {"b_dec": Exploit(tmp_path / "run")}, path if path.is_file() else path / "ae.pt")
    message = refused(path)
    assert "not a checkpoint of weights only" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([torch.ones(3)], "not a state dict"),
        ({1: torch.ones(2)}, "not a state dict"),
        ({"W": "text"}, "W is no tensor"),
    ],
)
def test_other_pickles_are_refused(tmp_path, content, says):
    ALL["dictionary"]().write(tmp_path)
    torch.save(content, tmp_path / "ae.pt")
    assert says in refused(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"', "\x00"])
@pytest.mark.parametrize("name", ["standard", "sparsify", "dictionary", "openmoss"])
def test_damaged_configs_are_refused(tmp_path, name, content):
    path = ALL[name]().write(tmp_path)
    [file] = path.glob("*.json")
    file.write_text(content)
    assert file.name in refused(path)


def test_what_is_no_checkpoint(tmp_path):
    assert "no such file or folder" in refused(tmp_path / "nowhere")
    assert "holds no checkpoint that saebench knows" in refused(tmp_path)
    ALL["sparsify"]().write(tmp_path / "layers.1")
    ALL["standard"]().write(tmp_path / "layers.2")
    assert refused(tmp_path).endswith("there are checkpoints in its folders layers.1, layers.2")
    (tmp_path / "text.txt").write_text("text")
    assert "or a .pt file" in refused(tmp_path / "text.txt")
    with pytest.raises(ValueError, match="unknown format 'other'; there are saebench, saelens"):
        formats.load(tmp_path, "other")
    for format in formats.FORMATS:
        assert refused(tmp_path, format)


def test_several_checkpoints_in_a_folder(tmp_path):
    ALL["standard"]().write(tmp_path)
    ALL["openmoss"]().write(tmp_path)
    assert "holds several checkpoints, saelens, openmoss; say which" in refused(tmp_path)
    assert set(load_file(tmp_path / "sae_weights.safetensors")) > {"W_E"}
    assert formats.read(tmp_path, "openmoss").format == "openmoss"


def test_notes_are_warnings(tmp_path):
    path = ALL["openmoss"]().write(tmp_path)
    with pytest.warns(UserWarning, match="average norm"):
        formats.load(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "average norm" in formats.read(path).notes[0]
        assert formats.load(ALL["sparsify"]().write(tmp_path / "plain")).rule == TopK(K, multi_k=4 * K)
