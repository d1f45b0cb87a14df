"""Metrics arrive in TensorBoard and Weights & Biases as they are in metrics.jsonl."""

import json
import struct
import sys
from collections.abc import Iterator

import pytest
from test_training import Dictionary, config

from saebench.errors import UserError
from saebench.training import train


def rows(out) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(config(tokens=10_000, tracking={"tensorboard": True}), Dictionary(), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    for name in ("fvu", "l0", "parts/fvu"):
        points = [(event.step, event.value) for event in events.Scalars(name)]
        want = [(r["step"], r["parts"]["fvu"] if "/" in name else r[name]) for r in rows(tmp_path / "run")]
        assert points == [(step, pytest.approx(value)) for step, value in want]


def wandb_records(data: bytes) -> Iterator[bytes]:
    """Records of a run's file: LevelDB's log format, blocks of 32 KB, after a header of 7 bytes."""
    at, record = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_wandb(tmp_path, monkeypatch):
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train(config(tokens=10_000, tracking={"wandb_project": "saes"}), Dictionary(), tmp_path / "run")
    [path] = (tmp_path / "run").rglob("*.wandb")
    logged = []
    for data in wandb_records(path.read_bytes()):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            logged.append({key: json.loads(value) for key, value in items.items()})
    want = rows(tmp_path / "run")
    assert [row["_step"] for row in logged] == [row["step"] for row in want]
    assert [row["fvu"] for row in logged] == pytest.approx([row["fvu"] for row in want])
    assert logged[0]["parts/fvu"] == pytest.approx(want[0]["parts"]["fvu"])


@pytest.mark.parametrize(
    ("tracking", "module"), [({"tensorboard": True}, "tensorboard"), ({"wandb_project": "saes"}, "wandb")]
)
def test_a_missing_package_is_one_clear_line_before_any_work(tmp_path, monkeypatch, tracking, module):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=f"needs the package {module}: pip install {module}"):
        train(config(tracking=tracking), Dictionary(), tmp_path / "run")
    assert rows(tmp_path / "run") == []
