"""What "auto" means: each choice is a pure function and comes with its reason, which the job's events tell."""

from typing import NamedTuple

from mainspring.train.plan import Method

__all__ = [
    "Estimate",
    "Shape",
    "choose_batch_size",
    "choose_epochs",
    "choose_learning_rate",
    "choose_multiplier",
    "choose_rank",
    "estimate",
    "guess_rate",
]

TARGET_EPOCHS, MAX_EPOCHS = 3, 25
MIN_SEEN, MAX_SEEN = 100, 25_000
BATCH_SHARE, MAX_BATCH, MIN_STEPS, FULL_BATCH = 0.002, 256, 100, 8
BASE_RATE, BASE_HIDDEN = 5e-5, 2000
LORA_FACTOR = 10
MIN_RATE, MAX_RATE = 2e-4, 1e-3
SHARE_OF_RATE: dict[Method, float] = {"supervised": 1.0, "reward": 0.5, "dpo": 0.1, "reinforcement": 0.1}
RANKS = (16, 32, 64, 128)
BITS_PER_WEIGHT, BITS_PER_TOKEN = 2, 1
SHARE_OF_PEAK = 0.5


def choose_epochs(num_examples: int) -> tuple[int, str]:
    """How often all examples are seen: OpenAI's published rule (its cookbook's data preparation for chat models): three
    times, more often if there are so few that they would be seen fewer than 100 times in all, less often beyond
    25,000."""
    if num_examples * TARGET_EPOCHS < MIN_SEEN:
        epochs = min(MAX_EPOCHS, MIN_SEEN // num_examples)
        return epochs, f"{num_examples} examples are few: seen {epochs} times"
    if num_examples * TARGET_EPOCHS > MAX_SEEN:
        epochs = max(1, MAX_SEEN // num_examples)
        return epochs, f"{num_examples:,} examples are many: seen {epochs} {'time' if epochs == 1 else 'times'}"
    return TARGET_EPOCHS, f"{num_examples:,} examples are seen {TARGET_EPOCHS} times"


def choose_batch_size(
    num_examples: int, n_epochs: int, *, mean_tokens: float = 0.0, positions: int = 0, method: Method = "supervised"
) -> tuple[int, str]:
    """Examples of a step.

    OpenAI takes 0.2 % of the examples and at most 256. For small sets that is one example, whose gradient is mostly
    noise and which leaves a row mostly empty; so up to 8 where they fit into one micro-batch. But never so many that
    there are fewer than 100 steps: LoRA learns worse from large batches, whatever its rank (Schulman et al., "LoRA
    Without Regret", 2025).

    Args:
        mean_tokens: of an example.
        positions: of a micro-batch (rows x T).
    """
    share = min(MAX_BATCH, round(num_examples * BATCH_SHARE))
    fill = int(positions / mean_tokens) if mean_tokens and positions else FULL_BATCH
    wanted = max(share, min(FULL_BATCH, fill), FULL_BATCH if method == "reinforcement" else 1)
    most = max(1, num_examples * n_epochs // MIN_STEPS)
    value = min(wanted, most, num_examples)
    if value < wanted:
        return value, f"more would leave fewer than {MIN_STEPS} steps for {num_examples:,} examples"
    if share >= value:
        return value, f"0.2 % of {num_examples:,} examples"
    return value, "small sets are learnt best in small batches, and so many fit into one pass"


def choose_learning_rate(hidden: int, method: Method, *, full: bool = False) -> tuple[float, str]:
    """The rate that a learning-rate multiplier of 1 stands for.

    LoRA wants about ten times the rate of full training, whatever its rank, if its scale is alpha / rank with
    alpha 32; larger models want less ("LoRA Without Regret"; its fit is 5e-5 x 10 x (2000 / hidden) ^ 0.78 for Llama,
    nearly flat for Qwen: a square root lies between). Preferences and rewards are learnt at a tenth of it, as is usual.

    Args:
        hidden: the model's width.
    """
    rate = BASE_RATE * LORA_FACTOR * (BASE_HIDDEN / hidden) ** 0.5
    rate = min(MAX_RATE, max(MIN_RATE, rate)) * SHARE_OF_RATE[method]
    if full:
        return rate / LORA_FACTOR, f"for all weights of a model of width {hidden} by {method}"
    return rate, f"for LoRA on a model of width {hidden} by {method}"


def choose_multiplier() -> tuple[float, str]:
    """Of the rate above."""
    return 1.0, "the method's own learning rate"


def choose_rank(trained_tokens: int, weights_per_rank: int) -> tuple[int, str]:
    """The smallest rank whose matrices can hold what there is to learn: about 2 bits a weight, 1 bit a token that is
    learnt ("LoRA Without Regret", after Allen-Zhu & Li 2024).

    Args:
        trained_tokens: in one epoch.
        weights_per_rank: of the matrices of rank 1.
    """
    for rank in RANKS:
        if weights_per_rank * rank * BITS_PER_WEIGHT >= trained_tokens * BITS_PER_TOKEN:
            return rank, f"it holds what {trained_tokens:,} tokens teach"
    return RANKS[-1], f"{trained_tokens:,} tokens may teach more than any rank up to {RANKS[-1]} holds"


class Shape(NamedTuple):
    """What an estimate needs to know of a model and how it is trained.

    Args:
        rank: None trains all weights.
        positions_per_s: as measured, or None.
    """

    num_params: int
    hidden: int
    layers: int
    vocab: int
    rank: int | None = None
    positions_per_s: float | None = None


class Estimate(NamedTuple):
    """What a run takes: seconds (None if nobody knows how fast it will be) and bytes of memory at its peak."""

    time_s: float | None
    memory_bytes: int


def guess_rate(num_params: int, flops_per_s: float) -> float:
    """Positions a second of LoRA training on a machine that multiplies matrices at `flops_per_s`: four operations a
    weight (forward, and the gradient of what went in), at half of the peak."""
    return SHARE_OF_PEAK * flops_per_s / (4 * num_params)


def estimate(shape: Shape, *, positions: int, micro_positions: int, logits_chunk: int = 128) -> Estimate:
    """Time and memory of a run in 32-bit numbers; memory within a factor of one and a half.

    Args:
        positions: of the whole run, padding included.
        micro_positions: of one micro-batch.
        logits_chunk: positions whose logits are in memory at once.
    """
    in_layers = shape.hidden * shape.layers
    trained = shape.num_params if shape.rank is None else 14 * shape.rank * in_layers  # two matrices beside each of 7
    weights = 4 * shape.num_params + 12 * trained  # a gradient and two moments for what is trained
    # What a layer keeps for its gradient: about 34 numbers of 16 bits a unit of width without the attention matrix
    # (Korthikanti et al. 2022, table 2), here of 32 bits.
    activations = 68 * in_layers * micro_positions
    logits = 3 * 4 * shape.vocab * min(logits_chunk, micro_positions)
    time_s = positions / shape.positions_per_s if shape.positions_per_s else None
    return Estimate(time_s, weights + activations + logits)
