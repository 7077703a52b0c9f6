"""Honest answers to every operation, by a model that is one rule: the answer to "question 3 ?" is "answer 3"."""

STATE = "sha256:" + "0" * 64
VOCABULARY, PLACES = 286, 40
LIKELY, UNLIKELY = -0.05, -9.0
END = 9
MODULES = 16
"""Of the zoo's LoRA."""


def text(prompt):
    words = prompt.split() if isinstance(prompt, str) else prompt[-1]["content"].split()
    return f"answer {words[1]}" if len(words) > 1 else "answer"


def tokens(words):
    """One for each character, and the end."""
    return [10 + ord(character) for character in words] + [END]


def spelt(row):
    return "".join(chr(token - 10) for token in row if token != END)


def seen(prompt, given, watch):
    """The trace of given tokens: the likeliest is the model's own, for as long as what is given is its answer."""
    own = tokens(text(prompt))
    best = [own[at] if at < len(own) and given[:at] == own[:at] else token for at, token in enumerate(given)]
    ids = watch if watch is not None else [[1, 2]] * len(given)
    chosen = [LIKELY if token == likeliest else UNLIKELY for token, likeliest in zip(given, best, strict=True)]
    rows = [[LIKELY if i == likeliest else UNLIKELY for i in row] for row, likeliest in zip(ids, best, strict=True)]
    return {"chosen": chosen, "best": best, "entropy": [0.3] * len(given), "ids": ids, "logProbabilities": rows}


def generated(request):
    limit = request["maxNewTokens"]
    rows = [tokens(text(prompt))[:limit] for prompt in request["prompts"]]
    texts = [spelt(row) for row in rows]
    reply = {"op": "generate", "texts": texts, "tokens": rows}
    if request.get("margins"):
        reply["margins"] = [1.0] * len(texts)
    if request.get("certainBy"):
        reply["certain"] = texts
    drafts, top = request.get("drafts"), request.get("top", 0)
    if drafts is not None:
        reply["traces"] = [
            None if draft is None else seen(prompt, draft["tokens"], draft["watch"])
            for prompt, draft in zip(request["prompts"], drafts, strict=True)
        ]
    elif top:
        reply["traces"] = [
            seen(prompt, row, [list(range(1, top + 1))] * len(row))
            for prompt, row in zip(request["prompts"], rows, strict=True)
        ]
    return reply


def scored(request):
    counts = [
        len(item["continuation"]) if isinstance(item["continuation"], list) else len(item["continuation"].split())
        for item in request["items"]
    ]
    return {"op": "score", "logLikelihoods": [LIKELY * count for count in counts], "counts": counts}


def answer(request):
    op = request["op"]
    match op:
        case "load":
            plan = {"missing": [], "extra": [], "mismatched": []}
            return {"op": op, "loaded": True, "plan": plan, "problem": None}
        case "measure":
            return {"op": op, "lengths": [3] * len(request["prompts"]), "longest": None}
        case "effect":
            return {"op": op, "differs": True, "deterministic": True, "baseState": STATE, "finite": True}
        case "scale":
            return {"op": op, "modules": MODULES}
        case "choices":
            rows = [[UNLIKELY * at - 1.0 for at, _ in enumerate(item["choices"])] for item in request["items"]]
            return {"op": op, "logLikelihoods": rows}
        case "score":
            return scored(request)
        case "generate":
            return generated(request)
        case "apply":
            return {"op": op, "applied": 0, "problem": "the model of the tests is one rule"}
        case "propose":
            return {"op": op, "tokens": ["zorn", "mauve"][: request["top"]]}
    raise ValueError(op)
