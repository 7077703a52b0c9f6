"""What is said about policies, on a screen and as documents: findings, tests, explanations, differences, chances."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from peft_assay.core.commands import NONE, Options, with_options
from peft_assay.core.observation import ObservedBy
from peft_assay.report import sink

Document = dict[str, Any]
Finding = tuple[str, str, str | None, str, str]
"""Weight, code, rule (None for the whole policy), message, next step."""


def lint_document(policy: str, found: Sequence[Finding]) -> Document:
    """What lint says."""
    names = ("weight", "code", "rule", "message", "nextStep")
    return {"policy": policy, "findings": [dict(zip(names, item, strict=True)) for item in found]}


def lint_text(policy: str, found: Sequence[Finding]) -> sink.Rendered:
    """One finding after the other, then how many."""
    lines = []
    for weight, code, rule, message, next_step in found:
        lines.append(sink.phrase("{} {} {}\n  {}", f"{weight:<8}", code, rule or "(the whole policy)", message))
        lines.append(sink.phrase("  next: {}", next_step))
    errors = sum(item[0] == "error" for item in found)
    told = sink.counted(errors, "error"), sink.counted(len(found) - errors, "warning")
    lines.append(sink.phrase("{}: {}, {}", policy, *told))
    return _joined(lines)


def written_text(path: str, policy: str) -> sink.Rendered:
    """Fixtures that were just written."""
    command = f"peft-assay policy test {policy}".rstrip()
    return sink.phrase("wrote {}\nnext: read it, make the values those you mean, then: {}\n", path, command)


def trials_document(policy: str, fixtures: str, trials: Sequence[Document], generated: Document) -> Document:
    """What became of fixtures and of the tests generated from them."""
    return {"policy": policy, "fixtures": fixtures, "tests": list(trials), "generated": generated}


def trials_text(document: Document) -> sink.Rendered:
    """Tests that do not hold, what the generated ones found, then the count."""
    lines = []
    tests, generated = document["tests"], document["generated"]
    for test in tests:
        if not test["holds"]:
            lines.append(sink.phrase("not so  {}", test["name"]))
            for label in ("expected", "found"):
                rules = ", ".join(test[label]["by"]) or "no rule"
                lines.append(sink.phrase("  {} {} by {}", f"{label}:".ljust(9), test[label]["outcome"], rules))
    lines += [
        sink.phrase("open    {}: passes although this was not observed", where) for where in generated["openWithout"]
    ]
    lines += [
        sink.phrase("base    denied by {}: nothing follows from what is dropped", r) for r in generated["baseDenied"]
    ]
    lines += [sink.phrase("untried {}: no test shows it denying", rule) for rule in generated["neverDenying"]]
    held = sum(test["holds"] for test in tests)
    lines.append(
        sink.phrase(
            "{}: {} of {} tests hold; {} observations dropped one at a time, {} rules stayed open",
            document["policy"],
            held,
            len(tests),
            generated["dropped"],
            len(generated["openWithout"]),
        )
    )
    return _joined(lines)


def explanation_document(name: str, source: str, found: Any, options: Options = NONE) -> Document:
    """One adapter's rules; `found` has `rules`, `evidence`, `parameters` and the judgement."""
    artifact = found.judged.artifact.digest

    def led_on(step: str) -> str:
        return with_options(step, options).replace("{source}", shlex.quote(source)).replace("{artifact}", artifact)

    return {
        "adapter": name,
        "source": source,
        "artifact": artifact,
        "outcome": found.judged.outcome.value,
        "parameters": {name: _plain(value) for name, value in found.parameters.items()},
        "rules": [_rule_document(rule, found.evidence, led_on) for rule in found.rules],
    }


def _rule_document(
    rule: Any, evidence: Mapping[str, tuple[str, str | None, str | None]], led_on: Callable[[str], str]
) -> Document:
    result = rule.result
    saw = []
    for name, value in result.saw.items():
        by, digest, reason = evidence.get(name, (None, None, None))
        saw.append(
            {
                "name": name,
                "value": _plain(value),
                "observedBy": by,
                "evidence": digest,
                "reason": reason,
                "missing": rule.missing.get(name),
            }
        )
    return {
        "rule": result.rule,
        "outcome": result.outcome.value,
        "assertion": result.assertion,
        "saw": saw,
        "changes": [{"name": c.term, "saw": _plain(c.saw), "needs": _plain(c.needs)} for c in rule.changes],
        "together": rule.together,
        "explanation": result.explanation,
        "nextStep": led_on(result.next_step) if result.outcome.value not in {"PASS", "WAIVED"} else "",
        "waivable": rule.waivable,
        "waive": led_on(f"peft-assay waive {{source}} --rule {result.rule} --reason '...' --by '...'")
        if rule.waivable
        else "",
        "waiver": result.waiver,
    }


def explanations_text(documents: Sequence[Document], *, every: bool) -> sink.Rendered:
    """Each adapter with the rules that do not pass, or with all."""
    lines: list[sink.Rendered] = []
    for document in documents:
        lines.append(sink.phrase("{} {}", f"{document['outcome']:<13}", document["adapter"]))
        shown = [rule for rule in document["rules"] if every or rule["outcome"] != "PASS"]
        alike = {} if every else _alike(shown)
        for rule in shown:
            if rule["rule"] not in alike:
                lines.extend(_rule_lines(rule, whole=every))
        lines.extend(_alike_lines(alike))
        if not shown:
            lines.append(sink.phrase("  every one of {} rules passes", len(document["rules"])))
    return _joined(lines)


def _alike(rules: Sequence[Document]) -> dict[str, str]:
    """Undecided rules to the one reason that several of them share: an adapter that was never run leaves many open."""
    why = {}
    for rule in rules:
        reasons = {item["missing"] for item in rule["saw"] if item["missing"] is not None}
        if rule["outcome"] == "INDETERMINATE" and len(reasons) == 1:
            why[rule["rule"]] = reasons.pop()
    often = Counter(why.values())
    return {rule: reason for rule, reason in why.items() if often[reason] > 1}


def _alike_lines(alike: Mapping[str, str]) -> Iterator[sink.Rendered]:
    for reason in dict.fromkeys(alike.values()):
        rules = ", ".join(rule for rule, why in alike.items() if why == reason)
        yield sink.phrase("  {} {}", f"{'INDETERMINATE':<13}", rules)
        yield sink.phrase("    missing for all of them: {}", reason)


def _rule_lines(rule: Document, *, whole: bool) -> Iterator[sink.Rendered]:
    yield sink.phrase("  {} {}: {}", f"{rule['outcome']:<13}", rule["rule"], rule["assertion"])
    missing: dict[str, list[str]] = {}
    for item in rule["saw"]:
        if item["missing"] is not None:
            missing.setdefault(item["missing"], []).append(item["name"])
            continue
        kept = "" if item["evidence"] is None else f", evidence {item['evidence']}"
        seen = "policy" if item["observedBy"] is None else ObservedBy(item["observedBy"]).called
        by = f" (by the {seen}{kept})" if whole else ""
        because = f": {item['reason']}" if item["value"] is False and item["reason"] else ""
        yield sink.phrase("    saw {} = {}{}{}", item["name"], _shown(item["value"]), because, by)
    for reason, names in missing.items():
        yield sink.phrase("    missing {}: {}", ", ".join(names), reason)
    joint = " together with the others" if rule["together"] else ""
    for change in rule["changes"]:
        yield sink.phrase("    would pass with {} = {}{}", change["name"], _shown(change["needs"]), joint)
    if rule["waiver"] is not None:
        yield sink.phrase("    accepted by waiver {}", rule["waiver"])
    if rule["nextStep"]:
        yield sink.phrase("    next: {}", rule["nextStep"])
    if rule["waive"]:
        yield sink.phrase("    or have it accepted: {}", rule["waive"])


def difference_document(
    old: str,
    new: str,
    counts: Mapping[tuple[str, str], int],
    adapters: Mapping[tuple[str, str], int],
    moved: Sequence[tuple[str, str, str, str, str | None, str]],
    unread: Mapping[str, int],
) -> Document:
    """What another policy would change."""
    names = ("adapter", "artifact", "before", "after", "rule", "explanation")
    return {
        "old": old,
        "new": new,
        "sets": sum(counts.values()),
        "counts": [{"before": b, "after": a, "sets": n} for (b, a), n in sorted(counts.items())],
        "adapters": [{"before": b, "after": a, "adapters": n} for (b, a), n in sorted(adapters.items())],
        "moved": [dict(zip(names, item, strict=True)) for item in moved],
        "unread": dict(unread),
    }


_BECOMES = {"PASS": "admitted", "FAIL": "denied", "INDETERMINATE": "undecided"}


def difference_text(document: Document) -> sink.Rendered:
    """Who would be admitted, denied, undecided; then the counts."""
    lines = []
    for outcome, word in _BECOMES.items():
        for item in (item for item in document["moved"] if item["after"] == outcome):
            lines.append(
                sink.phrase("{} {} {} was {}", f"{word:<10}", item["adapter"], item["artifact"][:19], item["before"])
            )
            if item["rule"] is not None:
                lines.append(
                    sink.phrase(
                        "  {} {}: {}", "by" if outcome != "PASS" else "before, by", item["rule"], item["explanation"]
                    )
                )
    lines += [sink.phrase("not judged {} sets: {}", n, why) for why, n in document["unread"].items()]
    rows = document["adapters"]
    total = sum(row["adapters"] for row in rows)
    same = sum(row["adapters"] for row in rows if row["before"] == row["after"])
    after = {
        word: sum(row["adapters"] for row in rows if row["before"] != row["after"] == outcome)
        for outcome, word in _BECOMES.items()
    }
    told = ", ".join(f"{n} would be {word}" for word, n in after.items())
    of = sink.counted(document["sets"], "observation set")
    lines.append(sink.phrase("{} ({}): {} stay as they are; {}", sink.counted(total, "adapter"), of, same, told))
    return _joined(lines)


def simulation_document(policy: str, drawn: Any) -> Document:
    """Chances, each with its interval."""
    return {
        "policy": policy,
        "rate": drawn.rate,
        "baseRate": drawn.base_rate,
        "draws": drawn.draws,
        "suites": [
            {
                "suite": s.suite,
                "n": s.n,
                "refused": _chance(s.refused),
                "rules": {r: _chance(c) for r, c in s.rules.items()},
            }
            for s in drawn.suites
        ],
        "adapter": _chance(drawn.adapter),
        "fleet": {"adapters": drawn.adapters, "expectedRefused": drawn.expected, "anyRefused": drawn.any_of_fleet},
        "takenToPass": list(drawn.taken_to_pass),
    }


def _chance(chance: Any) -> Document:
    return {"value": chance.value, "low": chance.low, "high": chance.high}


def simulation_text(document: Document) -> sink.Rendered:
    """The chance of a refusal by suite and in all."""
    lines = [
        sink.phrase(
            "a good adapter passes each case with probability {}, the base with {}; {} draws",
            document["rate"],
            document["baseRate"],
            document["draws"],
        )
    ]
    lines += [
        sink.phrase("{} n = {}: refused {}", f"{s['suite']:<24}", s["n"], _percent(s["refused"]))
        for s in document["suites"]
    ]
    lines.append(sink.phrase("one good adapter is refused {}", _percent(document["adapter"])))
    fleet = document["fleet"]
    if fleet["adapters"] > 1:
        expected, chance = f"{fleet['expectedRefused']:.2f}", f"{fleet['anyRefused']:.1%}"
        lines.append(
            sink.phrase(
                "of {} good adapters {} are refused on average; at least one with {}",
                fleet["adapters"],
                expected,
                chance,
            )
        )
    lines.append(sink.phrase("taken to pass: {}", ", ".join(document["takenToPass"]) or "nothing"))
    return _joined(lines)


def _percent(chance: Document) -> str:
    return f"{chance['value']:.1%} (95 % interval {chance['low']:.1%} to {chance['high']:.1%})"


def written_policy(content: bytes) -> sink.Rendered:
    """A policy as its file has it, line by line."""
    return _joined([sink.phrase("{}", line) for line in content.decode("utf-8", "backslashreplace").splitlines()])


def policy_document(
    name: str,
    digest: str,
    parameters: Mapping[str, Any],
    rules: Sequence[tuple[str, str, str, str, Sequence[tuple[str, str]]]],
) -> Document:
    """A policy as prose."""
    return {
        "policy": name,
        "digest": digest,
        "parameters": {key: _plain(value) for key, value in parameters.items()},
        "rules": [
            {
                "rule": r,
                "why": why,
                "assertion": text,
                "nextStep": step,
                "reads": [{"name": n, "meaning": m} for n, m in terms],
            }
            for r, why, text, step, terms in rules
        ],
    }


def policy_text(document: Document) -> sink.Rendered:
    """Markdown."""
    lines = [sink.phrase("# Policy {}\n\n{}\n", document["policy"], document["digest"])]
    if document["parameters"]:
        lines.append(sink.phrase("Parameters:\n"))
        lines += [sink.phrase("- `{}` = {}", name, _shown(value)) for name, value in document["parameters"].items()]
        lines.append(sink.phrase(""))
    for number, rule in enumerate(document["rules"], start=1):
        lines.append(sink.phrase("## {}. {}\n\n{}\n", number, rule["rule"], rule["why"]))
        lines.append(sink.phrase("It admits only when: `{}`\n", " ".join(rule["assertion"].split())))
        lines += [sink.phrase("- `{}`: {}", term["name"], term["meaning"]) for term in rule["reads"]]
        lines.append(sink.phrase("\nWhen it denies: {}\n", rule["nextStep"]))
    return _joined(lines)


def replay_document(reproduced: int, unlike: Sequence[tuple[int, str, str, str]], without: int) -> Document:
    """Decisions replayed."""
    names = ("entry", "artifact", "recorded", "replayed")
    return {
        "reproduced": reproduced,
        "unlike": [dict(zip(names, item, strict=True)) for item in unlike],
        "withoutGrounds": without,
    }


def replay_text(reproduced: int, unlike: Sequence[tuple[int, str, str, str]], without: int) -> sink.Rendered:
    """Decisions that came out otherwise, then the count."""
    lines = [sink.phrase("UNLIKE ledger entry {}: {} was {}, is now {}", *item) for item in unlike]
    lines.append(sink.phrase("{} decisions reproduced, {} came out otherwise", reproduced, len(unlike)))
    if without:
        lines.append(sink.phrase("{} decisions of an earlier version did not record what they were made from", without))
    return _joined(lines)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> object:
    return tuple(value) if isinstance(value, list) else value


def _joined(lines: Sequence[sink.Rendered]) -> sink.Rendered:
    return sink.Rendered("".join(f"{line}\n" for line in lines))
