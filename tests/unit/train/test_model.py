"""The trained model against PEFT, and packed rows against examples alone."""

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from mainspring.train.loss import logprobs  # noqa: E402
from mainspring.train.model import ALPHA, Trainee, load_adapter, saved_bytes  # noqa: E402
from tests.unit.train import toy  # noqa: E402

# PEFT 0.21 asks transformers 5.24 by an old name.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


def _trainee(rank=4, length=32, precision=torch.float32, seed=3):
    trainee = Trainee(toy.model(), rank=rank, precision=precision, length=length, seed=seed)
    with torch.no_grad():
        for name, each in trainee.trained.items():
            if name.endswith(".b"):
                each.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return trainee


@pytest.mark.parametrize("length", [32, 1024])  # our attention, and the fused one
def test_an_adapter_is_what_peft_makes_of_it(tmp_path, length):
    trainee = _trainee(length=length)
    trainee.save(tmp_path / "adapter", "base")
    theirs = peft.PeftModel.from_pretrained(toy.model(), str(tmp_path / "adapter"), is_trainable=True)

    micro = toy.packer(toy.examples(3)).batch(0).micro[0]
    scored = trainee.score(micro)
    (-scored.logp_N.sum()).backward()

    total, at = 0.0, 0
    for row in range(len(micro.ids)):
        for segment in range(1, int(micro.segments[row].max()) + 1):  # each example alone, through PEFT
            place = micro.segments[row] == segment
            ids, labels = (torch.from_numpy(each[row][place]) for each in (micro.ids, micro.labels))
            logits = theirs(input_ids=ids[None]).logits[0].log_softmax(-1)
            kept = labels != -100
            wanted = logits[kept].gather(1, labels[kept][:, None])[:, 0]
            torch.testing.assert_close(scored.logp_N[at : at + len(wanted)], wanted, rtol=1e-4, atol=1e-4)
            at, total = at + len(wanted), total - wanted.sum()
    total.backward()
    mine = {name: each.grad for name, each in trainee.trained.items()}
    for name, each in theirs.named_parameters():
        if each.requires_grad:
            plain = name.removeprefix("base_model.model.").replace(".lora_A.default.weight", ".a")
            torch.testing.assert_close(
                mine[plain.replace(".lora_B.default.weight", ".b")], each.grad, rtol=1e-3, atol=1e-4
            )
    assert at == len(scored.logp_N)
    assert theirs.peft_config["default"].lora_alpha == ALPHA


def test_a_new_adapter_changes_nothing_and_a_loaded_one_goes_on(tmp_path):
    micro = toy.packer(toy.examples(5)).batch(0).micro[0]
    plain = Trainee(toy.model(), rank=2, precision=torch.float32, length=32)
    base = toy.model()
    hidden = base.model(
        input_ids=torch.from_numpy(micro.ids[:1, : int((micro.segments[0] == 1).sum())])
    ).last_hidden_state
    length = hidden.shape[1]
    labels = torch.from_numpy(micro.labels[0, :length])
    wanted, _ = logprobs(hidden[0][labels != -100], base.lm_head.weight, labels[labels != -100])
    torch.testing.assert_close(plain.score(micro).logp_N[: len(wanted)], wanted, rtol=1e-4, atol=1e-4)

    made = _trainee()
    made.save(tmp_path / "adapter", "base")
    other = Trainee(toy.model(), rank=4, precision=torch.float32, length=32, seed=99)
    load_adapter(other, tmp_path / "adapter")
    torch.testing.assert_close(other.score(micro).logp_N, made.score(micro).logp_N)


def test_all_weights_can_be_trained_and_are_saved_as_transformers_reads_them(tmp_path):
    from transformers import LlamaForCausalLM

    trainee = Trainee(toy.model(), rank=None, precision=torch.float32, length=32)
    micro = toy.packer(toy.examples(5)).batch(0).micro[0]
    before = trainee.score(micro).logp_N
    optimiser = torch.optim.SGD(trainee.trained.values(), lr=0.5)
    (-before.mean()).backward()
    optimiser.step()
    after = trainee.score(micro).logp_N
    assert after.mean() > before.mean()
    assert all(each.grad is not None for each in trainee.trained.values())

    trainee.save(tmp_path / "whole", "base")
    loaded = Trainee(
        LlamaForCausalLM.from_pretrained(tmp_path / "whole"), rank=None, precision=torch.float32, length=32
    )
    torch.testing.assert_close(loaded.score(micro).logp_N, after)


def test_bfloat16_is_near_float32():
    micro = toy.packer(toy.examples(8)).batch(0).micro[0]
    exact, rounded = (_trainee(precision=kind).score(micro).logp_N for kind in (torch.float32, torch.bfloat16))
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.05)


def test_recomputing_gives_the_same_gradient_and_keeps_less():
    micro = toy.packer(toy.examples(8)).batch(0).micro[0]
    found = {}
    for recomputes in (False, True):
        trainee = _trainee()
        if recomputes:
            trainee.recompute()
        size = saved_bytes(trainee, micro)
        (-trainee.score(micro).logp_N.sum()).backward()
        found[recomputes] = size, {name: each.grad for name, each in trainee.trained.items()}
    assert found[True][0] < found[False][0] / 2
    for name, grad in found[False][1].items():
        torch.testing.assert_close(found[True][1][name], grad)


def test_what_cannot_be_compiled_is_trained_as_it_is():
    from mainspring.train.run import _compile

    def fails(*_, **__):
        raise RuntimeError("Python.h: No such file or directory\nand more")

    trainee, packer = _trainee(), toy.packer(toy.examples(5))
    expected = trainee.score(packer.batch(0).micro[0]).logp_N
    for layer in trainee.model.model.layers:
        layer.compile = lambda layer=layer, **_: setattr(layer, "_compiled_call_impl", fails)
    assert _compile(trainee, packer) == "it cannot be here (RuntimeError: Python.h: No such file or directory)"
    torch.testing.assert_close(trainee.score(packer.batch(0).micro[0]).logp_N, expected)
    assert all(each.grad is None for each in trainee.trained.values())
