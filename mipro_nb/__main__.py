"""``python -m mipro_nb demo``: optimize a real program on the embedded LM, and judge the result."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from mipro_nb import outcome
from mipro_nb.data import split
from mipro_nb.demo import messages
from mipro_nb.errors import MiproError
from mipro_nb.example import Example
from mipro_nb.history import History
from mipro_nb.lm import LM
from mipro_nb.mipro import MIPROv2
from mipro_nb.module import Module
from mipro_nb.predict import Predict
from mipro_nb.progress import duration_text, score_text
from mipro_nb.scoring import Metric
from mipro_nb.settings import context
from mipro_nb.signature import InputField, OutputField, Signature


class FindProduct(Signature):
    """Find the product that the customer's message is about."""

    message: str = InputField()
    product: str = OutputField()


def same_product(example: Example, prediction: Any, trace: Any = None) -> bool:
    """Whether the product is named exactly, capitals and a final stop aside."""
    return bool(prediction.product.strip().rstrip(".").lower() == example.product)


def demo(seed: int, auto: str, model: str, save: str) -> int:
    """Run the demo; return the exit code."""
    data = messages()
    train, val, test = split(data, 0.2, 0.4, 0.4, stratify="product", seed=seed)
    task_model = LM(model, max_tokens=32)  # a product's name is short
    prompt_model = LM(model)
    program = Predict(FindProduct)
    metric: Metric = same_product
    optimizer = MIPROv2(metric, prompt_model=prompt_model, auto=auto, seed=seed)
    history = History()
    print(f"{len(data)} customer messages, {model}: which product is it about?")
    with context(lm=task_model):
        options: dict[str, Any] = {"trainset": train, "valset": val, "testset": test}
        print(optimizer.plan(program, **options), flush=True)
        best = optimizer.compile(program, listeners=[history], **options)
        path = best.save(save)
    print(summary(history, best, path))
    return 0


def summary(history: History, best: Module, path: Path) -> str:
    """Write what a person wants to know at the end."""
    predictor = best.predictors[0]
    demos = [f"  {' | '.join(str(demo[name]) for name in demo)}" for demo in predictor.demos]
    lines = ["", f"Instruction: {predictor.signature.instructions}", f"Demos ({len(demos)}):", *demos, ""]
    verdict = history.verdict
    if verdict is not None:
        lines += [
            f"Baseline on the sealed test set:  {score_text(verdict.baseline, verdict.examples)}",
            f"Optimized on the sealed test set: {score_text(verdict.best, verdict.examples)}",
            f"Verdict: {verdict}",
        ]
    else:
        best_trial = history.best
        found = score_text(best_trial.score, best_trial.examples) if best_trial else "not evaluated yet"
        found = outcome.best_text(history) or found
        lines.append(f"Best so far: {found} (validation). The run ended before the verdict: {history.reason}.")
    return "\n".join([*lines, f"Saved to {path.resolve()}; {duration_text(history.seconds)}."])


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m mipro_nb", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("demo", help="optimize a program on the embedded LM")
    run.add_argument("--seed", type=int, default=0, help="seed of the split and the search (default 0)")
    run.add_argument("--auto", default="light", choices=["light", "medium", "heavy"], help="effort (default light)")
    run.add_argument("--model", default="local/smollm2-135m", help="any litellm model, or local/path/to.gguf")
    run.add_argument("--save", default="find_product", metavar="PATH", help="where to save the program")
    given = parser.parse_args(arguments)
    try:
        return demo(given.seed, given.auto, given.model, given.save)
    except MiproError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"{duration_text(time.monotonic() - started)} in all.")
    sys.exit(code)
