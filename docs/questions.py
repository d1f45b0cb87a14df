# # Ten questions about the demo SAE
#
# Each cell runs as it stands; what it prints is below it. Before, in an empty folder (some six minutes on two cores):
#
#     saebench demo --no-serve
#     saebench train --set train.sae.n_latents=2048 --id half
#     saebench index --sae half
#
# The demo model has read the Python standard library, and the demo SAE has 4,096 features of its residual stream after
# the third of four layers; `half` is the same with 2,048. The index is over modules that neither has seen. This page is
# made by `python docs/make_questions.py WORKSPACE`.

import ast

import numpy as np

from store import FeatureStore

store = FeatureStore.open("workspace")
sae = "demo.blocks.2.hook_resid_post.topk-4096-k32"
store.index(sae)

# ## 1. Which features are worth a look?
#
# Not those that are dead, always on, tied to one position, or that only name a token. `features` is a lazy relation:
# conditions and orders are SQL, and `.df()`, `.arrow()` and `.pl()` fetch it.

features = store.features(sae)
for flag in ("dead", "dense", "duplicate", "position_locked", "bos_only"):
    print(f"{flag:16}{features.filter(flag).count():5}")
alive = features.filter("NOT (dead OR dense OR position_locked) AND n_documents >= 20")
worth = alive.filter("density < 0.005 AND top_token_share BETWEEN 0.2 AND 0.8").order("max_activation DESC")
worth.select("feature", "density", "top_token", "top_token_share", "promoted").limit(6).df()

# ## 2. What does this feature stand for?
#
# Its strongest examples, one per context, and what it does to the next token's logits.

feature = store.feature(sae, store.search(sae=sae, token=" self", where="density < 0.01").limit(1).rows()[0]["feature"])
print(feature)
for example in feature.top(4):
    print(f"{example.value:6.2f}  {example.document:28} {''.join(example.text[: example.peak + 1])[-60:]!r}")
print("promotes  ", [logit.text for logit in feature.logits().promoted[:8]])

# ## 3. Is it one thing? What does it mean where it is weak?
#
# The strongest examples flatter. Bands are by rank among the feature's own activations, strongest first.

for band in feature.quantile_examples(2):
    print(f"ranks {band.lo:.0%} to {band.hi:.0%}")
    for example in band.examples:
        print(f"   {example.value:6.2f}  {''.join(example.text[: example.peak + 1])[-60:]!r}")

# ## 4. And where is it silent although its neighbours fire?
#
# Hard negatives: strong examples of similar features, in whose whole context this one is nowhere active.

for negative in feature.negatives(4):
    text = "".join(negative.example.text[: negative.example.peak + 1])
    print(f"{negative.neighbour:5}  {negative.example.value:6.2f}  {text[-60:]!r}")

# ## 5. Which features fire inside docstrings?
#
# Put the documents together from the contexts, let Python's own parser say where the docstrings are, and count.


def documents(index):
    """Of each document: its bytes, and the byte and place of every token that is not special."""
    found = {}
    segments = index.rows(f"SELECT context, position, document FROM {index.table('segment')} ORDER BY 1, 2")
    for i, (context, position, document) in enumerate(segments):
        last = i + 1 < len(segments) and segments[i + 1][0] == context
        stop = segments[i + 1][1] if last else index.context_length
        whole = index.context(context)
        text, places = found.setdefault(document, (bytearray(), []))
        for here in range(position, stop):
            if not whole.special[here]:
                places.append((len(text), context * index.context_length + here))
                text += whole.pieces[here]
    return found


def docstrings(source):
    """Where the docstrings of a module begin and end, in bytes."""
    starts = np.cumsum([0, *map(len, source.splitlines(keepends=True))])
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            text = node.body[0].value
            yield starts[text.lineno - 1] + text.col_offset, starts[text.end_lineno - 1] + text.end_col_offset


index = store.index(sae)
inside = np.zeros(index.n_places, bool)
for text, places in documents(index).values():
    try:
        spans = list(docstrings(bytes(text)))
    except (SyntaxError, ValueError):  # the last module is cut off where the corpus ends
        continue
    at, place = np.array(places).T
    for start, stop in spans:
        inside[place[(at >= start) & (at < stop)]] = True
codes = store.sql("SELECT feature, context, position FROM activation", sae).arrow()
feature_of, place_of = codes["feature"].to_numpy(), codes["context"].to_numpy() * index.context_length
place_of += codes["position"].to_numpy()
total = np.bincount(feature_of, minlength=index.n_features)
share = np.bincount(feature_of, inside[place_of], index.n_features) / np.maximum(total, 1)
print(f"{inside.mean():.1%} of all tokens are in docstrings")
for number in np.lexsort((-total, -np.round(share, 2)))[:6]:
    stats = store.feature(sae, number).stats
    print(
        f"{number:5}  {share[number]:4.0%} of {total[number]:6,} tokens, mostly {stats.top_token!r}", stats.promoted[:4]
    )

# ## 6. Which features say that a `return` comes next?

found = store.search(sae=sae, promoted=" return", where="density < 0.02")
found.select("feature", "promotes", "density", "top_token", "promoted").limit(5).df()

# ## 7. What does the SAE see in my own text?
#
# The one question that needs the model, and so torch. `normalised` is the largest activation in the text as a share of
# the feature's largest in the corpus.

import torch

from saebench.cli.trained import model_of, open_sae

trained = open_sae(store.workspace, sae)
lm = model_of(trained)
text = "def area(width, height):\n    return width *"
ids = torch.tensor([[lm.tokenizer.bos_token_id, *lm.tokenizer.encode(text)]])
with torch.no_grad():
    activations = lm.activations(ids, [trained.hook_point])[trained.hook_point][0, 1:].float()
    codes = trained.sae.encode(activations)
seen = store.strongest(codes.offsets.numpy(), codes.latents.numpy(), codes.values.numpy(), sae)
seen.select("feature", "normalised", "position", "top_token", "promoted").limit(6).df()

# ## 8. Which features travel together?
#
# On the same tokens, counted over all pairs: by Jaccard the usual company, by PMI the telling one.

for by in ("jaccard", "pmi"):
    for partner in feature.coactive(by, 3):
        other = store.feature(sae, partner.feature).stats
        print(f"{by:8}{partner.value:6.2f} on {partner.together:4} tokens: {partner.feature:5}  {other.top_token!r}")

# ## 9. Which features split when the dictionary doubles?

compared = store.compare("half", sae)
print(compared)
split = compared.split.order("max_activation DESC").limit(3).rows()
for row in split:
    print(f"{row['feature']}: {row['top_token']!r}, promotes {row['promoted'][:4]}, became")
    for child in compared.children(row["feature"]).limit(4).rows():
        print(f"   {child['feature']:5}  cosine {child['cosine']:.2f}  {child['top_token']!r}", child["promoted"][:4])

# ## 10. In which modules does a feature live, and how do I take this elsewhere?

for document in feature.documents()[:4]:
    print(f"{document.document:28} {document.n_active:5} tokens, largest {document.largest:.2f}")
store.label(sae, feature.feature, "the object in a method", author="you")
print(store.labels(sae).select("feature", "label").rows())
print(alive.select("feature", "density", "top_token", "promoted").to_parquet("alive.parquet"))
