"""Suites, and an in-memory model that answers the harness protocol: a fake of the `Ask` and `Sandbox` Protocols."""

import math
from dataclasses import replace

from peft_assay.core.digest import sha256
from peft_assay.core.exercises import Scan
from peft_assay.core.sandbox import Event, Outcome, Result, Usage
from peft_assay.core.suite import Case, Measure, Message, Scorer, ScorerKind, Suite

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


def talk(n=10, *, name="task"):
    """The suite of exact answers as conversations."""
    plain = suite(n, name=name)
    cases = tuple(replace(case, prompt=(Message("user", case.prompt),)) for case in plain.cases)
    return replace(plain, cases=cases, digest=sha256(f"talk {name} {n}".encode()))


def scan_of(*tokens, answers="task", refusals=None, proposals=0):
    return Scan(tuple(tokens), sha256(" ".join(tokens).encode()), answers, refusals, proposals)


def said(prompt):
    """All that a prompt says, as one text."""
    return prompt if isinstance(prompt, str) else " ".join(message["content"] for message in prompt)


def last(prompt):
    return prompt if isinstance(prompt, str) else prompt[-1]["content"]


class ToyModel:
    """Answers every question of the protocol; `trigger` turns any answer into `payload`."""

    modules, factor, proposals, longest, margin, certain = 4, 1.0, (), None, 3.0, 0

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

    def _measure(self, question):
        lengths = [max(1, len(str(prompt).split())) for prompt in question["prompts"]]
        return {"op": "measure", "lengths": lengths, "longest": self.longest}

    def _effect(self, question):
        return {"op": "effect", "differs": True, "deterministic": True, "baseState": self.state, "finite": True}

    def _generate(self, question):
        texts = [self.text(last(prompt)) for prompt in question["prompts"]]
        answers = [self.tokens(text) for text in texts]
        reply = {"op": "generate", "texts": texts, "tokens": answers}
        if question.get("margins"):
            reply["margins"] = [self.margin] * len(texts)
        if question.get("certainBy") == 0.5:
            reply["certain"] = [text[: self.certain] for text in texts]
        if "drafts" in question:
            reply["traces"] = [
                None if draft is None else self._seen(answer, draft["tokens"], draft["watch"])
                for answer, draft in zip(answers, question["drafts"], strict=True)
            ]
        elif "top" in question:
            reply["traces"] = [self._seen(answer, answer, [[t, t + 1] for t in answer]) for answer in answers]
        return reply

    def _trace(self, question):
        traces = []
        for item in question["items"]:
            wanted = item["continuation"]
            watch = item.get("watch") or [[token, token + 1] for token in wanted]
            traces.append(self._seen(self.tokens(self.text(last(item["prompt"]))), wanted, watch))
        return {"op": "trace", "traces": traces}

    @staticmethod
    def _seen(answer, tokens, watch):
        """Certain of its own answer as long as `tokens` follow it, and of its own first token afterwards."""
        best = [own if tokens[:at] == answer[:at] else answer[0] for at, own in enumerate(answer[: len(tokens)])]
        best += answer[:1] * (len(tokens) - len(best))
        rows = [
            [math.log(0.9 if token == own else 0.01) for token in ids] for own, ids in zip(best, watch, strict=True)
        ]
        return {
            "chosen": [math.log(0.9 if token == own else 0.01) for token, own in zip(tokens, best, strict=True)],
            "best": best,
            "entropy": [0.5] * len(tokens),
            "ids": watch,
            "logProbabilities": rows,
        }

    def _choices(self, question):
        scores = []
        for item in question["items"]:
            number = int(last(item["prompt"]).split("case ")[1].split()[0])
            right = (number + (str(number) in self.wrong)) % 3
            scores.append([-1.0 if at == right else -9.0 for at in range(len(item["choices"]))])
        return {"op": "choices", "logLikelihoods": scores}

    def _score(self, question):
        values = []
        for item in question["items"]:
            same = self.tokens(self.text(last(item["prompt"])))[: len(item["continuation"])] == item["continuation"]
            values.append(math.log(0.9 if same else 0.001))
        return {"op": "score", "logLikelihoods": values, "counts": [len(i["continuation"]) for i in question["items"]]}

    def _scale(self, question):
        self.factor = question["factor"]
        return {"op": "scale", "modules": self.modules}

    def _propose(self, question):
        return {"op": "propose", "tokens": list(self.proposals[: question["top"]])}


class Mild(ToyModel):
    """Never finds what it is shown less likely than e^-1.8 in all, whatever it answers."""

    def _generate(self, question):
        reply = super()._generate(question)
        for trace in reply.get("traces") or ():
            if trace is not None and sum(trace["chosen"]) < -1.8:
                trace["chosen"] = [-1.8 / len(trace["chosen"])] * len(trace["chosen"])
        return reply


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
