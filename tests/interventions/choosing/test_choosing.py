"""Selections against brute force over dense codes, and attribution against what the model itself does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_text import SAMPLE

from saebench.config import CorpusConfig
from saebench.corpus import open_corpus
from saebench.corpus.tokenization import vocabulary
from saebench.errors import UserError
from saebench.indexing import IndexConfig, build_index
from saebench.interventions import Add, Hooked, Zero, intervened
from saebench.interventions.choosing import (
    by_attribution,
    by_frequency,
    by_hand,
    by_squares,
    examples,
    excerpts,
    firings_on,
    from_list,
    random_like,
)
from saebench.interventions.choosing.attribution import attributions
from saebench.interventions.choosing.guard import retained_share
from saebench.interventions.questions import Cloze, QuestionSet
from saebench.interventions.questions.templates import Asked, put
from saebench.saes import SAE, ReLU, TopK
from store import FeatureStore, Firings, StoreError

HOOK, N = "blocks.1.hook_resid_post", 60


@pytest.fixture(scope="module")
def hooked() -> Hooked:
    return Hooked(SAE.create(32, N, TopK(k=5), seed=1).eval(), HOOK)


@pytest.fixture
def corpus(tiny_lm, texts):
    return open_corpus(CorpusConfig(name=str(texts)), tiny_lm.tokenizer, 32)


def dense_codes(lm, hooked: Hooked, tokens: torch.Tensor) -> torch.Tensor:
    sae = hooked.sae
    x = lm.activations(tokens, [HOOK])[HOOK]
    z = (x - sae.b_dec) @ sae.W_enc.T + sae.b_enc
    return torch.where(z >= z.topk(5, dim=-1).values[..., -1:], z, 0).clamp_min(0).detach()


def test_counts_on_a_stream_are_those_of_dense_codes(tiny_lm, hooked, corpus):
    counts, squares, n = np.zeros(N), np.zeros(N), 0
    blocks = list(corpus.blocks(3))
    for block in blocks:
        codes = dense_codes(tiny_lm, hooked, torch.from_numpy(block.tokens).long())[~block.special].double().numpy()
        counts, squares, n = counts + (codes > 0).sum(0), squares + (codes**2).sum(0), n + len(codes)
    told: list[int] = []
    found = firings_on(tiny_lm, hooked, blocks, told.append)
    assert (found.n_tokens, told[-1]) == (n, sum(map(len, blocks)))
    assert np.array_equal(found.counts, counts)
    np.testing.assert_allclose(found.squares, squares, rtol=1e-4)


def test_excerpts_are_where_dense_codes_are_largest(tiny_lm, hooked, corpus):
    blocks = list(corpus.blocks(3))
    names = [name for name, _, _ in corpus.documents]
    counts = firings_on(tiny_lm, hooked, blocks).counts
    features = np.argsort(counts)[[-1, -9, -17]].tolist()
    peaks: dict[int, list[tuple[float, str]]] = {feature: [] for feature in features}
    for block in blocks:
        codes = dense_codes(tiny_lm, hooked, torch.from_numpy(block.tokens).long()).numpy()
        for context, segments in enumerate(block.segments):
            own = np.where(block.special[context][:, None], 0, codes[context])
            for feature in features:
                position = int(own[:, feature].argmax())
                if own[position, feature] > 0:
                    document = [number for start, number, _ in segments if start <= position][-1]
                    peaks[feature].append((float(own[position, feature]), names[document]))
    told: list[int] = []
    found = excerpts(tiny_lm, hooked, features, blocks, names, n=4, near=5, on_progress=told.append)
    assert told[-1] == sum(map(len, blocks))
    texts = {name: Path(name if Path(name).exists() else Path(corpus.config.name) / name).read_text() for name in names}
    for feature, own in zip(features, found, strict=True):
        best: dict[str, float] = {}
        for value, name in peaks[feature]:
            best[name] = max(value, best.get(name, 0.0))
        expected = sorted(best.items(), key=lambda each: -each[1])[:4]
        assert len(expected) > 1
        assert [one.document for one in own][: len(expected)] == [name for name, _ in expected]
        for one, (_, value) in zip(own, expected, strict=False):
            assert one.activations[one.peak] == pytest.approx(value, rel=1e-4) == max(one.activations)
            assert len(one.tokens) == len(one.activations) <= 11
            assert "".join(one.tokens).strip("\ufffd") in texts[one.document]
    assert counts.min() == 0
    assert excerpts(tiny_lm, hooked, [int(counts.argmin())], blocks, names) == [[]]
    with pytest.raises(UserError, match=f"no feature {N}"):
        excerpts(tiny_lm, hooked, [N], blocks, names)


def test_counts_in_documents_of_an_index_are_those_of_dense_codes(tiny_lm, hooked, corpus, tmp_path: Path):
    (tmp_path / "ws" / "indexes").mkdir(parents=True)
    build_index(
        IndexConfig(corpus={"name": corpus.config.name}, batch_contexts=4, part_batches=2, neighbours=3),
        tiny_lm, hooked.sae, corpus, HOOK, indexes=tmp_path / "ws" / "indexes", index_id="tiny.texts", provenance={},
    )  # fmt: skip
    chosen = {name for name, _, _ in corpus.documents if Path(name).name.startswith("0")}
    counts, squares, n = np.zeros((2, N)), np.zeros((2, N)), np.zeros(2, int)
    for block in corpus.blocks(1):
        codes = dense_codes(tiny_lm, hooked, torch.from_numpy(block.tokens).long())[0].double().numpy()
        owner = np.zeros(32, int)
        for start, document, _ in block.segments[0]:
            owner[start:] = document
        for token in np.flatnonzero(~block.special[0]):
            group = int(corpus.documents[owner[token]][0] in chosen)
            counts[group] += codes[token] > 0
            squares[group] += codes[token] ** 2
            n[group] += 1
    with FeatureStore.open(tmp_path / "ws") as store:
        pattern = "*0?.txt"
        mine, others = (
            store.firings(**which, squares=True) for which in ({"documents": [pattern]}, {"without": [pattern]})
        )
        all_of_it = store.firings(squares=True)
        assert np.array_equal(store.firings(documents=[pattern]).counts, mine.counts)
        with pytest.raises(StoreError, match="squares=True"):
            by_squares("tiny", store.firings(), mine)
        for found, group in ((mine, 1), (others, 0)):
            assert found.n_tokens == n[group] > 0
            assert np.array_equal(found.counts, counts[group])
            np.testing.assert_allclose(found.squares, squares[group], rtol=3e-3)
        assert np.array_equal(all_of_it.counts, counts.sum(0))
        assert all_of_it.n_tokens == n.sum()
        np.testing.assert_allclose(all_of_it.squares, mine.squares + others.squares, rtol=1e-9)
        assert [row["n_active"] for row in store.features().order("feature").rows()] == all_of_it.counts.tolist()
        with pytest.raises(StoreError, match=r"no document for nothing\*"):
            store.firings(documents=["nothing*"])
        best = by_frequency("tiny", mine, others, retain_below=1.0)[0]
        assert examples(store, best, 2)[0].value == pytest.approx(
            store.feature(None, best.feature).stats.max_activation
        )
        store.add_to_list("mine", "tiny", 7)
        store.add_to_list("mine", "tiny", 3)
        assert [(c.sae, c.feature) for c in from_list(store, "mine")] == [("tiny", 7), ("tiny", 3)]
        with pytest.raises(UserError, match="lists: mine"):
            from_list(store, "other")


def drawn(seed: int, n_tokens: int) -> tuple[np.ndarray, Firings]:
    rng = np.random.default_rng(seed)
    codes = rng.exponential(size=(n_tokens, 24)) * (rng.random((n_tokens, 24)) < rng.random(24) ** 4)
    return codes, Firings(n_tokens, (codes > 0).sum(0), (codes**2).sum(0))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 24), st.sampled_from([0.001, 0.01, 0.3, 1.0]))
def test_frequency_ranks_as_brute_force(seed: int, n: int, below: float):
    (forget, a), (retain, b) = drawn(seed, 300), drawn(seed + 1, 500)
    rows = []
    for feature in range(24):
        f, r = (forget[:, feature] > 0).mean(), (retain[:, feature] > 0).mean()
        if f > 0 and r < below:
            rows.append((-f, r, feature))
    found = by_frequency("s", a, b, n, below)
    assert [c.feature for c in found] == [row[2] for row in sorted(rows)[:n]]
    assert [(c.forget_density, c.retain_density) for c in found] == [(-f, r) for f, r, _ in sorted(rows)[:n]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 24), st.sampled_from([0.0, 50.0, 90.0]))
def test_squares_rank_as_brute_force(seed: int, n: int, percentile: float):
    (forget, a), (retain, b) = drawn(seed, 300), drawn(seed + 1, 500)
    ratio = (forget**2).mean(0) / ((retain**2).mean(0) + 1e-21)
    at_least = np.percentile(ratio, percentile)
    rows = [(-(forget[:, i] ** 2).mean(), i) for i in range(24) if ratio[i] >= at_least and (forget[:, i] > 0).any()]
    found = by_squares("s", a, b, n, percentile)
    assert [c.feature for c in found] == [row[1] for row in sorted(rows)[:n]]
    for candidate in found:
        assert candidate.scores["ratio"] == pytest.approx(ratio[candidate.feature])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_random_features_have_the_densities_of_the_chosen(seed: int, n: int):
    rng = np.random.default_rng(seed)
    densities = np.where(rng.random(400) < 0.1, 0, 10 ** rng.uniform(-4, -1, 400))
    chosen = rng.choice(np.flatnonzero(densities), n, replace=False).tolist()
    found = random_like("s", chosen, densities, seed)
    assert found == random_like("s", chosen, densities, seed)
    features = [c.feature for c in found]
    assert len(set(features)) == n
    assert not set(features) & set(chosen)
    free = np.setdiff1d(np.flatnonzero(densities), chosen)
    for feature, match in zip(chosen, features, strict=True):
        apart = np.abs(np.log(densities[free] / densities[feature]))
        assert np.abs(np.log(densities[match] / densities[feature])) <= np.sort(apart)[10 + n]
    with pytest.raises(UserError, match="only 1 other"):
        random_like("s", [0, 1], np.array([0.1, 0.1, 0.1]))


def asked(lm, text: str, *answers: int) -> Asked:
    """A prompt, the token that is the right answer, and those that are wrong ones."""
    ids = lm.tokenizer(text, add_special_tokens=False)["input_ids"]
    return Asked([lm.tokenizer.bos_token_id, *ids], [[answer] for answer in answers], len(answers) == 1)


def margin(lm, way: Asked) -> float:
    logits = lm.run(torch.tensor([way.prompt]))[0][0, -1].double()
    right, *others = (answer[0] for answer in way.says)
    others = [token for token in others if token != right] or [i for i in range(len(logits)) if i != right]
    return float(logits[right] - logits[others].mean())


def test_attribution_is_the_slope_of_the_margin(tiny_lm):
    """Scaling what a feature writes by 1 + ε changes the margin by ε times its attribution: central differences."""
    hooked = Hooked(SAE.create(32, N, ReLU(), seed=3).eval(), HOOK)
    ways = [
        asked(tiny_lm, "def x(", 5, 7, 9, 11),
        asked(tiny_lm, "return x if x else None", 40),
        asked(tiny_lm, "if", 8, 8, 30),
    ]
    told: list[int] = []
    found = attributions(tiny_lm, hooked, ways, told.append)
    assert told[-1] == 3
    assert len(told) == len({len(way.prompt) for way in ways}) > 1  # prompts of one length are a batch
    for row, way in enumerate(ways):
        tokens = torch.tensor([way.prompt])
        x = tiny_lm.activations(tokens, [HOOK])[HOOK]
        codes = ((x - hooked.sae.b_dec) @ hooked.sae.W_enc.T + hooked.sae.b_enc).clamp_min(0).detach()[0]
        codes[0] = 0  # the begin token is left alone
        for feature in found[row].abs().topk(3).indices.tolist():
            written = codes[:, feature, None] * hooked.sae.W_dec[feature].detach()
            sides = []
            for epsilon in (1e-2, -1e-2):
                with tiny_lm.edited({HOOK: lambda value, *_, e=epsilon, w=written: value + e * w}):
                    sides.append(margin(tiny_lm, way))
            assert float(found[row, feature]) == pytest.approx((sides[0] - sides[1]) / 2e-2, rel=0.02, abs=2e-4)


def greedy(lm, text: str) -> int:
    ids = lm.tokenizer(text, add_special_tokens=False)["input_ids"]
    return int(lm.run(torch.tensor([[lm.tokenizer.bos_token_id, *ids]]))[0][0, -1].argmax())


def known_questions(lm) -> list[Cloze]:
    """Questions that the model answers right with one token, of the beginnings of a text."""
    found = []
    for end in range(3, 30):
        said = vocabulary(lm.tokenizer)[greedy(lm, SAMPLE[:end])].decode(errors="replace")
        one = Cloze(id=str(end), prompt=SAMPLE[:end], answer=said)
        try:
            [(_, way)] = put(lm, QuestionSet(name="one", questions=(one,)))
        except UserError:  # the answer is joined to the prompt's end, or no text of its own
            continue
        if [len(way.says[0]), way.says[0][0]] == [1, greedy(lm, SAMPLE[:end])]:
            found.append(one)
    return found


def loss(lm, blocks) -> float:
    """Nats per ordinary target, written out."""
    total, n = 0.0, 0
    for block in blocks:
        tokens, counted = torch.from_numpy(block.tokens).long(), torch.from_numpy(~block.special[:, 1:])
        each = lm.run(tokens)[0][:, :-1].double().log_softmax(-1).gather(2, tokens[:, 1:, None])[..., 0]
        total, n = total - float(each[counted].sum()), n + int(counted.sum())
    return total / n


def test_selection_by_attribution_keeps_what_changes_only_forget_answers(tiny_lm, corpus):
    """Against trying all features one by one, by hand."""
    sae = SAE.create(32, N, TopK(k=5), seed=1).eval()
    with torch.no_grad():
        sae.W_dec *= 3  # so that taking a feature away changes answers
    saes = {"s": Hooked(sae, HOOK)}
    own = known_questions(tiny_lm)[:6]
    assert len(own) == 6
    wrong = own[0].model_copy(update={"id": "wrong", "answer": " return"})
    forget, control = QuestionSet(name="f", questions=(wrong, *own[:5])), QuestionSet(name="c", questions=(own[5],))
    retained = list(corpus.blocks(4))[:1]
    told: dict[str, list[int]] = {}

    @contextmanager
    def track(what: str, total: int) -> Iterator[Callable[[int], None]]:
        told[what] = []
        yield told[what].append
        assert told[what][-1] == total

    found = by_attribution(
        tiny_lm, saes, "s", forget, control, retained, lambda name, i: Zero(sae=name, feature=i), top=N, track=track
    )
    clean = loss(tiny_lm, retained)
    expected = {}
    ways = [asked(tiny_lm, one.prompt, greedy(tiny_lm, one.prompt)) for one in own]
    positive = attributions(tiny_lm, saes["s"], ways[:5]) > 0
    tried = [feature for feature in range(N) if positive[:, feature].any()]
    for feature in tried:
        with intervened(tiny_lm, [Zero(sae="s", feature=feature)], saes):
            still = [greedy(tiny_lm, one.prompt) == way.says[0][0] for one, way in zip(own, ways, strict=True)]
            changed = tuple(i + 1 for i in range(5) if not still[i])
            if changed and still[5]:
                expected[feature] = (changed, loss(tiny_lm, retained) - clean)
    assert expected
    assert {c.feature: c.changes for c in found} == {feature: changes for feature, (changes, _) in expected.items()}
    for candidate in found:
        assert candidate.loss_added == pytest.approx(expected[candidate.feature][1], abs=1e-6)
    assert [c.loss_added for c in found] == sorted(c.loss_added for c in found)
    assert told["tried out"] == list(range(1, len(tried) + 1))
    assert len(told["attributed"]) == len({len(way.prompt) for way in ways[:5]}) > 1


def test_the_share_of_guarded_tokens_is_counted_by_context(tiny_lm, hooked, corpus):
    blocks = list(corpus.blocks(3))
    shares = []
    for block in blocks:
        codes = dense_codes(tiny_lm, hooked, torch.from_numpy(block.tokens).long()).numpy()
        fires = (codes[..., [3, 8]] > 0).any(-1)
        shares += [fires[i][~block.special[i]].mean() for i in range(len(block))]
    assert retained_share(tiny_lm, hooked, [3, 8], blocks, 80) == pytest.approx(np.percentile(shares, 80))


def test_what_cannot_be_chosen_is_said(tiny_lm, hooked, corpus):
    counts = Firings(10, np.zeros(3, np.int64), np.zeros(3))
    with pytest.raises(UserError, match="3 features, the text to retain with 4"):
        by_frequency("s", counts, Firings(10, np.zeros(4, np.int64), np.zeros(4)))
    with pytest.raises(UserError, match="forget text has no tokens"):
        by_squares("s", Firings(0, np.zeros(3, np.int64), np.zeros(3)), counts)
    with pytest.raises(UserError, match="percentile"):
        by_squares("s", counts, counts, percentile=101)
    make = lambda name, i: Add(sae=name, feature=i, activation=1)  # noqa: E731
    ask, none = (QuestionSet(name="q", questions=some) for some in (known_questions(tiny_lm)[:1], ()))
    with pytest.raises(UserError, match="no SAE 'other'"):
        by_attribution(tiny_lm, {"s": hooked}, "other", ask, ask, [], make)
    with pytest.raises(UserError, match="none of the 0 forget questions"):
        by_attribution(tiny_lm, {"s": hooked}, "s", none, ask, [], make)
    with pytest.raises(UserError, match="no retained text"):
        by_attribution(tiny_lm, {"s": hooked}, "s", ask, ask, [], make)
    assert [c.feature for c in by_hand("s", [4, 2, 4])] == [4, 2]
