"""A transformer whose weights are set by hand to do induction, so that its circuit is known before anyone looks for it.

"… A B … A" is answered with B. Two layers of attention, no MLPs, no norms:

- layer 0, `PREVIOUS`: attends from position t to t − 1 and copies its token into the subspace `previous`;
- layer 1, `INDUCTION`: attends from a token A to the position whose `previous` is A and copies that position's token
  into the subspace `answer`, which is all that the unembedding reads. Without such a position it rests on the first
  one, from which it copies nothing;
- the other heads attend to themselves, evenly, or to nothing, and copy tokens into `noise`, which nobody reads: what
  they write changes with the prompt, but no answer depends on it.

The residual stream is the sum of orthogonal subspaces (`SUBSPACES`), one direction for each token or position, and so
is every head's output: `directions` and `Z`. They are known, so SAEs with just these directions as latents are exact:
`built_saes`. No direction is an axis (each lies across four), and a latent's number is not its direction's, so neurons
are not features, and a mix-up of numbers shows. What a feature that is absent holds is rounding (below 1e-6).

from induction import built_edges, built_features, built_heads, built_lm, built_saes, built_task

`built_features(pair)` and `built_edges(pair, …)` name what a discovery with pairs must find for an example of
`built_task(n)`; `built_features(pair, zero=True)`, with zero for a patch and the answer's logit as the metric.
"""

import math
import random
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources.native import NativeModel  # attaches `boot_native`
from transformers import PreTrainedTokenizerFast

from saebench.circuits.graph import node_id
from saebench.circuits.order import EMBEDDING
from saebench.circuits.tasks import Pair, Task
from saebench.lm import LanguageModel
from saebench.saes import SAE, ReLU

WORDS = ["<bos>", *"abcdefghijklmnopqrstuvw"]
V, CONTEXT, HEADS, D_HEAD = len(WORDS), 16, 4, 28
SUBSPACES = {"token": V, "position": CONTEXT, "previous": V, "answer": V, "noise": V}
D_MODEL = sum(SUBSPACES.values())
PREVIOUS, INDUCTION = (0, 1), (1, 2)
"""(layer, head) of the two heads of the circuit."""
STEPS, MATCH, REST, GAIN = 25.0, 10.0, 5.0, 10.0
"""Attention scores of the previous position, of a match, of the resting place; logit of an answer fully copied."""
SITES = {
    "blocks.0.hook_resid_pre": "residual",
    "blocks.0.attn.hook_z": "heads",
    "blocks.0.hook_attn_out": "residual",
    "blocks.0.hook_resid_post": "residual",
    "blocks.1.attn.hook_z": "heads",
    "blocks.1.hook_attn_out": "residual",
    "blocks.1.hook_resid_post": "residual",
}
"""Hook points in the order in which the model computes them → which dictionary fits."""


def turned(n: int) -> Float[Tensor, "n n"]:
    """n orthonormal directions of n dimensions, n a multiple of 4; every entry is 0, ½ or −½."""
    quarter = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    return torch.block_diag(*[quarter] * (n // 4))


def directions(subspace: str) -> Float[Tensor, "item d_model"]:
    """The directions of a subspace of the residual stream, one for each of its tokens or positions."""
    return turned(D_MODEL)[_span(subspace)]


def _span(subspace: str) -> slice:
    start = 0
    for name, size in SUBSPACES.items():
        if name == subspace:
            return slice(start, start + size)
        start += size
    raise KeyError(subspace)


Z = turned(D_HEAD)[:V]
"""[token, d_head]: the directions in which every head's output holds tokens."""
# Latent i of a dictionary is its direction ORDERS[…][i].
ORDERS = {
    "residual": torch.randperm(D_MODEL, generator=torch.Generator().manual_seed(0)),
    "heads": torch.randperm(HEADS * V, generator=torch.Generator().manual_seed(1)),
}


class Twin(NativeModel):
    """The native model as `LanguageModel` expects one of transformers' to be."""

    def get_input_embeddings(self) -> nn.Module:
        return self.tok_embed

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, input_ids: Tensor, **_unused: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=super().forward(input_ids), past_key_values=None)


def built_lm() -> LanguageModel:
    """The model, through `TransformerBridge.boot_native`."""
    config = {
        "d_model": D_MODEL, "d_head": D_HEAD, "n_heads": HEADS, "n_layers": 2, "n_ctx": CONTEXT, "d_vocab": V,
        "attn_only": True, "normalization_type": None, "positional_embedding_type": "standard", "init_weights": False,
    }  # fmt: skip
    bridge = TransformerBridge.boot_native(config, model_name="induction")
    bridge.tokenizer = built_tokenizer()  # `boot_native` would open it again by a name, which it has not
    twin = Twin(bridge.cfg)
    _set_weights(twin)
    weights = dict(twin.named_parameters())
    for name, parameter in bridge.original_model.named_parameters():
        parameter.data = weights[name.replace("_original_component.", "")].data
    for module in (bridge, twin):
        module.requires_grad_(False)
        module.eval()
    return LanguageModel(bridge, twin, "induction", "induction", "built", torch.float32)


def built_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word."""
    words = Tokenizer(WordLevel(dict(zip(WORDS, range(V), strict=True)), unk_token=WORDS[0]))
    words.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token=WORDS[0], eos_token=WORDS[0])


@torch.no_grad()
def _set_weights(model: NativeModel) -> None:
    """Every weight is zero but for those of the circuit and of the heads that only make noise."""
    for parameter in model.parameters():
        parameter.zero_()
    token, position, previous = directions("token"), directions("position"), directions("previous")
    answer, noise, nothing = directions("answer"), directions("noise"), torch.zeros(D_MODEL, D_HEAD)
    model.tok_embed.weight.copy_(token)
    assert model.pos is not None
    model.pos.weight.copy_(position)
    model.head.weight.copy_(GAIN * answer)

    here, before = torch.eye(CONTEXT, D_HEAD), torch.eye(CONTEXT, D_HEAD).roll(-1, 0)
    before[-1] = 0
    words = torch.eye(V, D_HEAD)
    first = torch.zeros(CONTEXT, D_HEAD)
    first[0, -1] = REST  # met by the query's bias: what a head finds where it finds nothing
    keys = position.T @ first
    copies = token[1:].T @ Z[1:]  # not of the begin token, which is where heads rest
    queries = MATCH * token.T @ words

    put = partial(_set_head, model)
    put(PREVIOUS, STEPS * position[1:].T @ here[:-1], position.T @ here, token.T @ Z, previous)
    put(INDUCTION, queries, previous.T @ words + keys, copies, answer, bias=1)
    put((0, 0), STEPS * position.T @ here, position.T @ here, token.T @ Z, noise)  # copies the token it stands on
    put((0, 2), nothing, nothing, token.T @ Z, noise)  # looks everywhere
    put((1, 0), nothing, nothing, previous.T @ Z, noise)
    put((1, 1), nothing, keys, token.T @ Z, noise, bias=1)  # looks at the first position
    put((1, 3), queries, token.T @ words + keys, copies, noise, bias=1)  # finds the same token, and says so to nobody


def _set_head(
    model: NativeModel,
    which: tuple[int, int],
    query: Float[Tensor, "d_model d_head"],
    key: Float[Tensor, "d_model d_head"],
    value: Float[Tensor, "d_model d_head"],
    writes: Float[Tensor, "token d_model"],
    bias: float = 0,
) -> None:
    """Set one head; its output holds tokens as `Z` says, and `writes` says where they go."""
    attention = model.layers[which[0]].attn
    own = slice(which[1] * D_HEAD, (which[1] + 1) * D_HEAD)
    attention.q.weight[own] = math.sqrt(D_HEAD) * query.T  # attention divides by that root
    attention.q.bias[own.stop - 1] = math.sqrt(D_HEAD) * bias
    attention.k.weight[own] = key.T
    attention.v.weight[own] = value.T
    attention.o.weight[:, own] = (Z.T @ writes).T


def dictionary(kind: str) -> Float[Tensor, "latent width"]:
    """The unit directions of a site, one for each latent, in the latents' order."""
    if kind == "residual":
        return turned(D_MODEL)[ORDERS[kind]]
    return torch.block_diag(*[Z] * HEADS)[ORDERS[kind]]


def built_saes() -> dict[str, SAE]:
    """Hook point → an SAE that reads it without error, for all of `SITES`."""
    saes = {}
    for site, kind in SITES.items():
        rows = dictionary(kind)
        saes[site] = SAE(rows.clone(), torch.zeros(len(rows)), rows.clone(), torch.zeros(rows.shape[1]), ReLU()).eval()
    return saes


def latent(site: str, what: str, item: int) -> int:
    """The number that a token (or position) of a subspace has at a site; of a head's output at a `hook_z`."""
    if site == EMBEDDING:
        return item
    heads = SITES[site] == "heads"
    start = {"previous": PREVIOUS, "answer": INDUCTION}[what][1] * V if heads else _span(what).start
    return int((ORDERS[SITES[site]] == start + item).nonzero())


def built_task(n: int = 40, seed: int = 0, broken: bool = False) -> Task:
    """Prompts of 8 to 13 different words but for the last: "… A B … C D … A", in either order, answered with B.

    The patch has A and C exchanged, so that it is answered with D. A `broken` one has another word for the first A:
    nothing in it was there before, and it has no answer.
    """
    generator = random.Random(seed)
    pairs = []
    for _ in range(n):
        words = generator.sample(WORDS[1:], generator.randint(8, 13))
        spare = words.pop()
        first, second = sorted(generator.sample(range(len(words) - 2), 2))
        at = [first, second + 1]  # so that the two pairs of words do not overlap
        generator.shuffle(at)
        patch = list(words)
        if broken:
            patch[at[0]] = spare
        else:
            patch[at[0]], patch[at[1]] = words[at[1]], words[at[0]]
        clean, patched = (" ".join([*each, words[at[0]]]) for each in (words, patch))
        answer, wrong = (" " + words[place + 1] for place in at)
        pairs.append(Pair(clean=clean, patch=patched, answer=answer, wrong=None if broken else wrong))
    return Task(name="built-induction", description="answer with what followed this word before", pairs=tuple(pairs))


def built_heads() -> set[tuple[int, int]]:
    """The (layer, head) that the answer depends on."""
    return {PREVIOUS, INDUCTION}


class Meaning(NamedTuple):
    """What a node says, wherever it says it: a token in a subspace at a position (the begin token has position 0)."""

    subspace: str
    item: int
    position: int


def built_meanings(pair: Pair, zero: bool = False) -> dict[str, set[Meaning]]:
    """Site (the embedding too) → what the nodes with an effect on the answer say; nothing else has more than rounding.

    With the pair: what differs between clean and patch and is read. With zero for a patch: what is there and is read,
    all but the resting place, whose effect is below one hundredth of the answer's logit.
    """
    clean = ["<bos>", *pair.clean.split()]
    last = len(clean) - 1
    number = dict(zip(WORDS, range(V), strict=True))
    a, b = number[clean[-1]], number[pair.answer.strip()]
    at = clean.index(clean[-1])
    if zero:
        reads = {Meaning("token", a, last), Meaning("token", b, at + 1)}
        before = {Meaning("previous", a, at + 1)}
        embedded = reads | {Meaning("token", a, at), Meaning("position", at, at), Meaning("position", at + 1, at + 1)}
        found, stream = {Meaning("answer", b, last)}, reads | before
    else:
        assert pair.patch and pair.wrong  # noqa: PT018
        other = ["<bos>", *pair.patch.split()].index(clean[-1])
        embedded = {Meaning("token", a, place) for place in (at, other)}
        before = stream = {Meaning("previous", a, place + 1) for place in (at, other)}
        found = {Meaning("answer", number[word.strip()], last) for word in (pair.answer, pair.wrong)}
    meant = (embedded, before, before, stream, found, found, found)
    tokens = {meaning for meaning in embedded if meaning.subspace == "token"}
    return {EMBEDDING: tokens, **dict(zip(SITES, meant, strict=True))}


def built_features(
    pair: Pair, zero: bool = False, sites: Sequence[str] = tuple(SITES), positions: bool = True
) -> set[str]:
    """Ids of the nodes that a discovery must find for an example at sites of `SITES`, or the embedding (token ids)."""
    meanings = built_meanings(pair, zero)
    return {_node(site, meaning, positions) for site in sites for meaning in meanings[site]}


def built_edges(pair: Pair, upstream: str, downstream: str, positions: bool = True) -> set[tuple[str, str]]:
    """(source, target) of the nodes of two sites, clean against patch, of which one makes the other: a token what is
    `previous` one position later, each `previous` each answer, and everything itself at a later site."""
    meanings = built_meanings(pair)

    def makes(source: Meaning, target: Meaning) -> bool:
        if (source.subspace, target.subspace) == ("token", "previous"):
            return target.position == source.position + 1
        return source == target or (source.subspace, target.subspace) == ("previous", "answer")

    return {
        (_node(upstream, source, positions), _node(downstream, target, positions))
        for source in meanings[upstream]
        for target in meanings[downstream]
        if makes(source, target)
    }


def _node(site: str, meaning: Meaning, positions: bool) -> str:
    number = latent(site, meaning.subspace, meaning.item)
    return node_id(site, number, meaning.position if positions else None)
