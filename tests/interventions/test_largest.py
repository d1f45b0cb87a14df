"""Features among the k largest, one token after another, against the whole encoder."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saebench.interventions.largest import Largest
from saebench.saes import SAE, TopK

WIDTH, LATENTS, K = 24, 300, 8


def walk(steps: int, seed: int) -> torch.Tensor:
    """Vectors that change slowly, as those of neighbouring tokens do."""
    generator = torch.Generator().manual_seed(seed)
    x = [torch.randn(WIDTH, generator=generator)]
    for _ in range(steps - 1):
        x.append(0.8 * x[-1] + 0.6 * torch.randn(WIDTH, generator=generator))
    return torch.stack(x)


def make(seed: int) -> SAE:
    sae = SAE.create(WIDTH, LATENTS, TopK(k=K), seed=seed).eval()
    torch.nn.init.normal_(sae.b_enc, std=0.1)
    torch.nn.init.normal_(sae.b_dec, std=0.1)
    return sae


@torch.no_grad()
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), features=st.sets(st.integers(0, LATENTS - 1), min_size=1, max_size=20))
def test_token_by_token_they_are_those_of_the_whole(seed: int, features: set[int]):
    sae, x, wanted = make(seed), walk(40, seed), torch.tensor(sorted(features))
    largest = Largest(sae, wanted, K)
    found = torch.cat([largest(x[:10]), *(largest(row[None]) for row in x[10:])])
    torch.testing.assert_close(found, sae.encode(x).to_dense()[:, wanted])


@torch.no_grad()
@pytest.mark.parametrize("strong", [True, False])
def test_the_whole_encoder_is_read_only_where_a_feature_comes_near(strong: bool):
    sae = make(0)
    wanted = torch.tensor([5, 100])
    sae.b_enc[wanted] = 9.0 if strong else -9.0
    largest = Largest(sae, wanted, K)
    x = walk(2, 0)
    largest(x[:1])
    largest.b[wanted] = 1e6  # so who reads the whole from now on finds them active
    found = largest(x[1:])
    assert bool((found > 1e5).all()) == strong
    assert bool((found == 0).all()) != strong


@torch.no_grad()
def test_equal_pre_activations_are_left_to_the_whole():
    sae = make(1)
    sae.W_enc.copy_(sae.W_enc[:1].expand_as(sae.W_enc))
    sae.b_enc.fill_(0.5)
    largest, x = Largest(sae, torch.tensor([3]), K), walk(3, 1)
    x = torch.where((x - sae.b_dec) @ sae.W_enc[0][:, None] + 0.5 > 0, x, -x)
    largest(x[:1])
    assert bool((largest(x[1:2]) > 0).all())
