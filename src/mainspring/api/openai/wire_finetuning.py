"""What clients send about fine-tuning: OpenAI's request bodies, Azure's `trainingType`, and what is ours alone."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from mainspring.api.openai.wire_base import Wire

__all__ = [
    "CreateFineTuningJobRequest",
    "CreateFineTuningPermissionRequest",
    "FineTuningHyperparametersIn",
    "FineTuningMethodIn",
    "IntegrationIn",
]

MAX_NAME = 256


def _word_or_number(value: Any) -> str:
    return "word" if isinstance(value, str) else "number"


_Auto = Annotated[Literal["auto"], Tag("word")]
_Either = Discriminator(_word_or_number)
Epochs = Annotated[_Auto | Annotated[int, Field(ge=1, le=50), Tag("number")], _Either]
BatchSize = Annotated[_Auto | Annotated[int, Field(ge=1, le=256), Tag("number")], _Either]
Multiplier = Annotated[_Auto | Annotated[float, Field(gt=0, le=1e6), Tag("number")], _Either]
Beta = Annotated[_Auto | Annotated[float, Field(gt=0, le=2), Tag("number")], _Either]
Compute = Annotated[_Auto | Annotated[float, Field(gt=0.00001, le=10), Tag("number")], _Either]
Count = Annotated[_Auto | Annotated[int, Field(ge=1, le=1_000_000), Tag("number")], _Either]
Text = Annotated[str, Field(max_length=MAX_NAME)]


class FineTuningHyperparametersIn(Wire):
    """Of every method. "auto", or nothing, lets the job choose; its events say what and why."""

    n_epochs: Epochs | None = None
    batch_size: BatchSize | None = None
    learning_rate_multiplier: Multiplier | None = None


class PreferenceHyperparametersIn(FineTuningHyperparametersIn):
    """Of direct preference optimisation."""

    beta: Beta | None = None


class ReinforcementHyperparametersIn(FineTuningHyperparametersIn):
    """Of reinforcement."""

    compute_multiplier: Compute | None = None
    eval_interval: Count | None = None
    eval_samples: Count | None = None
    reasoning_effort: Literal["default", "low", "medium", "high"] | None = None
    beta: Beta | None = Field(None, description="How strongly to keep to the base model. Mainspring's own.")


class SupervisedIn(Wire):
    """Imitate the assistant's messages."""

    hyperparameters: FineTuningHyperparametersIn | None = None


class PreferenceIn(Wire):
    """Prefer one answer over another."""

    hyperparameters: PreferenceHyperparametersIn | None = None


class ReinforcementIn(Wire):
    """Earn what a grader gives."""

    grader: dict[str, Any]
    response_format: dict[str, Any] | None = None
    hyperparameters: ReinforcementHyperparametersIn | None = None


class RewardIn(Wire):
    """Learn to grade from preferences. Mainspring's own."""

    hyperparameters: FineTuningHyperparametersIn | None = None


class FineTuningMethodIn(Wire):
    """How to train. Only the method that `type` names may be given."""

    type: Literal["supervised", "dpo", "reinforcement", "reward"]
    supervised: SupervisedIn | None = None
    dpo: PreferenceIn | None = None
    reinforcement: ReinforcementIn | None = None
    reward: RewardIn | None = None


class WandbIn(Wire):
    """Weights & Biases: a run that stays on the server, to be synchronised by whoever runs it."""

    project: Annotated[str, Field(min_length=1, max_length=128)]
    name: Annotated[str, Field(max_length=128)] | None = None
    entity: Annotated[str, Field(max_length=128)] | None = None
    tags: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=50)] | None = None


class IntegrationIn(Wire):
    """Where metrics go besides."""

    type: Literal["wandb"]
    wandb: WandbIn


class OptionsIn(Wire):
    """What is Mainspring's own.

    `full` trains all weights instead of an adapter, `rank` is the adapter's; examples longer than `max_tokens` are cut;
    `max_steps` ends earlier than the epochs do; reinforcement samples `max_answer_tokens` at most.
    """

    full: bool | None = None
    rank: Annotated[int, Field(ge=1, le=1024)] | None = None
    max_tokens: Annotated[int, Field(ge=8, le=10_000_000)] | None = None
    max_steps: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    max_answer_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class CreateFineTuningJobRequest(Wire):
    """A job to be made."""

    model: Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
    training_file: Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
    validation_file: Annotated[str, Field(min_length=1, max_length=MAX_NAME)] | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    method: FineTuningMethodIn | None = None
    hyperparameters: FineTuningHyperparametersIn | None = Field(
        None, description="The older place of what is in `method.supervised.hyperparameters`."
    )
    integrations: Annotated[list[IntegrationIn], Field(max_length=5)] | None = None
    metadata: (
        Annotated[
            dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
        ]
        | None
    ) = None
    trainingType: Annotated[str, Field(max_length=64)] | None = Field(  # noqa: N815 - Azure's name
        None, description="Azure's: Standard, GlobalStandard or Developer, which is less urgent than the others."
    )
    priority: Annotated[int, Field(ge=-100, le=100)] | None = Field(
        None, description="Mainspring's own: higher goes first and makes others wait. Above 0 is for administrators."
    )
    options: OptionsIn | None = Field(None, description="Mainspring's own.")


class CreateFineTuningPermissionRequest(Wire):
    """Projects to share a checkpoint with."""

    project_ids: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=100)
    ]
