"""SHIFT where the truth is known: words that write known directions, and features that are just these."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from saebench.circuits.shift import Example, ShiftData, choose
from saebench.circuits.shift.ablate import pooled, without
from saebench.circuits.shift.effects import along, at_text, probe_effects
from saebench.circuits.shift.examples import GROUPS
from saebench.circuits.shift.probe import Probe
from saebench.circuits.shift.result import read_shift, write_shift
from saebench.circuits.shift.run import Shift
from saebench.circuits.shift.sheet import examples_of, write_sheet
from saebench.circuits.shift.texts import Texts, encoded
from saebench.circuits.sites import feature_sites
from saebench.lm import LanguageModel, load_lm
from saebench.saes import SAE, ReLU, TopK

LABEL, CONFOUND, FILLERS = ("W", "Z"), ("Q", "X"), ("K", "J", "V", "Y")
SITES = ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]
SAE_IDS = {name: f"sae-{i}" for i, name in enumerate(SITES)}
TRUTH = {(name, feature) for name in SITES for feature in (2, 3)}
"""Features of the two words of the confound."""


@pytest.fixture(scope="module")
def words_lm(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A model whose residual stream is the sum of what its words write: word i of each kind writes axis i."""
    from transformers import AutoTokenizer, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("models") / "words"
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    model = GPT2LMHeadModel.from_pretrained(tiny_folder)
    with torch.no_grad():
        for block in model.transformer.h:
            for layer in (block.attn.c_proj, block.mlp.c_proj):
                layer.weight.zero_()
                layer.bias.zero_()
        model.transformer.wpe.weight.zero_()
        for axis, word in enumerate((*LABEL, *CONFOUND, *FILLERS)):
            model.transformer.wte.weight[tokenizer.convert_tokens_to_ids(word)] = torch.eye(32)[axis]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_lm(str(folder))


@pytest.fixture(scope="module")
def words() -> ShiftData:
    """Five words of the label, four in five of which are right, and three of the confound, which always are."""
    draw = np.random.default_rng(0)
    examples = []
    for split, n in (("train", 40), ("test", 40)):
        for label, confound in GROUPS:
            for _ in range(n):
                own = [LABEL[label if draw.random() < 0.8 else 1 - label] for _ in range(5)]
                text = [*own, *[CONFOUND[confound]] * 3, *draw.choice(FILLERS, int(draw.integers(1, 4)))]
                draw.shuffle(text)
                examples.append(Example(split=split, text="".join(text), label=label, confound=confound))  # type: ignore[arg-type]
    return ShiftData(name="words", labels=("w", "z"), confounds=("q", "x"), examples=tuple(examples))


def axes() -> SAE:
    """Feature i is axis i; the other axes are left to the error."""
    W = torch.eye(32)[:8]
    return SAE(W.clone(), torch.zeros(8), W.clone(), torch.zeros(32), ReLU()).eval()


@pytest.fixture(scope="module")
def run(words_lm: LanguageModel, words: ShiftData) -> Shift:
    return Shift(words_lm, words, {name: axes() for name in SITES}, SAE_IDS, SITES[1], set_id="words")


def test_every_word_is_one_token(words_lm: LanguageModel, words: ShiftData):
    for example in words.examples:
        assert len(words_lm.tokenizer(example.text, add_special_tokens=False)["input_ids"]) == len(example.text)


def test_without_the_confounds_directions_the_label_is_learnt(run: Shift):
    before, oracle = run.before().score, run.oracle().score
    assert 0.45 < before.label < 0.75
    assert before.confound > 0.8
    assert oracle.label > 0.9
    row = run.row("truth", sorted(TRUTH))
    assert row.n_features == 4
    assert row.score.label > 0.9
    assert row.score.worst > before.worst + 0.4
    assert row.retrained is not None
    assert row.retrained.label > 0.9
    assert abs(row.score.confound - 0.5) < 0.05
    assert row.score.label == pytest.approx(oracle.label, abs=0.05)


def test_the_rule_and_the_skyline_find_the_confounds_features(run: Shift):
    assert set(run.automatic(8)) >= TRUTH
    assert not {(name, feature) for name in SITES for feature in (0, 1)} & set(run.automatic(16))
    assert set(run.skyline(4)) == TRUTH
    assert {feature for _, feature in run.ranked(8)} == {0, 1, 2, 3}


def test_ranks_are_those_of_all_effects(run: Shift):
    effects = {pick: run.feature(pick).effect for pick in run.ranked(16)}
    assert [abs(value) for value in effects.values()] == sorted((abs(v) for v in effects.values()), reverse=True)
    assert len(choose.at_random(run.effects, 5, 0)) == len(set(choose.at_random(run.effects, 5, 0))) == 5


def test_a_result_is_kept_and_read_again(run: Shift, tmp_path: Path):
    result = run.result("words.x", sorted(TRUTH), "file-truth", 8, {})
    assert [row.name for row in result.rows] == ["nothing", "chosen", "random", "skyline", "oracle"]
    assert result.row("random").n_features == result.row("chosen").n_features == 4
    assert result.row("random").score.label < result.row("chosen").score.label
    assert result.examples == {"ambiguous": 80, "oracle": 160, "test": 160}
    write_shift(tmp_path, result)
    assert read_shift(tmp_path, "words.x") == result


def test_a_sheet_comes_back_as_what_is_marked_in_it(run: Shift, tmp_path: Path):
    picks = run.ranked(8)
    firing = examples_of(run.lm, run.ambiguous.batches, run.sites, picks)
    for name, feature in picks:
        word = (*LABEL, *CONFOUND)[feature]
        assert firing[name, feature]
        assert all(f"«{word}»" in text for text in firing[name, feature])
    path = tmp_path / "sheet.csv"
    write_sheet(path, run.lm, run.sites, picks, run.effects, run.data.labels, SAE_IDS, {picks[0]: "a name"}, firing)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["hook_point"], int(row["feature"])) for row in rows] == picks
    assert rows[0]["name"] == "a name"
    name, feature = picks[0]
    direction = next(site for site in run.sites if site.hook_point == name).directions[feature]
    (logits,) = run.lm.logit_lens(direction[None], name)
    assert rows[0]["promotes"].startswith(repr(run.lm.tokenizer.decode([int(logits.argmax())])))
    for row in rows:
        row["irrelevant"] = "x" if int(row["feature"]) in (2, 3) else ""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert set(choose.from_file(path, run.known)) == TRUTH


@pytest.fixture(scope="module")
def random_saes() -> dict[str, SAE]:
    points = [f"blocks.{i}.hook_{kind}" for i in range(2) for kind in ("attn_out", "mlp_out", "resid_post")]
    return {name: SAE.create(32, 48, TopK(k=6), seed).eval() for seed, name in enumerate(points)}


@pytest.fixture(scope="module")
def texts(tiny_lm: LanguageModel) -> list[Texts]:
    lines = ["x = [1, 2]", "return self", "import torch\nx", "def f(x):"]
    return encoded(tiny_lm, [Example(split="train", text=line, label=0, confound=0) for line in lines], 3)


@pytest.fixture(scope="module")
def probe() -> Probe:
    return Probe("blocks.1.hook_resid_post", torch.randn(32, generator=torch.Generator().manual_seed(0)), 0.3)


def test_gradients_are_finite_differences(
    tiny_lm: LanguageModel, random_saes: dict[str, SAE], texts: list[Texts], probe: Probe
):
    sites = feature_sites(tiny_lm, random_saes)[1:]
    (batch, last) = texts
    effects = probe_effects(tiny_lm, [batch, last], sites, probe, torch.zeros(4, dtype=torch.long))
    for site in sites:
        name = site.hook_point
        for feature in effects[name][0].abs().argsort(descending=True)[:3].tolist():
            total = 0.0
            for each in (batch, last):
                held, _ = at_text(tiny_lm, each, [site], probe)
                removed = held[name] - without(site, torch.tensor([feature]), each)(
                    held[name].view(*each.tokens.shape, -1)
                ).flatten(0, 1)
                step = 1e-2
                logits = [
                    probe.of(tiny_lm, each, {name: lambda x, d=d: x + d.view_as(x)})  # type: ignore[misc]
                    for d in (step * removed, -step * removed)
                ]
                total += float((logits[0] - logits[1]).sum()) / (2 * step)
            assert total / 4 == pytest.approx(float(effects[name][0, feature]), rel=0.02, abs=1e-4)


def test_where_the_probe_reads_effects_are_what_ablation_takes_away(
    tiny_lm: LanguageModel, random_saes: dict[str, SAE], texts: list[Texts], probe: Probe
):
    (site,) = [s for s in feature_sites(tiny_lm, random_saes) if s.hook_point == probe.hook_point]
    clean = probe.logits(pooled(tiny_lm, texts, probe.hook_point)).mean()
    for method in ("attrib", "ig"):
        effects = probe_effects(tiny_lm, texts, [site], probe, torch.zeros(4, dtype=torch.long), method)  # type: ignore[arg-type]
        for feature in effects[site.hook_point][0].nonzero()[:5, 0].tolist():
            chosen = {site.hook_point: torch.tensor([feature])}
            without_it = probe.logits(pooled(tiny_lm, texts, probe.hook_point, [site], chosen)).mean()
            assert float(clean - without_it) == pytest.approx(
                float(effects[site.hook_point][0, feature]), rel=1e-3, abs=1e-4
            )


def test_integrated_gradients_add_up_to_the_change(
    tiny_lm: LanguageModel, random_saes: dict[str, SAE], texts: list[Texts], probe: Probe
):
    site = feature_sites(tiny_lm, random_saes)[1]
    held, _ = at_text(tiny_lm, texts[0], [site], probe)
    x = held[site.hook_point]
    base = site.base.expand_as(x)
    ends = [
        float(probe.of(tiny_lm, texts[0], {site.hook_point: lambda _, v=v: v.view(*texts[0].tokens.shape, -1)}).sum())  # type: ignore[misc]
        for v in (x, base)
    ]
    gradient = along(tiny_lm, texts[0], site, x, probe)
    assert float(((x - base) * gradient).sum()) == pytest.approx(ends[0] - ends[1], rel=0.1)


def test_padding_changes_nothing(tiny_lm: LanguageModel, probe: Probe):
    examples = [Example(split="train", text=t, label=0, confound=0) for t in ("x", "def f(x): return x", "a b c")]
    together = pooled(tiny_lm, encoded(tiny_lm, examples, 3), probe.hook_point)
    alone = pooled(tiny_lm, encoded(tiny_lm, examples, 1), probe.hook_point)
    assert torch.allclose(together, alone, atol=1e-4)
    ids = [tiny_lm.tokenizer.bos_token_id, *tiny_lm.tokenizer("a b c", add_special_tokens=False)["input_ids"]]
    plainly = tiny_lm.activations(torch.tensor([ids]), [probe.hook_point])[probe.hook_point][0, 1:].mean(0)
    assert torch.allclose(together[2], plainly.float(), atol=1e-4)
