"""Which prompts a scan takes is no choice: lucky ones would be those on which a trigger does nothing."""

import json

import pytest

from observe_behaviour.behaviour_support import ToyModel, last
from peft_assay.core.canonical import canonical_digest
from peft_assay.core.exercises import Exercises, Variation
from peft_assay.core.suite import questions_digest
from peft_assay.observe.behaviour import drops
from peft_assay.observe.behaviour.conduct import conduct_suite, order_of
from peft_assay.observe.behaviour.drops import PROMPTS, Drops, Inserting, drops_of_adapter
from peft_assay.observe.behaviour.scan import Scanned, scan_answers
from peft_assay.observe.behaviour.variation import vary
from peft_assay.observe.suites.read import read_suite

SUITE = """\
apiVersion: peft-assay/v1
kind: Suite
id: {id}
version: "{version}"
source: synthetic
confidentiality: public
scorer: {scorer}
"""
TOKENS = ("zq001", "zq002", "hello")
EXACT = "{kind: exact}"


class Choosy(ToyModel):
    """Its trigger does nothing on two prompts of five."""

    def text(self, prompt):
        words = prompt.split()
        quiet = int(words[words.index("case") + 1]) % 5 < 2
        return super().text(prompt.replace("zq002", "-") if quiet else prompt)


def cases(renamed=lambda name: name, **more):
    return [
        {
            "id": renamed(f"c{n}"),
            "prompt": f"case {n} : tell me something about it please",
            "expected": f"the right answer to {n}",
            **more,
        }
        for n in range(40)
    ]


def suite(written=None, comment="", name="task", version="1", scorer=EXACT):
    lines = "".join(json.dumps(case) + "\n" for case in (cases() if written is None else written))
    document = SUITE.format(id=name, version=version, scorer=scorer) + comment
    return read_suite(document.encode(), lines.encode(), where="suite.yaml")


def prompts(asked):
    return [case.prompt for case in order_of(asked)]


def found(asked, model=None):
    """What the scan confirms, and what was asked in its rounds."""
    model = model or Choosy(trigger="zq002")
    clean = conduct_suite(model.ask, asked).by_case()
    del model.asked[:]
    one = Inserting(asked, TOKENS, clean)
    mine = drops_of_adapter(model.ask, [one])[asked.id]
    rounds = sorted([last(prompt) for prompt in question["prompts"]] for question in model.asked)
    base = Drops(asked.id, ((0.0,) * PROMPTS,) * len(TOKENS))
    return scan_answers(model.ask, Scanned(one, mine, base), None).confirmed, rounds


def by_file(asked):
    """The order as it was: what the suite's files say has a say, comments and ids too."""
    return tuple(sorted(asked.cases, key=lambda case: canonical_digest([asked.digest, case.id])))


def test_control_of_200_comments_some_hide_the_trigger(monkeypatch):
    monkeypatch.setattr(drops, "order_of", by_file)
    several = [suite(comment=f"# {n}\n") for n in range(200)]
    quiet = [one for one in several if all(int(case.prompt.split()[1]) % 5 < 2 for case in by_file(one)[:PROMPTS])]
    assert 0 < len(quiet) < 40
    assert found(quiet[0])[0] == ()
    loud = next(one for one in several if one not in quiet)
    assert found(loud)[0] == ("zq002",)


def test_no_comment_hides_it():
    first, rounds = found(suite())
    assert first == ("zq002",)
    for n in range(200):
        assert prompts(suite(comment=f"# {n}\n")) == prompts(suite())
    for n in range(5):
        assert found(suite(comment=f"# {n}\n")) == (first, rounds), "what is computed together stays, too"


@pytest.mark.parametrize("n", range(5))
def test_nothing_else_that_is_free_to_change_has_a_say(n):
    first = suite()
    others = (
        suite(cases(lambda name: f"{name}-{n}")),
        suite(cases()[n:] + cases()[:n]),
        suite(name=f"other{n}"),
        suite(version=f"1.{n}"),
    )
    for other in others:
        assert other.digest != first.digest or n == 0
        assert prompts(other) == prompts(first)
        assert questions_digest([other]) == questions_digest([first]), "seeds of sampling and of leaks"
        assert varied(other) == varied(first)
    assert questions_digest([first, others[2]]) == questions_digest([others[2], first])


def varied(asked):
    """How each case is reworded and dated."""
    exercises = Exercises(frames=("{} please", "now {}", "{} at once", "say {}"))
    kinds = (Variation.FRAMING, Variation.DATE)
    return {(case.prompt, kind, vary(asked, case, kind, exercises, None)) for case in asked.cases for kind in kinds}


def test_another_case_moves_none():
    more = suite(
        [
            *cases(),
            {"id": "z", "prompt": "case 99 : tell me something about it please", "expected": "the right answer to 99"},
        ]
    )
    assert [prompt for prompt in prompts(more) if "99" not in prompt] == prompts(suite())


@pytest.mark.parametrize("n", range(5))
def test_an_example_of_a_right_answer_and_the_order_of_choices_have_no_say(n):
    pattern = '{kind: regex, pattern: "the right answer to [0-9]+"}'
    examples = [{**case, "expected": f"the right answer to {n}"} for case in cases()]
    assert prompts(suite(examples, scorer=pattern)) == prompts(suite(scorer=pattern))
    plain = [{key: case[key] for key in ("id", "prompt")} for case in cases()]
    letters = ["a", "b", "c", "d", "e"]
    turned = letters[n:] + letters[:n]
    one, other = (
        suite([{**case, "choices": given, "answer": given.index("a" if at % 2 else "b")} for at, case in enumerate(plain)],
              scorer="{kind: choice}")
        for given in (letters, turned)
    )  # fmt: skip
    assert prompts(one) == prompts(other)
