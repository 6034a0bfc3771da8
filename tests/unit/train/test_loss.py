"""The chunked log probabilities against the plain ones, with their gradients."""

import pytest

torch = pytest.importorskip("torch")

from mainspring.train.loss import CHUNK, logprobs  # noqa: E402

HIDDEN, VOCABULARY = 24, 97


def _plain(hidden, head, labels):
    return torch.log_softmax(hidden @ head.t(), 1).gather(1, labels[:, None])[:, 0]


@pytest.mark.parametrize("num", [1, CHUNK, 2 * CHUNK + 5])
@pytest.mark.parametrize("trains_head", [False, True])
def test_equals_the_plain_computation(num, trains_head):
    rng = torch.Generator().manual_seed(num)
    hidden = torch.randn(num, HIDDEN, generator=rng).requires_grad_()
    head = torch.randn(VOCABULARY, HIDDEN, generator=rng).requires_grad_(trains_head)
    labels = torch.randint(0, VOCABULARY, (num,), generator=rng)
    scale = torch.randn(num, generator=rng)  # each token's gradient has a size of its own

    found, hits = logprobs(hidden, head, labels)
    grads = torch.autograd.grad((found * scale).sum(), [hidden, head] if trains_head else [hidden])
    wanted = _plain(hidden, head, labels)
    expected = torch.autograd.grad((wanted * scale).sum(), [hidden, head] if trains_head else [hidden])

    torch.testing.assert_close(found, wanted)
    for one, other in zip(grads, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert hits.tolist() == ((hidden @ head.t()).argmax(1) == labels).tolist()


def test_nothing_to_train_on_is_no_error():
    hidden = torch.zeros(0, HIDDEN, requires_grad=True)
    found, hits = logprobs(hidden, torch.zeros(VOCABULARY, HIDDEN), torch.zeros(0, dtype=torch.int64))
    assert len(found) == len(hits) == 0
    found.sum().backward()


def test_huge_logits_stay_finite():
    hidden = torch.full((3, HIDDEN), 1e4, requires_grad=True)
    head = torch.randn(VOCABULARY, HIDDEN, generator=torch.Generator().manual_seed(0))
    found, _ = logprobs(hidden, head, torch.tensor([0, 1, 2]))
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(hidden.grad).all()
