"""TRL as the peer of `finetuning.py` and `alignment.py`: run by an environment of its own, without Mainspring.

    python -P benchmarks/_trl.py '{"folder": ..., "data": ..., "threads": 2, ...}'

Prints one line of JSON when it is ready, then after each step, and waits for a line on its standard input every `turn`
steps, so that both sides compute in turns. The data is tokenised already, so both see the same tokens.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer


class Turns(TrainerCallback):
    """Says how a step went, and waits for the next turn."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._turn = asked["turn"]
        self.tokens = 0
        self._started = 0.0

    def on_step_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Between turns, until the other side has had its own."""
        if state.global_step % self._turn == 0 and not sys.stdin.readline():
            sys.exit(0)
        self.tokens, self._started = 0, time.perf_counter()

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
        """A step has ended."""
        if logs and "loss" in logs:
            said = {"step": state.global_step, "s": time.perf_counter() - self._started, "tokens": self.tokens}
            said |= {"loss": logs["loss"], "peak": peak()}
            if "reward" in logs:
                said |= {"reward": logs["reward"], "answer": logs["completions/mean_length"]}
            print(json.dumps(said), flush=True)


def peak() -> int:
    """The most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class _Counts:
    """Counts the tokens of a step, padding apart."""

    turns: Turns

    def training_step(self, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
        """See transformers."""
        if "input_ids" in inputs:
            ids, mask = inputs["input_ids"], inputs.get("attention_mask")
            self.turns.tokens += int(mask.sum()) if mask is not None else ids.numel()
        return super().training_step(model, inputs, *more, **named)  # type: ignore[misc]


class Supervised(_Counts, SFTTrainer):
    """Answers."""


class Preferences(_Counts, DPOTrainer):
    """Pairs."""


class Reinforcement(_Counts, GRPOTrainer):
    """Rewards."""


def rows(asked: dict[str, Any]) -> Any:
    """The data of the method."""
    lines = Path(asked["data"]).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def supervised(common: dict[str, Any], args: dict[str, Any], asked: dict[str, Any]) -> Any:
    """Packed, and only answers are learnt."""
    config = SFTConfig(
        **args, per_device_train_batch_size=asked["rows"], max_length=asked["length"], packing=True,
        completion_only_loss=True,
    )  # fmt: skip
    return Supervised(**common, args=config, train_dataset=Dataset.from_list(rows(asked)))


def preferences(common: dict[str, Any], args: dict[str, Any], asked: dict[str, Any]) -> Any:
    """Ids are given as they are; TRL would make the same of the messages."""
    config = DPOConfig(**args, per_device_train_batch_size=asked["batch"], max_length=asked["length"], beta=0.1)
    pairs = [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in rows(asked)]
    return Preferences(**common, args=config, train_dataset=Dataset.from_list(pairs))


def reinforcement(common: dict[str, Any], args: dict[str, Any], asked: dict[str, Any]) -> Any:
    """The loss and the advantages that ours has; everything else as it is by itself."""
    scope: dict[str, Any] = {}
    exec(asked["grader"], scope)

    def reward(completions: Any, larger: Any, completion_ids: Any, **_: Any) -> list[float]:
        found: list[float] = []
        for said, item, ids in zip(completions, larger, completion_ids, strict=True):
            reason = "length" if len(ids) >= asked["answer"] else "stop"
            sample = {"output_text": said[0]["content"], "choices": [{"finish_reason": reason}]}
            found.append(scope["grade"](sample, {"larger": item}))
        return found

    micro = asked["rows"] * asked["group"]
    config = GRPOConfig(
        **{**args, "gradient_accumulation_steps": asked["batch"] * asked["group"] // micro},
        per_device_train_batch_size=micro, num_generations=asked["group"], max_completion_length=asked["answer"],
        beta=0.0, loss_type="dr_grpo", scale_rewards="none", epsilon_high=0.28,
        use_transformers_continuous_batching=asked.get("continuous", False),
    )  # fmt: skip
    data = [{"prompt": row["messages"], "larger": row["larger"]} for row in rows(asked)]
    return Reinforcement(**common, args=config, reward_funcs=reward, train_dataset=Dataset.from_list(data))


METHODS = {"supervised": supervised, "dpo": preferences, "reinforcement": reinforcement}


def main() -> None:
    """Train as long as it is asked to."""
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    kind = torch.bfloat16 if asked["weights"] == "bfloat16" else torch.float32
    turns = Turns(asked)
    common = {
        "model": AutoModelForCausalLM.from_pretrained(asked["folder"], dtype=kind),
        "processing_class": AutoTokenizer.from_pretrained(asked["folder"]),
        "peft_config": LoraConfig(r=asked["rank"], lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        "callbacks": [turns],
    }  # fmt: skip
    args = {
        "output_dir": asked["out"], "gradient_accumulation_steps": 1, "learning_rate": asked["rate"],
        "max_steps": asked["steps"], "lr_scheduler_type": "linear", "warmup_steps": asked["warm"], "logging_steps": 1,
        "save_strategy": "no", "report_to": [], "bf16": asked["bf16"], "use_cpu": True, "seed": 0, "weight_decay": 0.0,
        "adam_beta2": 0.99, "gradient_checkpointing": False, "torch_compile": asked["compile"], "disable_tqdm": True,
        "dataloader_num_workers": 0,
    }  # fmt: skip
    trainer = METHODS[asked["method"]](common, args, asked)
    trainer.turns = turns
    print(json.dumps({"ready": True, "steps_in_epoch": len(trainer.get_train_dataloader())}), flush=True)
    trainer.train()


if __name__ == "__main__":
    main()
