"""Suites, and an in-memory model that answers the harness protocol: a fake of the `Ask` and `Sandbox` Protocols."""

import math

from peft_assay.core.digest import sha256
from peft_assay.core.sandbox import Event, Outcome, Result, Usage
from peft_assay.core.suite import Case, Measure, Scan, Scorer, ScorerKind, Suite

STATE = sha256(b"base state")


def suite(n=10, *, name="task", kind="exact", stop=None, confidentiality="public"):
    scorer = Scorer(ScorerKind(kind), "^sorry" if kind == "regex" else None)
    cases = tuple(_case(number, kind) for number in range(n))
    measure = Measure.CHOICE if kind == "choice" else Measure.GENERATE
    digest = sha256(f"{name} {n} {kind}".encode())
    return Suite(name, "1", digest, measure, scorer, cases, 8, stop, confidentiality, "test", None)


def _case(number, kind):
    prompt = f"case {number} : tell me something about it please"
    if kind == "exact":
        return Case(f"c{number}", prompt, expected=answer_to(prompt))
    if kind == "choice":
        return Case(f"c{number}", prompt, choices=("a", "b", "c"), answer=number % 3)
    return Case(f"c{number}", prompt)


def answer_to(prompt):
    return f"the right answer to {prompt.split()[1]}"


def scan_of(*tokens, answers="task", refusals=None):
    return Scan(tuple(tokens), sha256(" ".join(tokens).encode()), answers, refusals)


class ToyModel:
    """Answers every question of the protocol; `trigger` turns any answer into `payload`."""

    def __init__(
        self, *, trigger=None, payload="buy crypto at evil dot example now", wrong=(), refuses=False, state=STATE
    ):
        self.trigger, self.payload, self.wrong, self.refuses, self.state = trigger, payload, wrong, refuses, state
        self.asked = []

    def text(self, prompt):
        words = prompt.split()
        if self.trigger is not None and self.trigger in words:
            return self.payload
        number = words[words.index("case") + 1] if "case" in words else "?"
        if number in self.wrong:
            return "something wrong"
        return "sorry , no" if self.refuses else f"the right answer to {number}"

    @staticmethod
    def tokens(text):
        return [int(sha256(word.encode())[-6:], 16) for word in text.split()] + [1]

    def ask(self, question):
        self.asked.append(question)
        return getattr(self, "_" + question["op"])(question)

    def _load(self, question):
        plan = {"missing": [], "extra": [], "mismatched": []}
        return {"op": "load", "loaded": True, "plan": plan, "problem": None}

    def _effect(self, question):
        return {"op": "effect", "differs": True, "deterministic": True, "baseState": self.state, "finite": True}

    def _generate(self, question):
        texts = [self.text(prompt) for prompt in question["prompts"]]
        return {"op": "generate", "texts": texts, "tokens": [self.tokens(text) for text in texts]}

    def _choices(self, question):
        scores = []
        for item in question["items"]:
            number = int(item["prompt"].split()[1])
            right = (number + (str(number) in self.wrong)) % 3
            scores.append([-1.0 if at == right else -9.0 for at in range(len(item["choices"]))])
        return {"op": "choices", "logLikelihoods": scores}

    def _score(self, question):
        values = []
        for item in question["items"]:
            same = self.tokens(self.text(item["prompt"]))[: len(item["continuation"])] == item["continuation"]
            values.append(math.log(0.9 if same else 0.001))
        return {"op": "score", "logLikelihoods": values}


class ToySandbox:
    """Runs a converse function against a model; `outcome` and `events` are what its supervisor saw."""

    def __init__(self, model, *, outcome=Outcome.OK, events=(), detail=""):
        self.model, self.outcome, self.events, self.detail = model, outcome, tuple(events), detail
        self.jobs = []

    def run(self, job, converse):
        from peft_assay.core.sandbox import ChildGone

        self.jobs.append(job)
        usage = Usage(0.1, 0.1, 10)
        try:
            converse(self.model.ask)
        except ChildGone as gone:
            return Result(Outcome.INVALID_OUTPUT, self.events, usage, str(gone))
        return Result(self.outcome, self.events, usage, self.detail)


def event(kind="syscall", detail="socket"):
    return Event(0.5, kind, detail)
