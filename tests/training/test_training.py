"""Training learns what is there, does what its config says, and refuses clearly what it cannot do."""

import fcntl
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from pydantic import ValidationError
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from saebench.config import explain
from saebench.errors import UserError
from saebench.saes import SAE
from saebench.training import TrainConfig, train
from saebench.training.schedule import rate
from saebench.training.state import checkpoints


class Dictionary:
    """Sparse positive sums of known random directions, about a mean."""

    def __init__(self, n: int = 64, d_model: int = 32, active: int = 3, seed: int = 0):
        self.n, self.d_model, self.active, self.seed = n, d_model, active, seed
        g = torch.Generator().manual_seed(1000 + seed)
        self.directions = torch.nn.functional.normalize(torch.randn(n, d_model, generator=g), dim=1)

    def blocks(self, start: int = 0) -> Iterator[Tensor]:
        while True:
            g = torch.Generator().manual_seed(start * 7919 + self.seed)
            codes = torch.zeros(500, self.n)
            codes.scatter_(1, torch.randint(0, self.n, (500, self.active), generator=g), 1.0)
            codes *= 0.5 + torch.rand(500, self.n, generator=g)
            yield codes @ self.directions + 5
            start += 1


def config(**changes) -> TrainConfig:
    base = {
        "sae": {"n_latents": 64, "rule": {"k": 3}}, "tokens": 20_000, "batch": 250, "ring_rows": 1000,
        "log_every": 10, "checkpoint_every": 20,
    }  # fmt: skip
    return TrainConfig.model_validate(base | changes)


@pytest.mark.parametrize("kernel", ["cpu", "reference"])
def test_recovers_a_known_dictionary(tmp_path, kernel):
    source = Dictionary()
    sae = train(config(sae={"n_latents": 128, "rule": {"k": 3}}, tokens=300_000, kernel=kernel), source, tmp_path)
    cosine = (sae.W_dec.detach() @ source.directions.T).numpy()
    ours, theirs = linear_sum_assignment(-cosine)
    assert cosine[ours, theirs].mean() > 0.99
    x = next(source.blocks(100_000))
    assert sae.loss(x).fvu < 0.08  # what a linear encoder leaves of 64 directions in 32 dimensions
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(128))


def test_dead_latents_come_back(tmp_path):
    """AuxK revives latents that a bad bias has silenced, and nothing else does."""

    def dead_at_end(aux_weight: float) -> float:
        out = tmp_path / str(aux_weight)
        rule = {"k": 3, "aux_weight": aux_weight, "dead_after": 2000, "k_aux": 16}
        rows: list[dict] = []
        train(
            config(sae={"n_latents": 256, "rule": rule, "lr": 0.03}, tokens=150_000, decay=0.0),
            Dictionary(n=250, active=3),
            out,
            rows.append,
        )
        return rows[-1]["dead"]

    assert dead_at_end(1 / 32) < 0.5 * dead_at_end(0.0)


def test_rows_of_metrics(tmp_path):
    seen: list[dict] = []
    train(config(tokens=11_100), Dictionary(), tmp_path, seen.append)
    written = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert written == seen
    assert [row["step"] for row in seen] == [10, 20, 30, 40, 45]
    assert [row["tokens"] for row in seen] == [2500, 5000, 7500, 10_000, 11_250]
    assert all(row["l0"] == 3 for row in seen)
    assert seen[-1]["fvu"] < seen[0]["fvu"]
    assert seen[-1]["lr"] < seen[1]["lr"]


def test_a_finished_run_is_only_loaded(tmp_path):
    first = train(config(), Dictionary(), tmp_path)
    seen: list[dict] = []
    second = train(config(), Dictionary(), tmp_path, seen.append)
    assert not seen
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "config.json", "config.yaml", "metrics.jsonl", "sae.safetensors",
    ]  # fmt: skip


def test_global_random_state_does_not_matter(tmp_path):
    torch.manual_seed(1)
    train(config(), Dictionary(), tmp_path / "a")
    torch.manual_seed(2)
    train(config(), Dictionary(), tmp_path / "b")
    train(config(seed=1), Dictionary(), tmp_path / "c")
    a, b, c = ((tmp_path / name / "sae.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_config_yaml_is_resolved_and_says_where_from(tmp_path):
    train(config(), Dictionary(), tmp_path, provenance={"harvest": "demo", "sha256": "12ab"})
    stored = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert stored["sae"]["rule"] == {
        "name": "topk", "k": 3, "k_aux": 16, "aux_weight": 1 / 32, "dead_after": 400,
        "multi_k": None, "multi_weight": 1 / 8,
    }  # fmt: skip
    assert stored["kernel"] == "cpu"
    assert stored["product"] in ("float32", "bfloat16")
    assert stored["sae"]["lr"] == pytest.approx(1e-3 * 16)
    assert stored["provenance"]["harvest"] == "demo"
    assert stored["provenance"]["torch"] == torch.__version__
    assert SAE.load(tmp_path).rule.dead_after == 400


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sae": {"n_latents": 64, "rule": {"k": 3}, "lr": 0.5}}, r"began with sae.lr = 0.0\d+, now it is 0.5"),
        ({"batch": 100}, "began with batch = 250, now it is 100"),
        ({"sae": {"n_latents": 65, "rule": {"k": 3}}}, "began with sae.n_latents = 64, now it is 65"),
        ({"sae": {"n_latents": 64, "rule": {"k": 3, "k_aux": 9}}}, "began with sae.rule.k_aux = 16, now it is 9"),
        ({"kernel": "reference"}, "began with kernel = cpu, now it is reference"),
    ],
)
def test_another_config_in_the_same_folder(tmp_path, changes, message):
    train(config(), Dictionary(), tmp_path)
    with pytest.raises(UserError, match=message):
        train(config(**changes), Dictionary(), tmp_path)


def test_another_source_in_the_same_folder(tmp_path):
    begin_and_stop(tmp_path)
    with pytest.raises(UserError, match="began on activations of width 32, these have 16"):
        train(config(), Dictionary(d_model=16), tmp_path)
    with pytest.raises(UserError, match="not the one this run trained on"):
        train(config(), Dictionary(seed=5), tmp_path)
    with pytest.raises(UserError, match=r"began with provenance.harvest = a, now it is b"):
        train(config(), Dictionary(), tmp_path, provenance={"harvest": "b"})


class StopError(Exception):
    pass


def begin_and_stop(out: Path, step: int = 50) -> None:
    """A run that stopped after some checkpoints."""

    def stop(row: dict) -> None:
        if row["step"] == step:
            raise StopError

    with pytest.raises(StopError):
        train(config(), Dictionary(), out, stop, provenance={"harvest": "a"})


def test_the_latest_two_checkpoints_are_kept_and_a_damaged_one_passed_over(tmp_path):
    train(config(), Dictionary(), tmp_path / "whole", provenance={"harvest": "a"})
    begin_and_stop(tmp_path / "run", step=70)
    kept = checkpoints(tmp_path / "run" / "checkpoints")
    assert [p.name for p in kept] == ["step-000000040.safetensors", "step-000000060.safetensors"]
    kept[1].write_bytes(kept[1].read_bytes()[:1000])
    train(config(), Dictionary(), tmp_path / "run")
    same = "sae.safetensors"
    assert (tmp_path / "run" / same).read_bytes() == (tmp_path / "whole" / same).read_bytes()


class Spoilt(Dictionary):
    """NaN from some block on."""

    def blocks(self, start: int = 0) -> Iterator[Tensor]:
        for number, block in enumerate(super().blocks(start), start):
            yield block / 0 if number >= 25 else block


def test_nan_stops_the_run_and_names_the_last_checkpoint(tmp_path):
    with pytest.raises(UserError, match=r"stopped after step 4\d: .*NaN or Inf.* checkpoint is .*step-000000040"):
        train(config(), Spoilt(), tmp_path)
    assert not (tmp_path / "sae.safetensors").exists()


def test_a_loss_that_explodes_stops_the_run(tmp_path):
    with pytest.raises(UserError, match=r"training stopped after step \d+: .*(lower lr|NaN or Inf)"):
        train(config(sae={"n_latents": 64, "rule": {"k": 3}, "lr": 1e38}, tokens=100_000), Dictionary(), tmp_path)


def test_two_processes_in_one_folder(tmp_path):
    begin_and_stop(tmp_path)
    with (tmp_path / "config.yaml").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is training here"):
            train(config(), Dictionary(), tmp_path)


def test_unwritable_and_foreign_folders(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file"):
        train(config(), Dictionary(), tmp_path / "file" / "run")
    (tmp_path / "config.yaml").write_text("a: [1")
    with pytest.raises(UserError, match="not the config of a training run"):
        train(config(), Dictionary(), tmp_path)
    (tmp_path / "config.yaml").write_text("batch: many\nprovenance: {d_model: 32}")
    with pytest.raises(UserError, match=r"config.yaml: batch: .*got 'many'"):
        train(config(), Dictionary(), tmp_path)


def test_full_disk_while_writing_metrics(tmp_path):
    begin_and_stop(tmp_path)

    def fill(row: dict) -> None:
        (tmp_path / "metrics.jsonl").unlink()
        (tmp_path / "metrics.jsonl").symlink_to("/dev/full")

    with pytest.raises(UserError, match=r"cannot write .*metrics.jsonl: No space left on device; free space"):
        train(config(), Dictionary(), tmp_path, fill)


FULL_DISK = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from test_training import Dictionary, config, train, UserError, Path
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    train(config(), Dictionary(), Path(sys.argv[2]))
except UserError as error:
    print(error)
"""


def test_full_disk_while_writing_a_checkpoint(tmp_path):
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, here, str(tmp_path)], capture_output=True, text=True)
    assert "cannot write" in done.stdout, done.stderr
    assert "step-000000020.safetensors: File too large" in done.stdout
    assert done.stdout.count("\n") == 1
    assert not list(tmp_path.rglob("*.tmp"))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    train(config(), Dictionary(), tmp_path / "whole")
    train(config(), Dictionary(), tmp_path)
    assert (tmp_path / "sae.safetensors").read_bytes() == (tmp_path / "whole" / "sae.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sae": {"rule": {"kk": 3}}}, "unknown key 'sae.rule.kk'"),
        ({"sae": {"rule": {"name": "softmax"}}}, "unknown rule; there are topk, batchtopk"),
        ({"sae": {"n_latents": 16, "rule": {"k": 16}}}, "k = 16 must be smaller than n_latents = 16"),
        ({"sae": {"lr": float("nan")}}, "lr"),
        ({"batch": 0}, "batch"),
        ({"log_every": 7, "checkpoint_every": 20}, "multiple of log_every = 7"),
    ],
)
def test_configs_that_make_no_sense(data, message):
    with pytest.raises(ValidationError) as caught:
        TrainConfig.model_validate(data)
    assert message in explain(caught.value)


def test_bfloat16_product_needs_the_cpu_kernel(tmp_path):
    with pytest.raises(UserError, match="the reference kernels have no bfloat16 product"):
        train(config(kernel="reference", product="bfloat16"), Dictionary(), tmp_path / "a")
    sae = train(config(product="bfloat16"), Dictionary(), tmp_path / "b")
    assert sae.loss(next(Dictionary().blocks(1000))).fvu < 0.3


def test_rate_rises_stays_and_falls():
    rates = [rate(step, 100, 0.1, 0.2) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10:80] == [1.0] * 70
    assert rates[80:] == pytest.approx([(100 - i) / 20 for i in range(80, 100)])
    assert all(r == 1 for r in (rate(s, 10, 0, 0) for s in range(10)))
