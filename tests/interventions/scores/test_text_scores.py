"""What an intervention does to text, against the bridge's own losses and sums over the vocabulary by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from saebench.config import CorpusConfig
from saebench.corpus import Contexts, Document, open_corpus
from saebench.errors import UserError
from saebench.interventions import Add, Hooked, Zero, intervened
from saebench.interventions.questions import Cloze, QuestionSet
from saebench.interventions.questions.asking import Answers
from saebench.interventions.questions.topics import contexts_of
from saebench.interventions.scores import (
    Exam,
    compared,
    dose_response,
    flips,
    scores,
    text_scores,
    token_changes,
    topic_changes,
    turned,
)
from saebench.interventions.scores import loss as loss_module
from saebench.interventions.scores.side_effects import check_often
from saebench.lm import LanguageModel
from saebench.saes import SAE, TopK

SAES = {"s": Hooked(SAE.create(32, 64, TopK(k=4), 0).eval(), "blocks.1.hook_resid_post")}


@pytest.fixture
def blocks(tiny_lm: LanguageModel, texts: Path) -> list[Contexts]:
    return list(open_corpus(CorpusConfig(name=str(texts)), tiny_lm.tokenizer, 32).blocks(7))[-6:]


def under(lm: LanguageModel, strength: float):
    return lambda: intervened(lm, [Add(sae="s", feature=3, activation=strength)], SAES)


def log_probs(lm: LanguageModel, block: Contexts) -> torch.Tensor:
    logits = lm.bridge(torch.from_numpy(block.tokens).long(), return_type="logits")
    return logits[:, :-1].detach().double().log_softmax(-1)


def test_every_token_against_the_bridge(tiny_lm: LanguageModel, blocks: list[Contexts]):
    change = under(tiny_lm, 5.0)
    found = list(compared(tiny_lm, change, blocks))
    totals = np.zeros(4)
    per_context = []
    for block, each in zip(blocks, found, strict=True):
        tokens = torch.from_numpy(block.tokens).long()
        p = log_probs(tiny_lm, block)
        before = tiny_lm.loss(tokens).double()
        with change():
            q, after = log_probs(tiny_lm, block), tiny_lm.loss(tokens).double()
        kl = torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1)
        torch.testing.assert_close(each.before, before, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(each.after, after, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(each.kl, kl, atol=1e-4, rtol=1e-4)
        assert torch.equal(each.targets, tokens[:, 1:])
        for row in range(len(block)):
            own = ~block.special[row, 1:]
            assert each.counted[row].tolist() == own.tolist()
            figures = [float(x[row].numpy()[own].sum()) for x in (before, after - before, kl)]
            totals += [*figures, own.sum()]
            per_context.append(own.sum())
    result = text_scores(tiny_lm, change, blocks)
    assert result.tokens == totals[3]
    assert result.ce == pytest.approx(totals[0] / totals[3], rel=1e-4)
    assert result.ce_added.value == pytest.approx(totals[1] / totals[3], abs=1e-4)
    assert result.kl.value == pytest.approx(totals[2] / totals[3], rel=1e-3)
    assert result.kl.value > 0.01
    assert result.kl.n == sum(count > 0 for count in per_context)
    assert result.kl.low < result.kl.value < result.kl.high


def test_parts_of_a_block_are_as_the_whole(
    tiny_lm: LanguageModel, blocks: list[Contexts], monkeypatch: pytest.MonkeyPatch
):
    change, seen = under(tiny_lm, 5.0), []
    whole = text_scores(tiny_lm, change, blocks, seen.append)
    monkeypatch.setattr(loss_module, "LOGITS_AT_ONCE", 3 * 32 * tiny_lm.d_vocab)
    parts = text_scores(tiny_lm, change, blocks)
    assert parts.ce == pytest.approx(whole.ce, abs=1e-5)
    assert parts.kl.value == pytest.approx(whole.kl.value, abs=1e-5)
    assert seen[-1] == sum(map(len, blocks))


def test_no_change_is_exactly_none(tiny_lm: LanguageModel, blocks: list[Contexts]):
    found = text_scores(tiny_lm, under(tiny_lm, 0.0), blocks)
    assert (found.ce_added.value, found.kl.value) == (0, 0)


def test_nothing_to_measure_on(tiny_lm: LanguageModel):
    with pytest.raises(UserError, match="there is no text to measure on"):
        text_scores(tiny_lm, under(tiny_lm, 1.0), [])


def test_what_overflows_is_one_line(tiny_lm: LanguageModel, blocks: list[Contexts]):
    with pytest.raises(UserError, match="use smaller strengths"):
        text_scores(tiny_lm, under(tiny_lm, 1e38), blocks)


def test_the_table_of_tokens(tiny_lm: LanguageModel, blocks: list[Contexts]):
    found = token_changes(tiny_lm, compared(tiny_lm, under(tiny_lm, 5.0), blocks), least=4, most=7)
    every: dict[int, list[float]] = {}
    for each in compared(tiny_lm, under(tiny_lm, 5.0), blocks):
        for token, counted, before, after in zip(
            *(x.flatten().tolist() for x in (each.targets, each.counted, each.before, each.after)), strict=True
        ):
            if counted:
                every.setdefault(token, []).append(after - before)
    often = {token: added for token, added in every.items() if len(added) >= 4}
    expected = sorted(often, key=lambda token: -abs(sum(often[token]) / len(often[token])))[:7]
    assert [row.token for row in found] == expected
    for row in found:
        assert row.added == pytest.approx(sum(often[row.token]) / len(often[row.token]))
        assert row.count == len(often[row.token])
        assert row.text == tiny_lm.tokenizer.decode([row.token])
    with pytest.raises(UserError, match="the text has no token 100000 times"):
        token_changes(tiny_lm, compared(tiny_lm, under(tiny_lm, 5.0), blocks), least=100_000)
    most = max(map(len, every.values()))
    check_often(blocks, most)
    with pytest.raises(UserError, match=f"the text has no token {most + 1} times"):
        check_often(blocks, most + 1)


MINE = QuestionSet(
    name="s", questions=tuple(Cloze(id=str(i), prompt="x", answer="y", topic="ab"[i % 2]) for i in range(6))
)


def answered(right: list[int], margin: list[float]) -> Answers:
    verdict = torch.tensor(right, dtype=torch.bool)
    return Answers(verdict, verdict.double(), torch.tensor(margin), torch.tensor(margin))


BEFORE = answered([1, 1, 1, 1, 0, 0], [1.0, 2, 3, 4, -1, -2])
AFTER = answered([0, 1, 1, 0, 1, 0], [-1.0, 2, 2, -4, 0.5, -3])


def test_topics_before_and_after():
    first, second = topic_changes(MINE, BEFORE, AFTER)
    assert (first.topic, second.topic) == ("a", "b")
    assert first.before.value == pytest.approx(2 / 3)  # questions 0, 2, 4
    assert first.after.value == pytest.approx(2 / 3)
    assert first.difference.value == 0
    assert first.difference.low < 0 < first.difference.high
    assert second.difference.value == pytest.approx(-1 / 3)


def test_questions_that_turn_both_ways():
    assert [question.id for question in turned(MINE, BEFORE, AFTER).questions] == ["0", "3", "4"]
    found = flips(MINE, BEFORE, AFTER, ["a", "b", "y"])
    assert [(f.id, f.says, f.became_right) for f in found] == [("3", "b", False), ("0", "a", False), ("4", "y", True)]
    assert (found[0].margin_before, found[0].margin_after) == (4, -4)
    assert (found[0].asks, found[0].answer) == ("x", "y")
    with pytest.raises(UserError, match="questions 's' are 5, the answers 6 before and 6 after"):
        flips(MINE.of([True] * 5 + [False]), BEFORE, AFTER, [])


def exam(lm: LanguageModel, blocks: list[Contexts]) -> Exam:
    """Questions that the model answers right, each by construction."""
    rows = []
    for prompt in ("def ", "return x", "x = 1", "import ", "naïve", "if x", "(x)", "else"):
        ids = [lm.tokenizer.bos_token_id, *lm.tokenizer(prompt, add_special_tokens=False)["input_ids"]]
        answer = lm.tokenizer.decode([int(lm.bridge(torch.tensor([ids]), return_type="logits")[0, -1].argmax())])
        whole = [lm.tokenizer.bos_token_id, *lm.tokenizer(prompt + answer, add_special_tokens=False)["input_ids"]]
        if answer and whole[:-1] == ids:
            rows.append(Cloze(id=prompt, prompt=prompt, answer=answer))
    assert len(rows) >= 4
    half = len(rows) // 2
    forget, controls = (QuestionSet(name=n, questions=tuple(q)) for n, q in (("f", rows[:half]), ("c", rows[half:])))
    return Exam(forget, controls, retained=blocks, neutral=blocks[:1])


def test_scores_of_no_change_and_of_a_strong_one(tiny_lm: LanguageModel, blocks: list[Contexts]):
    mine = exam(tiny_lm, blocks)
    none = scores(tiny_lm, under(tiny_lm, 0.0), mine)
    assert (none.forget.value, none.controls.value, none.ce_added.value, none.kl.value) == (1, 1, 0, 0)
    strong = scores(tiny_lm, under(tiny_lm, 300.0), mine)
    assert strong.forget.value < 1
    assert strong.ce_added.value == text_scores(tiny_lm, under(tiny_lm, 300.0), blocks).ce_added.value
    assert strong.kl.value == text_scores(tiny_lm, under(tiny_lm, 300.0), blocks[:1]).kl.value
    bare = scores(
        tiny_lm, lambda: intervened(tiny_lm, [Zero(sae="s", feature=0)], SAES), Exam(mine.forget, mine.controls)
    )
    assert (bare.ce_added, bare.kl) == (None, None)
    with pytest.raises(UserError, match="the retain set 'c' has no questions"):
        Exam(mine.forget, QuestionSet(name="c"))


def test_a_dose_curve_goes_on_where_it_was_stopped(tiny_lm: LanguageModel, blocks: list[Contexts], tmp_path: Path):
    mine, entered = exam(tiny_lm, blocks), []
    stop_at: list[float] = [20.0]

    def at(strength: float):
        entered.append(strength)
        if strength in stop_at:
            raise KeyboardInterrupt
        return under(tiny_lm, strength)()

    work = tmp_path / "curve"
    with pytest.raises(KeyboardInterrupt):
        dose_response(tiny_lm, at, [20, 0, 5], mine, work, {"feature": 3})
    assert set(entered) == {0, 5, 20}
    stop_at.clear()
    entered.clear()
    curve = dose_response(tiny_lm, at, [20, 0, 5], mine, work, {"feature": 3})
    assert set(entered) == {20}
    assert [point.strength for point in curve.points] == [0, 5, 20]
    for point in curve.points:
        assert point.scores == scores(tiny_lm, under(tiny_lm, point.strength), mine)
    kls = [point.scores.kl.value for point in curve.points]
    assert kls == sorted(kls)
    entered.clear()
    dose_response(tiny_lm, at, [20, 0], mine, work, {"feature": 4})
    assert set(entered) == {0, 20}  # another intervention: nothing of the first is left
    with pytest.raises(UserError, match="no strengths are given"):
        dose_response(tiny_lm, at, [], mine, work, {})


def test_a_curve_in_the_making_is_left_alone(tiny_lm: LanguageModel, blocks: list[Contexts], tmp_path: Path):
    from store.locks import acquire

    with acquire(tmp_path / "curve.lock", 0), pytest.raises(UserError, match=r"another process is working in .*curve"):
        dose_response(tiny_lm, lambda s: under(tiny_lm, s)(), [1], exam(tiny_lm, blocks), tmp_path / "curve", {})


def test_documents_become_contexts_that_can_be_measured(tiny_lm: LanguageModel):
    blocks = contexts_of(tiny_lm, [Document("a", "def f(x):\n    return x\n" * 20)], size=3)
    assert text_scores(tiny_lm, under(tiny_lm, 1.0), blocks).tokens > 31
