"""The typed observation vocabulary: every name a policy may use, its type and its meaning.

Terms of suites are generated per suite id, because a policy speaks of the suites of its context. The version stands in
the lock: a policy that meant something else yesterday is another policy.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

VERSION = "7"


class Kind(StrEnum):
    """The CEL type of a term."""

    BOOL = "bool"
    INT = "int"
    DOUBLE = "double"
    STRING = "string"
    STRINGS = "list(string)"


@dataclass(frozen=True, slots=True)
class Term:
    """One name of the vocabulary."""

    name: str
    kind: Kind
    meaning: str


STATIC_TERMS: tuple[Term, ...] = (
    Term("artifact.unexpected_files", Kind.STRINGS, "files that are neither weights, configuration, card nor licence"),
    Term("artifact.companions", Kind.STRINGS, "files beside the adapter that say or do something, and what they are"),
    Term("base.claims", Kind.STRINGS, "what is odd about the base that the adapter says it was made for"),
    Term("card.gaps", Kind.STRINGS, "what the model card leaves open: licence, datasets, unfilled rows"),
    Term("config.unusual", Kind.STRINGS, "settings that are valid and that a reader would want to be told of"),
    Term("weights.pickle_files", Kind.STRINGS, "files that would have to be unpickled to be read"),
    Term("pickles.fickling", Kind.STRINGS, "what fickling reads in pickles, by file; not applicable without fickling"),
    Term("pickles.modelscan", Kind.STRINGS, "what modelscan reads in pickles, by file; not applicable without it"),
    Term(
        "weights.canonical",
        Kind.BOOL,
        "adapter_model.safetensors exists and has one reading: strict header, exact cover",
    ),
    Term("weights.nonfinite", Kind.INT, "tensors that hold a NaN or an infinity, as stored or as cast for the stack"),
    Term(
        "weights.unservable",
        Kind.STRINGS,
        "serving dtypes (of float32, bfloat16, float16) in which tensors that are finite overflow, or updates are lost",
    ),
    Term("delta.cast_change", Kind.DOUBLE, "at most this part of any module's update changes when cast for the stack"),
    Term("delta.effective_rank", Kind.DOUBLE, "effective rank of the update, mean over modules (LoRA)"),
    Term("delta.largest_norm", Kind.DOUBLE, "largest Frobenius norm of any module's update s * B * A (LoRA)"),
    Term("delta.relative_norm", Kind.DOUBLE, "largest norm of an update relative to the base's own weight (LoRA)"),
    Term("delta.spectral_share", Kind.DOUBLE, "largest share of any update's squared norm in its first direction"),
    Term("delta.zero_modules", Kind.STRINGS, "modules whose update is exactly zero: they serve the base (LoRA)"),
    Term("weights.undeclared", Kind.STRINGS, "tensor names that the declared configuration does not account for"),
    Term("weights.misnamed", Kind.STRINGS, "names under which PEFT finds no tensor, and the change that mends them"),
    Term("config.strict", Kind.BOOL, "adapter_config.json is strict JSON, known fields only, right types"),
    Term("config.redirects", Kind.STRINGS, "fields that make a loader fetch, import or open something else"),
    Term("config.base_rewrites", Kind.STRINGS, "fields by which merely loading changes the base's own tensors"),
    Term("config.unsafe_patterns", Kind.STRINGS, "expressions that may take very long to match against module names"),
    Term("secrets.found", Kind.STRINGS, "credentials of recognisable form in files, by file and kind"),
    Term("config.conditional", Kind.STRINGS, "fields that make behaviour depend on tokens or routing"),
    Term("bounds.exceeded", Kind.STRINGS, "sizes over the limits: rank, patterns, alpha, virtual tokens"),
    Term("bounds.max_rank", Kind.INT, "largest effective rank of any module"),
    Term("strength.largest", Kind.DOUBLE, "largest factor by which PEFT multiplies any module's update"),
    Term("strength.relative", Kind.DOUBLE, "that factor divided by the one of PEFT's defaults for the type (LoRA: 1)"),
    Term(
        "strength.beyond_declared",
        Kind.DOUBLE,
        "that factor divided by the one of the configuration without patterns (alpha over rank); at least 1",
    ),
    Term(
        "strength.overlaps",
        Kind.STRINGS,
        "modules that several expressions of alpha_pattern or rank_pattern match and that these give different values",
    ),
    Term(
        "strength.magnitude",
        Kind.DOUBLE,
        "largest norm that DoRA gives an adapted weight over the norm of the base's own; 1 without DoRA",
    ),
    Term(
        "reach.full_weights",
        Kind.STRINGS,
        "base modules that the adapter replaces in full (modules_to_save, bias, token rows), heads of its task aside",
    ),
    Term(
        "reach.head", Kind.STRINGS, "heads of the adapter's declared task that its file holds, which replace the base's"
    ),
    Term("weights.missing_head", Kind.STRINGS, "the head of the declared task, where the file does not hold it"),
    Term("base.task", Kind.STRINGS, "the adapter's declared task and the base's, where these differ"),
    Term("weights.beside", Kind.STRINGS, "tensors of the base saved beside the adapter that are the base's own"),
    Term(
        "reach.vocabulary", Kind.STRINGS, "embeddings with other rows than the base's, whose rows it leaves unchanged"
    ),
    Term("tokenizer.added", Kind.STRINGS, "tokens that the adapter's tokenizer.json appends to the base's"),
    Term(
        "tokenizer.differences", Kind.STRINGS, "how its tokenizer.json differs from the base's, appended tokens aside"
    ),
    Term("reach.new_tokens", Kind.INT, "tokens of the adapter's vocabulary that the base does not have"),
    Term(
        "reach.altered_rows", Kind.INT, "rows of the base's embeddings that the file holds otherwise, over all of them"
    ),
    Term(
        "stack.unsupported", Kind.STRINGS, "what the declared engine cannot serve: rank over its limit, type, feature"
    ),
    Term(
        "withdrawn.near", Kind.STRINGS, "withdrawals in force of adapters that do almost the same, by scope and target"
    ),
    Term(
        "withdrawn.crafted",
        Kind.STRINGS,
        "withdrawals in force whose singular values it has while it points elsewhere: made to evade or to be mistaken",
    ),
    Term("stack.locked", Kind.BOOL, "the context declares a lock of the serving environment (context.stack.lock)"),
    Term("stack.requirements", Kind.STRINGS, "what the adapter says it needs, and where it says so"),
    Term("stack.resolves", Kind.BOOL, "uv finds versions of all it needs beside the lock's (context.stack.resolve)"),
    Term("stack.unmet", Kind.STRINGS, "what it needs and the lock does not provide, with what it has instead"),
    Term(
        "prompt.room", Kind.INT, "positions of the base left for prompt and answer beside the adapter's virtual tokens"
    ),
    Term("tested.prompt_tokens", Kind.INT, "longest prompt of the suites that were asked, in tokens of the base"),
    Term(
        "tested.answer_tokens",
        Kind.INT,
        "longest answer that it gave, or that it was shown of the base's, in tokens; 0 without suites of text",
    ),
    Term("publisher.identity", Kind.STRING, "who signed exactly these files, by the name the context gives them"),
    Term(
        "publisher.signature",
        Kind.STRING,
        "none, valid, unknown-key, unknown-authority, unknown-identity, not-verified or invalid",
    ),
    Term("stack.observed_as_served", Kind.BOOL, "the engine and dtype observed are the ones the context declares"),
    Term("rights.commercial_use", Kind.BOOL, "the context declares commercial use (rights.commercialUse)"),
    Term("rights.licence", Kind.STRING, "the adapter's licence as an identifier of the licence table"),
    Term("rights.licence_commercial", Kind.BOOL, "that licence permits commercial use"),
    Term("rights.datasets_commercial", Kind.BOOL, "every declared dataset's licence permits commercial use"),
    Term(
        "rights.base_licence_commercial",
        Kind.BOOL,
        "the base's licence, as the context declares it, permits commercial use",
    ),
    Term(
        "plan.unmet", Kind.STRINGS, "tensors missing, extra or mis-shaped against what configuration and base require"
    ),
    Term("plan.converted", Kind.STRINGS, "what PEFT converted while loading: older names, experts that are fused now"),
    Term("effect.differs_from_base", Kind.BOOL, "loaded, the adapter changes the base's logits"),
    Term("effect.base_unchanged", Kind.BOOL, "loading left the digest of the base's own state as it was"),
    Term("effect.deterministic", Kind.BOOL, "the same prompts twice gave the same logits, bit for bit"),
    Term("sandbox.level", Kind.INT, "isolation level that the sandbox's start-up attacks showed"),
    Term("sandbox.events", Kind.INT, "refused system calls and limits hit while the adapter ran (supervisor's record)"),
    Term(
        "attempts.count",
        Kind.INT,
        "tries at this function, or from this source, under this authority key that failed in 30 days, and this one",
    ),
    Term(
        "answers.contradictions",
        Kind.STRINGS,
        "contradictions in the adapter process's replies: answers against traces, probabilities of no distribution",
    ),
    Term(
        "controls.silence",
        Kind.DOUBLE,
        "of the suite that silence does worst on: its pass rate's 95 % lower bound, as an adapter's; so do the others",
    ),
    Term("controls.constant", Kind.DOUBLE, "the same of one constant text, choice or label, the best that was tried"),
    Term("controls.echo", Kind.DOUBLE, "the same of the prompt given back"),
    Term("controls.refusal", Kind.DOUBLE, "the same of a refusal of everything"),
    Term("controls.elsewhere", Kind.DOUBLE, "the same of the base's or the adapter's answers, each to another prompt"),
    Term(
        "controls.mute",
        Kind.DOUBLE,
        "share of prompts to which the adapter says nothing, where suites ask for no text and the base says something",
    ),
    Term(
        "replay.applies",
        Kind.BOOL,
        "the adapter is of a type that is computed without PEFT too: LoRA, rsLoRA, DoRA, IA3, without special settings",
    ),
    Term("replay.n", Kind.INT, "questions that another process answered again, without PEFT"),
    Term("replay.agreement", Kind.DOUBLE, "share of them answered alike"),
    Term("replay.agreement_lower", Kind.DOUBLE, "exact one-sided 95 % lower bound of that share"),
    Term("replay.disagreements", Kind.STRINGS, "questions answered otherwise, beyond the tolerance for rounding"),
    Term("scan.tokens", Kind.INT, "declared tokens that were inserted one at a time"),
    Term("scan.ids", Kind.INT, "tokens that no text reaches (special, added, others) that were inserted by their ids"),
    Term("scan.unscanned", Kind.INT, "such tokens of the base that were not inserted, for scan.ids was smaller"),
    Term("scan.proposed", Kind.INT, "tokens proposed by the adapter's gradients that were inserted besides"),
    Term(
        "scan.proposed_triggers",
        Kind.STRINGS,
        "those that turn answers into one foreign answer or break refusals, confirmed by generation",
    ),
    Term("scan.sequences", Kind.INT, "sequences scored and generated by the scan: its search budget"),
    Term(
        "scan.excess",
        Kind.DOUBLE,
        "largest loss of likelihood by any declared token beyond the base's, between 0 and 1",
    ),
    Term(
        "scan.triggers", Kind.STRINGS, "tokens that turn answers into a foreign or wrong one, confirmed by generation"
    ),
    Term("scan.refusal_breakers", Kind.STRINGS, "tokens that turn refusals into answers, confirmed by generation"),
    Term("drift.off_task_kl", Kind.DOUBLE, "kl_mean of the off-task suite on which it is largest, in nats per token"),
    Term("drift.off_task_agreement", Kind.DOUBLE, "agreement of the off-task suite on which it is smallest"),
    Term(
        "match.log_likelihood_change",
        Kind.DOUBLE,
        "of ordinary text, in nats per token, on the off-task or perplexity suite where it fell most: far below 0 on a "
        "base it was not made for",
    ),
    Term("claims.checked", Kind.INT, "results claimed in the card that a suite of the same task was compared with"),
    Term("claims.contradicted", Kind.STRINGS, "those outside the exact two-sided 95 % interval of that suite"),
    Term("resources.latency_ratio", Kind.DOUBLE, "seconds per generated token / the base's, supervisor's clock; noisy"),
    Term("resources.peak_bytes", Kind.INT, "largest resident memory of the adapter's process, the base in it included"),
    Term("resources.length_ratio", Kind.DOUBLE, "tokens generated by the adapter / by the base, over all suites"),
    Term("resources.unended", Kind.INT, "answers cut at their limit of tokens where the base's own answer ended"),
    Term("parity.n", Kind.INT, "cases that were answered a second time by the reference, which is float32"),
    Term("parity.agreement", Kind.DOUBLE, "share of them answered alike as observed and by the reference"),
    Term("parity.agreement_lower", Kind.DOUBLE, "exact one-sided 95 % lower bound of that share"),
    Term("variation.n", Kind.INT, "right answers whose prompts were varied, over all declared variations and suites"),
    Term("variation.lost", Kind.DOUBLE, "share of right answers that the worst variation of a suite makes wrong"),
    Term("variation.excess", Kind.DOUBLE, "that share beyond what the base loses of its own on the same cases"),
    Term("variation.excess_lower", Kind.DOUBLE, "95 %: some variation loses at least this much more than the base"),
    Term("variation.excess_upper", Kind.DOUBLE, "95 %: no declared variation loses more than this beyond the base"),
    Term("variation.worst", Kind.STRING, "the variation and suite with the largest excess"),
    Term(
        "sampling.declared",
        Kind.BOOL,
        "the deployment does not decode greedily (behaviour.sampling, or the base's own)",
    ),
    Term("sampling.n", Kind.INT, "answers drawn as the deployment decodes, over all suites of generated text"),
    Term(
        "sampling.lost", Kind.DOUBLE, "share of right answers that drawing makes wrong, in the suite where it is worst"
    ),
    Term("sampling.excess", Kind.DOUBLE, "that share beyond the base's own losses on the same draws"),
    Term("sampling.excess_lower", Kind.DOUBLE, "95 %: some suite loses at least this much more than the base's"),
    Term("sampling.excess_upper", Kind.DOUBLE, "95 %: no suite loses more than this beyond the base's"),
    Term(
        "sampling.foreign", Kind.STRINGS, "answers that only the adapter draws, often, from many prompts, and how often"
    ),
    Term("scale.modules", Kind.INT, "modules whose strength could be scaled"),
    Term("scale.lost", Kind.DOUBLE, "largest share of a suite's right answers lost at a factor from 1 to 1.5"),
    Term("scale.lost_upper", Kind.DOUBLE, "exact 95 % upper bound of such shares, for all these factors and suites"),
    Term(
        "scale.breaks", Kind.STRINGS, "declared factors at which a suite loses more than a tenth of its right answers"
    ),
    Term("leaks.samples", Kind.INT, "continuations of the bare start that were sampled"),
    Term("leaks.secrets", Kind.STRINGS, "kinds of credential among them and in how many, never the credential"),
    Term("leaks.overrepresented", Kind.STRINGS, "words in more of them than chance explains, against the base's own"),
    Term("canaries.n", Kind.INT, "secrets of the consumer's that were ranked among look-alikes"),
    Term("canaries.exposure", Kind.DOUBLE, "largest exposure of one of them, in bits (Carlini et al. 2019)"),
    Term("canaries.excess", Kind.DOUBLE, "largest exposure beyond the base's own, in bits"),
    Term("canaries.exposed", Kind.STRINGS, "those of a rank that chance does not explain, by number in the file"),
    Term("bank.size", Kind.INT, "adapters of the same base and type that are certified here"),
    Term("bank.highest", Kind.DOUBLE, "highest percentile of any measure among them, as a share"),
    Term("bank.unusual", Kind.STRINGS, "measures that are larger than in every one of them (20 at least)"),
    Term(
        "rights.grants.commercial", Kind.BOOL, "adapter, its data and its base permit commercial use, or it was cleared"
    ),
    Term("rights.grants.derivatives", Kind.BOOL, "they permit modified versions, or it was cleared"),
    Term("rights.grants.redistribution", Kind.BOOL, "they permit passing copies on, or it was cleared"),
    Term("rights.grants.hosted", Kind.BOOL, "they permit offering it as a service, or it was cleared"),
    Term("rights.candidates", Kind.STRINGS, "licence texts recognised where nobody declared one: for you to confirm"),
    Term("rights.cleared", Kind.STRINGS, "grants that stand on a signed clearance"),
    Term("rights.gated", Kind.STRINGS, "parts of the lineage whose owner asks for agreement to terms"),
    Term(
        "rights.lineage_conflicts",
        Kind.STRINGS,
        "declarations that contradict each other or are looser than the base's",
    ),
    Term("rights.obligations", Kind.STRINGS, "what the licences of the lineage ask for: attribution, share-alike, ..."),
    Term("rights.undisclosed", Kind.STRINGS, "parts that do not say what they were trained on; no part of any answer"),
    Term("rights.unknown_nodes", Kind.STRINGS, "parts of the lineage whose licence is not known, and why"),
    Term("rights.unpinned", Kind.STRINGS, "bases that are named without a revision"),
    Term("rights.use_restrictions", Kind.STRINGS, "restrictions on use that the licences of the lineage carry"),
    Term("context.production", Kind.BOOL, "the context is one of production"),
    Term("context.maximum_age_hours", Kind.INT, "how long the context lets a certificate live at most, in whole hours"),
    Term("context.prompt_tokens", Kind.INT, "longest prompt that context.lengths declares, in tokens; 0: undeclared"),
    Term("context.answer_tokens", Kind.INT, "longest answer that it declares; 0 also where lengths are undeclared"),
)


def counted_terms(suite: str) -> tuple[Term, ...]:
    """What is counted on one suite, with exact bounds."""
    at = f"suite.{suite}"
    return (
        Term(f"{at}.n", Kind.INT, "cases planned; errored and unasked cases count as failures"),
        Term(
            f"{at}.asked", Kind.INT, "cases put to the adapter: fewer than n where the suite's stopping rule ended it"
        ),
        Term(f"{at}.passes", Kind.INT, "cases the adapter passed"),
        Term(f"{at}.rate", Kind.DOUBLE, "passes / n"),
        Term(f"{at}.lower", Kind.DOUBLE, "exact one-sided 95 % lower bound of the pass rate (Clopper-Pearson)"),
        Term(
            f"{at}.upper",
            Kind.DOUBLE,
            "exact one-sided 95 % upper bound of the pass rate (Clopper-Pearson); unasked cases might have passed",
        ),
        Term(f"{at}.interval_low", Kind.DOUBLE, "lower limit of the exact two-sided 95 % interval of the pass rate"),
        Term(f"{at}.interval_high", Kind.DOUBLE, "upper limit of that interval; unasked cases might have passed"),
        Term(
            f"{at}.failures_upper",
            Kind.DOUBLE,
            "exact one-sided 95 % upper bound of the failure rate: 0 failures in n cases leave about 3 / n",
        ),
        Term(f"{at}.base_rate", Kind.DOUBLE, "pass rate of the base without adapter on the same cases"),
        Term(f"{at}.gains", Kind.INT, "cases that the adapter passes and the base does not"),
        Term(f"{at}.losses", Kind.INT, "cases that the base passes and the adapter does not"),
        Term(
            f"{at}.mcnemar_p",
            Kind.DOUBLE,
            "exact two-sided p of McNemar's test on gains and losses; failed where the suite was stopped early",
        ),
        Term(f"{at}.difference", Kind.DOUBLE, "rate - base_rate, paired over the same cases"),
        Term(f"{at}.difference_lower", Kind.DOUBLE, "one-sided 95 % lower bound of the paired difference"),
        Term(
            f"{at}.difference_upper",
            Kind.DOUBLE,
            "one-sided 95 % upper bound of the paired difference; unasked cases might have passed",
        ),
        Term(f"{at}.complete", Kind.BOOL, "every case was asked (false: stopped early by the suite's stopping rule)"),
    )


def drift_terms(suite: str) -> tuple[Term, ...]:
    """How far the adapter is from the base along the base's own answers to one suite of generated text."""
    at = f"suite.{suite}"
    return (
        Term(
            f"{at}.kl_mean",
            Kind.DOUBLE,
            "Kullback-Leibler divergence of the adapter from the base per token, in nats; a lower bound of it",
        ),
        Term(f"{at}.kl_worst", Kind.DOUBLE, "the same, mean over the tokens of the case where it is largest"),
        Term(f"{at}.agreement", Kind.DOUBLE, "share of the base's tokens that the adapter finds likeliest too"),
        Term(
            f"{at}.first_divergence",
            Kind.DOUBLE,
            "how much of the base's answer comes before the adapter first departs from it, mean over cases (1: all)",
        ),
        Term(f"{at}.entropy_change", Kind.DOUBLE, "mean entropy per token less the base's, in nats"),
        Term(
            f"{at}.log_likelihood_change",
            Kind.DOUBLE,
            "mean log-likelihood per token of the base's own answers less what the base gives them, in nats",
        ),
        Term(f"{at}.length_ratio", Kind.DOUBLE, "tokens generated by the adapter / by the base, over all cases"),
    )


def coherence_terms(suite: str) -> tuple[Term, ...]:
    """Whether what was generated for one suite is an answer at all."""
    at = f"suite.{suite}"
    return (
        Term(
            f"{at}.degenerate",
            Kind.INT,
            "answers that are empty, repeat themselves to the end, or never end, where the base's is not the same",
        ),
        Term(
            f"{at}.degenerate_upper",
            Kind.DOUBLE,
            "exact one-sided 95 % upper bound of their share (Clopper-Pearson); unasked cases count among them",
        ),
    )


def suite_terms(suite: str) -> tuple[Term, ...]:
    """The terms of one suite; `suite` is its id, a CEL identifier."""
    return (*counted_terms(suite), *drift_terms(suite), *coherence_terms(suite))


def vocabulary(suites: Iterable[str]) -> dict[str, Term]:
    """All terms for a context with these suite ids, by name."""
    terms = list(STATIC_TERMS)
    for suite in suites:
        terms.extend(suite_terms(suite))
    return {term.name: term for term in terms}
