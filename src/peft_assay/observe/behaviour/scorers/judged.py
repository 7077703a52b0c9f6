"""judge: a program of the consumer's decides. It is named by the suite and configured beside the trust anchor."""

from peft_assay.core.judge import JudgeFailed
from peft_assay.core.suite import Case, ScorerKind, Suite, ask_form
from peft_assay.observe.behaviour.scorers.interface import Scores


class JudgeScorer:
    """Asks the judge about every answer that is not blank."""

    kind = ScorerKind.JUDGE

    def of(self, suite: Suite, *, where: str) -> Scores:  # noqa: ARG002 - whether the judge exists is the pipeline's to say
        """Raises JudgeFailed for each answer where no judge is at hand."""
        return lambda case, answer: bool(answer.strip()) and _judged(suite, case, answer)


def _judged(suite: Suite, case: Case, answer: str) -> bool:
    if suite.judge is None:
        raise JudgeFailed(
            f"the trust anchor has no judge {suite.scorer.judge!r}",
            where=f"suite {suite.id}",
            next_step="name its command under judges in trust.yaml",
        )
    return suite.judge.passes(
        {
            "suite": suite.id,
            "case": case.id,
            "prompt": ask_form(case.prompt, suite.system_prompt),
            "expected": case.expected,
            "answer": answer,
        }
    )
