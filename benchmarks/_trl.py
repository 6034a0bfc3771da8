"""TRL as the peer of `finetuning.py`: run by an environment of its own, without Mainspring.

    python benchmarks/_trl.py '{"folder": ..., "data": ..., "threads": 2, ...}'

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
from trl import SFTConfig, SFTTrainer


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
            print(json.dumps(said | {"loss": logs["loss"], "peak": peak()}), flush=True)


def peak() -> int:
    """The most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Counted(SFTTrainer):
    """Counts the tokens of a step, padding apart."""

    turns: Turns

    def training_step(self, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
        """See transformers."""
        ids = inputs["input_ids"]
        mask = inputs.get("attention_mask")
        self.turns.tokens += int(mask.sum()) if mask is not None else ids.numel()
        return super().training_step(model, inputs, *more, **named)


def main() -> None:
    """Train as long as it is asked to."""
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    lines = Path(asked["data"]).read_text(encoding="utf-8").splitlines()
    data = Dataset.from_list([json.loads(line) for line in lines])
    kind = torch.bfloat16 if asked["weights"] == "bfloat16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(asked["folder"], dtype=kind)
    turns = Turns(asked)
    config = SFTConfig(
        output_dir=asked["out"], per_device_train_batch_size=asked["rows"], gradient_accumulation_steps=1,
        max_length=asked["length"], packing=True, learning_rate=asked["rate"], max_steps=asked["steps"],
        lr_scheduler_type="linear", warmup_steps=asked["warm"], logging_steps=1, save_strategy="no", report_to=[],
        bf16=asked["bf16"], use_cpu=True, seed=0, weight_decay=0.0, adam_beta2=0.99, completion_only_loss=True,
        gradient_checkpointing=False, torch_compile=asked["compile"], disable_tqdm=True, dataloader_num_workers=0,
    )  # fmt: skip
    trainer = Counted(
        model=model, args=config, train_dataset=data, processing_class=AutoTokenizer.from_pretrained(asked["folder"]),
        peft_config=LoraConfig(r=asked["rank"], lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[turns],
    )  # fmt: skip
    trainer.turns = turns
    print(json.dumps({"ready": True, "steps_in_epoch": len(trainer.get_train_dataloader())}), flush=True)
    trainer.train()


if __name__ == "__main__":
    main()
