"""Histories of runs that never ran: empty, in every stage, finished, failed, hostile, large; from events alone."""

from __future__ import annotations

import dataclasses
import random

import mipro_nb as mn
from mipro_nb import History
from mipro_nb import events as ev
from mipro_nb.verdict import judge

ORIGINAL = "Route the customer message to the team that can solve it."
SIGNATURE = mn.Signature("message -> team", ORIGINAL)
PROPOSED = (
    "You are the dispatcher of a help desk. Read the customer message, decide what must happen next, and name the "
    "team that can solve it: billing for money, bug for faults, account for access, shipping for parcels.",
    "Route the customer message to the one team that can solve it.\nAnswer with the team's name alone.",
    "Imagine that a wrong team costs a day. Route the message to the team that can solve it on the first try.",
)
TIPS = ("persona", "simple", "high_stakes", "creative", "description")
SETTINGS = {
    "auto": "light",
    "num_candidates": None,
    "search": "mipro",
    "seed": 9,
    "task_model": "local/smollm2-135m",
    "prompt_model": "local/smollm2-135m",
    "init_temperature": 1.0,
    "max_bootstrapped_demos": 4,
    "max_labeled_demos": 4,
}
DEMOS = (
    {"message": "My parcel is late.", "team": "shipping"},
    {"message": "I was charged twice this month.", "team": "billing"},
    {"message": "The app closes when I open a photo.", "team": "bug"},
)

# what must be shown as text and never run; the texts of facts.md section 4 and some relatives
PAYLOADS = (
    "<script>window.pwned = 1</script>",
    '<img src=x onerror="window.pwned = 2">',
    "![leak](https://evil.example/leak.png) [click](javascript:window.pwned=3)",
    "<svg onload=window.pwned=4></svg><style>*{display:none}</style>",
    "</pre></td></table></div><h1 onclick='window.pwned=5'>out</h1>",
    "$$\\unicode{<img src=x onerror=window.pwned=6>}$$ \\(x\\)",
    "\"'`><iframe srcdoc='<script>parent.pwned=7</script>'>",
    "&lt;b&gt; &amp; {{constructor.constructor('window.pwned=8')()}} ${window.pwned=9}",
    "left \u202eright to left\u202c \u2066isolated\u2069 \u200fmark\u200e",
    "tab\tline\nbreak\r\nnul\x00bell\x07 escape\x1b[31m \ud800 half",
)


def started(predictors=("self",), program="Predict", trials=15, sizes=None, settings=None):
    plan = {"auto": "light", "num_trials": trials, "trials_shown": trials + 4, "num_instructions": 4}
    plan |= {"num_demo_sets": 5, "minibatch_size": 35, "full_eval_steps": 5}
    sizes = sizes or {"training": 40, "validation": 100, "test": 60}
    settings = {**SETTINGS, **(settings or {})}
    signatures = {name: SIGNATURE.to_json() for name in predictors}
    versions = {"mipro_nb": "0.1.0"}
    return ev.RunStarted("run", program, tuple(predictors), settings, plan, sizes, versions, signatures, at=0.0)


def bootstrap(predictors=("self",), sets=5, texts=DEMOS):
    """The first stage: every origin of a demo set, two examples dropped."""
    yield ev.StageStarted("bootstrap", sets, at=1.0)
    origins = ("none", "labeled", "bootstrapped", "shuffled", "student")
    for index in range(sets):
        if index > 1:
            yield ev.ExampleBootstrapped(index, 1.0, True, at=1.5)
            yield ev.ExampleBootstrapped(10 + index, 0.0, False, "score 0", at=1.6)
        chosen = tuple(dict(texts[(index + k) % len(texts)]) for k in range(0 if index == 0 else 1 + index % 3))
        for name in predictors:
            made = len(chosen) if origins[index % 5] in ("bootstrapped", "shuffled") else 0
            yield ev.DemosBootstrapped(name, index, origins[index % 5], chosen, made, at=2.0 + index)
    yield ev.LMUsed("bootstrap", ev.Usage(12, 0, 2400, 120, 0.0012), at=9.0)


def propose(predictors=("self",), texts=(ORIGINAL, *PROPOSED)):
    """The second stage: the program's own instruction and the proposals."""
    yield ev.StageStarted("propose", len(texts) * len(predictors), at=10.0)
    for name in predictors:
        for index, text in enumerate(texts):
            tip = TIPS[index % len(TIPS)] if index else ""
            yield ev.InstructionProposed(name, index, text, "proposed" if index else "original", tip, at=11.0 + index)
    yield ev.LMUsed("propose", ev.Usage(8, 1, 9000, 700, 0.0091), at=19.0)


def trial(number, kind, instructions, demos, scores, at=None, errors=(), new=None):
    """One trial: ``scores`` by example id (or a list), None for a failed call; ``errors`` by example id."""
    at = 20.0 + number if at is None else at
    scores = dict(enumerate(scores)) if not isinstance(scores, dict) else scores
    errors = dict(errors)
    known = [score for score in scores.values() if score is not None]
    yield ev.TrialStarted(number, kind, tuple(instructions), tuple(demos), len(scores), len(scores), at=at)
    for example, score in scores.items():
        told = errors.get(example, "LMUnavailable: the server doesn't answer" if score is None else "")
        output = "" if told else f"Prediction(team='{'billing' if score else 'bug'}')"
        yield ev.ExampleScored(number, example, score, told, "", output, called(example, score), at=at + 0.5)
    mean = sum(known) / len(known) if known else None
    yield ev.LMUsed("search", ev.Usage(len(scores), 0, 150 * len(scores), 5 * len(scores), 0.0002 * len(scores)), at=at)
    yield ev.TrialFinished(number, mean, len(known), len(scores) - len(known), at=at + 0.9)


def called(example, score=1.0, message="", predictor="self"):
    """The call behind a score, as the engine tells it."""
    inputs = {"message": message or f"Message {example}: my parcel, my bill, my account."}
    return ({"predictor": predictor, "inputs": inputs, "replies": ["team: billing" if score else "team: bug"]},)


def draws(rng, mean, examples, boolean=True):
    """Scores of examples around a mean."""
    if boolean:
        return [float(rng.random() < mean) for _ in range(examples)]
    return [min(1.0, max(0.0, rng.gauss(mean, 0.15))) for _ in range(examples)]


def search(count, examples=100, predictors=1, instructions=4, demos=5, minibatch=35, seed=0, every=5, boolean=True):
    """The third stage: a baseline, then ``count`` trials; each fifth is a full evaluation. ``demos`` 0 is zero-shot."""
    rng, fixed = random.Random(seed), {}

    def scores(choice, ids, mean):
        """The same combination scores the same on the same example, as it does in a run."""
        if choice not in fixed:
            fixed[choice] = draws(rng, mean, examples, boolean)
        return {example: fixed[choice][example] for example in ids}

    yield ev.StageStarted("search", count + 1, at=20.0)
    zeros, everything = (0,) * predictors, range(examples)
    own = (zeros, zeros if demos else ())
    yield from trial(0, "baseline", *own, scores(own, everything, 0.4))
    for number in range(1, count + 1):
        chosen = tuple(rng.randrange(instructions) for _ in zeros)
        sets = tuple(rng.randrange(demos) for _ in zeros) if demos else ()
        mean = 0.35 + 0.5 * (sum(chosen) + sum(sets)) / predictors / (instructions + demos)
        if number % every == 0 or minibatch is None:
            yield from trial(number, "full", chosen, sets, scores((chosen, sets), everything, mean))
        else:
            ids = rng.sample(everything, min(minibatch, examples))
            yield from trial(number, "minibatch", chosen, sets, scores((chosen, sets), ids, mean))


def verdict(history_events, before=0.45, after=0.75, examples=60, seed=1):
    """The judgement on the test set, after the events of a search."""
    rng = random.Random(seed)
    found = History(history_events)
    first, best = draws(rng, before, examples), draws(rng, after, examples)
    number = len(found.trials_by_number)
    yield ev.StageStarted("verdict", 2, at=100.0)
    yield from trial(number, "test_baseline", found.baseline.instructions, found.baseline.demos, first, 101.0)
    yield from trial(number + 1, "test_best", found.best.instructions, found.best.demos, best, 103.0)
    yield ev.VerdictReached(judge(first, best), at=105.0)


def paired_plan(evaluations):
    """The first event of a run with ``search="paired"``, whose plan counts evaluations of single examples."""
    first = started(settings={"search": "paired"})
    plan = {"auto": "light", "num_instructions": 4, "num_demo_sets": 5, "evaluations": evaluations, "trials_shown": 24}
    return ev.RunStarted(
        *(first.run_id, first.program, first.predictors, first.settings),
        *(plan, first.sizes, first.versions, first.signatures),
        at=0.0,
    )


REWRITTEN = "Name the one team that can solve the message. Ask what the customer wants back: money, access, a parcel."


class Paired:
    """A paired search that never ran: trials with growing sets of examples, and a model's view after each round.

    Args:
        effects: true gain of each instruction; ``by_demos`` of each demo set.
    """

    def __init__(self, effects=(0.0, 0.12, 0.05, -0.04, 0.2), by_demos=(0.0, 0.04, 0.02, 0.05, -0.02, 0.06), seed=3):
        self.effects, self.by_demos, self.rng = effects, by_demos, random.Random(seed)
        self.hard = [self.rng.random() for _ in range(100)]
        self.scores, self.numbers, self.at, self.made = {}, {}, 20.0, []

    def mean(self, choice):
        return 0.55 + self.effects[choice[0]] + self.by_demos[choice[1]]

    def more(self, choice, count, kind="partial"):
        """A trial goes on with ``count`` more examples, in the same order for all."""
        known = self.scores.setdefault(choice, {})
        new = [n for n in range(100) if n not in known][:count]
        number = self.numbers.setdefault(choice, len(self.numbers))
        whole = len(known) + len(new)
        self.at += 1
        self.made.append(ev.TrialStarted(number, kind, (choice[0],), (choice[1],), whole, len(new), at=self.at))
        for example in new:
            known[example] = float(self.hard[example] < self.mean(choice) + self.rng.gauss(0, 0.08))
            said = f"Prediction(team='{'billing' if known[example] else 'bug'}')"
            told = ev.ExampleScored(number, example, known[example], "", "", said, called(example, known[example]))
            self.made.append(dataclasses.replace(told, at=self.at + 0.4))
        spent = ev.Usage(len(new), 0, 150 * len(new), 5 * len(new), 0.0002 * len(new))
        self.made.append(ev.LMUsed("search", spent, at=self.at + 0.5))
        self.made.append(ev.TrialFinished(number, sum(known.values()) / whole, whole, 0, at=self.at + 0.6))

    def around(self, mean, count, least=None):
        half = 0.9 / max(4, count) ** 0.5
        low = mean - half if least is not None else max(0.0, mean - half)
        return {"mean": mean, "low": low, "high": mean + half if least is not None else min(1.0, mean + half)}

    def posterior(self, instructions, demos, simplest=True):
        """What a model would make of it: the truth, as uncertain as the results are few."""
        count = sum(map(len, self.scores.values()))
        leader = max(self.scores, key=lambda choice: self.mean(choice) - 0.6 / len(self.scores[choice]) ** 0.5)
        gain = self.mean(leader) - self.mean((0, 0))
        few = len(self.scores[leader])
        candidates = []
        for kind, indices in (("instruction", instructions), ("demos", demos)):
            for index in indices:
                choice = (index, leader[1]) if kind == "instruction" else (leader[0], index)
                effect = self.effects[index] if kind == "instruction" else self.by_demos[index]
                seen = sum(len(one) for key, one in self.scores.items() if key[kind == "demos"] == index)
                told = self.around(self.mean(choice), seen)
                error = 0.0 if index == 0 else 0.4 / max(4, seen) ** 0.5
                candidates.append({"place": 0, "kind": kind, "index": index, **told, "gain": effect, "error": error})
        parts = {"instructions": self.effects[leader[0]], "demos": self.by_demos[leader[1]], "both": gain}
        sources = {name: self.around(mean, few, -1) for name, mean in parts.items()} if leader != (0, 0) else {}
        short = {}
        if simplest and leader[1]:
            loss = {"mean": self.by_demos[leader[1]], "low": -0.03, "high": 0.11}
            short = {"instructions": (leader[0],), "demos": (0,), "score": self.around(self.mean((leader[0], 0)), few)}
            short |= {"loss": loss, "tokens": 140, "best_tokens": 452}
        better = {"better": min(0.997, 0.5 + 2 * gain)}
        self.made.append(
            ev.PosteriorUpdated(
                *((leader[0],), (leader[1],), self.around(self.mean(leader), few), self.around(self.mean((0, 0)), few)),
                *({**self.around(gain, 2 * few, -1), **better}, sources, tuple(candidates), short, count),
                at=self.at + 0.7,
            )
        )


def paired_search(rounds=8, evaluations=600, arrive=4, winner=True, **options):
    """The third stage of ``search="paired"``; before round ``arrive`` an instruction and a demo set come up."""
    run = Paired(**options)
    instructions, demos = 4, 5
    run.made.append(ev.StageStarted("search", evaluations, at=20.0))
    for number in range(rounds):
        if number == arrive:
            run.made.append(ev.InstructionProposed("self", 4, REWRITTEN, "rewritten", "simple", at=run.at))
            run.made.append(ev.DemosBootstrapped("self", 5, "recombined", tuple(map(dict, DEMOS)), 2, at=run.at))
            run.made.append(ev.CandidateBanned("self", "instruction", 3, at=run.at))
            instructions, demos = 5, 6
        if number < 4:
            run.more((0, 0), 10, "baseline")
        fresh = {(run.rng.randrange(instructions), run.rng.randrange(demos)) for _ in range(3)}
        fresh |= {(instructions - 1, demos - 1)} if number == arrive else set()
        leading = sorted(run.scores, key=run.mean)[-3:] if number > 1 else []
        for choice in sorted({*fresh, *leading} - {(0, 0)}):
            run.more(choice, 10)
        run.posterior(range(instructions), range(demos))
    if winner:
        last = next(event for event in reversed(run.made) if isinstance(event, ev.PosteriorUpdated))
        run.more((last.instructions[0], last.demos[0]), 100, "full")
        run.posterior(range(instructions), range(demos))
    return run.made


def paired(rounds=8, before=0.55, after=0.79, tested=True, **options):
    """A whole run with ``search="paired"``, with a verdict if it has a test set."""
    events = [paired_plan(600), *bootstrap(), *propose(), *paired_search(rounds, **options)]
    if not tested:
        events[0] = dataclasses.replace(events[0], sizes={"training": 40, "validation": 100, "test": 0})
        return History([*events, ev.RunFinished("finished", at=106.0)])
    return History([*events, *verdict(events, before, after), ev.RunFinished("finished", at=206.0)])


def paired_middle(rounds=6):
    """In the middle of a paired search: two trials grow, one of them the leader's."""
    events = [paired_plan(600), *bootstrap(), *propose(), *paired_search(rounds, winner=False)]
    best = History(events).best
    for trial_, count in ((best, 4), (next(t for t in History(events).trials if t is not best and t.number == 2), 7)):
        new = [n for n in range(100) if n not in trial_.scored][:10]
        whole = len(trial_.scored) + len(new)
        events.append(
            ev.TrialStarted(trial_.number, "partial", trial_.instructions, trial_.demos, whole, len(new), at=88.0)
        )
        events += [ev.ExampleScored(trial_.number, n, 1.0, output="{}", calls=called(n), at=88.5) for n in new[:count]]
    return History(events)


def paired_beginning():
    """A paired search before its first round is over: no posterior yet."""
    events = [paired_plan(600), *bootstrap(), *propose(), *paired_search(1, winner=False)]
    return History(events[: next(n for n, event in enumerate(events) if isinstance(event, ev.PosteriorUpdated))])


def paired_untested():
    """A paired run without a test set."""
    return paired(tested=False)


def empty():
    """No event yet."""
    return History()


def waiting():
    """Started, nothing done."""
    return History([started()])


def bootstrapping():
    """In the middle of the first stage."""
    return History([started(), *list(bootstrap())[:6]])


def proposing():
    """In the middle of the second stage."""
    return History([started(), *bootstrap(), *list(propose())[:3]])


def middle(count=8):
    """In the middle of the search, one trial running."""
    running = [
        ev.TrialStarted(count + 1, "minibatch", (1,), (2,), 35, 35, at=60.0),
        *(ev.ExampleScored(count + 1, n, 1.0, output="{}", calls=called(n), at=60.5) for n in range(12)),
    ]
    return History([started(), *bootstrap(), *propose(), *search(count), *running])


def finished(count=15, **options):
    """A whole run with a verdict and a note."""
    events = [started(trials=count), *bootstrap(), *propose(), *search(count, **options)]
    note = ev.Noted("propose", "a proposal that repeated the instruction was dropped.", at=12.0)
    return History([*events, note, *verdict(events), ev.RunFinished("finished", at=106.0)])


def not_shown():
    """A whole run whose best program isn't shown to be better."""
    events = [started(), *bootstrap(), *propose(), *search(10)]
    return History([*events, *verdict(events, 0.5, 0.55, seed=5), ev.RunFinished("finished", at=106.0)])


def stopped():
    """Stopped by its user in the middle of the search."""
    return History([*middle().events, ev.RunFinished("stopped: as asked", at=61.0)])


def failed(text="LMUnavailable: the server doesn't answer"):
    """Ended by an outage, with what was found until then."""
    return History([*middle().events, ev.RunFinished(f"failed: {text}", at=61.0)])


def failed_examples():
    """Failed calls, replies that could not be read, and a trial of which nothing came back."""
    scores = [1.0, 0.0, None, *[0.0, 1.0, 0.0] * 6]
    errors = {1: "ParseError: no field 'team' in the reply. The reply was: 'I think...'"}
    return History(
        [
            started(sizes={"training": 10, "validation": 21, "test": 0}),
            *bootstrap(),
            *propose(),
            ev.StageStarted("search", 4, at=20.0),
            *trial(0, "baseline", (0,), (0,), scores, errors=errors),
            *trial(1, "minibatch", (1,), (1,), [None] * 10),
            *trial(2, "full", (1,), (2,), [1.0, 0.0, 1.0, *[1.0, 0.0, 1.0] * 6], errors=errors),
        ]
    )


def zero_shot(count=8):
    """No demo sets in the search."""
    settings = {"max_bootstrapped_demos": 0, "max_labeled_demos": 0}
    events = [started(settings=settings), *propose(), *search(count, demos=0)]
    return History([*events, *verdict(events), ev.RunFinished("finished", at=106.0)])


def two_predictors(names=("steps[0].answer", "judge"), count=20):
    """A program with two predictors, one named as only code can be."""
    events = [started(names, "Pipeline"), *bootstrap(names), *propose(names), *search(count, predictors=2)]
    return History([*events, *verdict(events), ev.RunFinished("finished", at=106.0)])


def numeric(count=10):
    """A metric that returns fractions; every trial is a full evaluation."""
    events = [started(), *bootstrap(), *propose(), *search(count, 40, minibatch=None, boolean=False)]
    return History([*events, *verdict(events), ev.RunFinished("finished", at=106.0)])


def hostile(payloads=PAYLOADS):
    """The payloads as predictor, instruction, tip, demo, output, error, note and reason."""
    names = (payloads[0], payloads[1])
    demos = [{"message": text, text: "value"} for text in payloads]
    events = [started(names, payloads[4], settings={"task_model": payloads[2], "seed": payloads[3]})]
    for name in names:
        for index, text in enumerate(payloads):
            events.append(ev.DemosBootstrapped(name, index, text, tuple(demos), 1, at=3.0))
            events.append(ev.InstructionProposed(name, index, text, text, text, at=12.0))
    count = len(payloads)
    events += search(12, 30, 2, count, count, 10)
    texts = {example: payloads[example % count] for example in range(30)}
    number = len(History(events).trials_by_number)
    worst = [ev.TrialStarted(number, "full", (3, 4), (5, 6), 30, 30, at=80.0)]
    worst += [
        ev.ExampleScored(number, example, float(example != 3), text, text, text, called(example, 1.0, text), at=80.0)
        for example, text in texts.items()
    ]
    events += [*worst, ev.TrialFinished(number, 29 / 30, 30, 0, at=81.0)]
    events += [ev.Noted(text, text, at=82.0) for text in payloads]
    return History([*events, *verdict(events), ev.RunFinished(f"failed: {payloads[0]}", at=106.0)])


def large(count=200, examples=100, **options):
    """N trials on M examples, texts as long as real ones."""
    long = [f"{text} Case {n}. " + "Think of what the customer needs. " * 25 for n, text in enumerate(PROPOSED * 4)]
    texts = (ORIGINAL, *long)
    events = [started(trials=count, sizes={"training": 200, "validation": examples, "test": 60})]
    events += [*bootstrap(sets=12), *propose(texts=texts)]
    events += search(count, examples, instructions=len(texts), demos=12, **options)
    return History([*events, *verdict(events), ev.RunFinished("finished", at=106.0)])


ALL = {
    "empty": empty,
    "waiting": waiting,
    "bootstrapping": bootstrapping,
    "proposing": proposing,
    "middle": middle,
    "finished": finished,
    "not_shown": not_shown,
    "stopped": stopped,
    "failed": failed,
    "failed_examples": failed_examples,
    "zero_shot": zero_shot,
    "two_predictors": two_predictors,
    "numeric": numeric,
    "hostile": hostile,
    "paired": paired,
    "paired_beginning": paired_beginning,
    "paired_middle": paired_middle,
    "paired_untested": paired_untested,
}
