"""A model of lm-evaluation-harness whose answers come from inside the sandbox.

No torch here: texts are split into tokens as the harness inside does it, from the base's own tokenizer.json; everything
else is asked through the sandbox, in jobs of a bounded number of requests, each a fresh child that loads the adapter.
What a child said is hostile text here too; lm-evaluation-harness scores it.
"""

import json
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM
from tokenizers import Tokenizer

from peft_assay.core.errors import DocumentError, ObservationError, UsageError
from peft_assay.core.sandbox import Ask, Job, Limits, Outcome
from peft_assay.core.wire import GenerateReply, LoadReply, ScoreReply, TraceReply
from peft_assay.intake.admit import admit
from peft_assay.intake.interface import WHOLE
from peft_assay.sandbox.choose import open_sandbox
from peft_assay.sandbox.interface import SandboxConfiguration

REQUESTS_PER_JOB = 64
LIMITS = Limits(wall_seconds=3600.0, cpu_seconds=3600, output_bytes=256 << 20)
"""Of one job: tasks are the user's own, and may ask for long texts."""
MAX_NEW_TOKENS = 256
"""Where a task does not say: lm-evaluation-harness's own default."""
Question = dict[str, Any]


class AssayLM(LM):  # type: ignore[misc]
    """A base, bare or with one adapter, as ``--model_args pretrained=FOLDER,peft=SOURCE`` names them.

    Differs from lm-evaluation-harness's ``hf`` in that nothing is ever cut to fit: a text longer than the base takes is
    an error that names it. A rolling log-likelihood of such a text is taken window by window, each after the start
    token.
    """

    def __init__(
        self,
        pretrained: str,
        peft: str | None = None,
        dtype: str = "float32",
        isolation: str | None = None,
        max_gen_toks: int = MAX_NEW_TOKENS,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        """Starts the sandbox. `isolation` names a backend; batches are the engine's own affair, of any size asked.

        Raises UsageError for another device than the CPU, IntakeError for a source that cannot be an adapter,
        ObservationError when the sandbox does not start.
        """
        super().__init__()
        del batch_size, max_batch_size  # lm-evaluation-harness passes them to every model
        if device not in (None, "cpu"):
            raise UsageError(f"the sandbox has no device {device!r}", next_step="leave --device out")
        self._folder = Path(pretrained)
        self._tokenizer = _tokenizer(self._folder)
        self._longest = _longest(self._folder)
        self._max_new_tokens = int(max_gen_toks)
        self._dtype = dtype
        admitted = None if peft is None else admit(Path(peft), hold=WHOLE)
        self._artifact = None if admitted is None else admitted.artifact.digest
        self._files = None if admitted is None else dict(admitted.files)
        configuration = SandboxConfiguration(base=self._folder, dtype=dtype, limits=LIMITS)
        self._sandbox = open_sandbox(configuration, force=isolation)
        weakref.finalize(self, self._sandbox.close)

    @property
    def tokenizer_name(self) -> str:
        """The base's folder: by what lm-evaluation-harness tells its request caches apart."""
        return str(self._folder)

    def get_model_info(self) -> dict[str, Any]:
        """What lm-evaluation-harness writes into its results: by digest, what was really evaluated."""
        facts = self._sandbox.base()
        return {
            "model_num_parameters": facts.parameters,
            "model_dtype": self._dtype,
            "model_sha": facts.state,
            "peft_sha": self._artifact,
            "isolation": self._sandbox.probe().level.name.lower(),
        }

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:  # noqa: ARG002
        """For each (context, continuation): its log-probability, and whether it is what greedy decoding gives."""
        items = [self._pair(*request.args) for request in requests]
        found: list[tuple[float, bool]] = []
        for reply in self._ask([{"op": "trace", "items": part, "top": 0} for part in _parts(items)]):
            for trace, item in zip(TraceReply.model_validate(reply).traces, items[len(found) :], strict=False):
                found.append((sum(trace.chosen), trace.best == item["continuation"]))
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:  # noqa: ARG002
        """For each text: its log-probability after the start token."""
        windows = [list(self._windows(request.args[0])) for request in requests]
        items = [item for text in windows for item in text]
        values: list[float] = []
        for reply in self._ask([{"op": "score", "items": part} for part in _parts(items)]):
            values.extend(ScoreReply.model_validate(reply).logLikelihoods)
        each = iter(values)
        return [sum(next(each) for _ in text) for text in windows]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """For each (context, settings): the text up to the first of its stop sequences."""
        asked = [(request.args[0], self._settings(request.args[1])) for request in requests]
        answers = [""] * len(asked)
        groups: dict[str, list[int]] = {}
        for at, (_, settings) in enumerate(asked):
            groups.setdefault(json.dumps(settings, sort_keys=True), []).append(at)
        for group in groups.values():
            settings = asked[group[0]][1]
            until = settings["until"]
            questions = [
                {"op": "generate", "prompts": [asked[at][0] for at in part], **settings["question"]}
                for part in _parts(group)
            ]
            texts = [t for reply in self._ask(questions) for t in GenerateReply.model_validate(reply).texts]
            for at, text in zip(group, texts, strict=True):
                answers[at] = _before(text, until)
        return answers

    def _ask(self, questions: Sequence[Question]) -> Iterator[Mapping[str, Any]]:
        """One job for each question; raises ObservationError for whatever did not go as it should."""
        for question in questions:
            replies: list[Mapping[str, Any]] = []

            def converse(ask: Ask, question: Question = question, replies: list[Mapping[str, Any]] = replies) -> None:
                if self._files is not None:
                    loaded = LoadReply.model_validate(ask({"op": "load"}))
                    if not loaded.loaded:
                        raise ObservationError(f"the adapter does not load: {loaded.problem}")
                replies.append(ask(question))

            result = self._sandbox.run(Job(self._files, LIMITS), converse)
            if result.outcome is not Outcome.OK or result.events or not replies:
                seen = ", ".join(f"{event.kind} {event.detail}".strip() for event in result.events)
                why = f"{result.outcome.value}: {result.detail or seen or 'no answer'}"
                raise ObservationError(f"the sandbox could not answer a {question['op']} request: {why}")
            yield replies[0]

    def _pair(self, context: str, continuation: str) -> Question:
        """As lm-evaluation-harness splits them: blanks at the end of the context belong to the continuation."""
        kept = context.rstrip()
        whole = self._ids(context + continuation, special=bool(context))
        tokens = whole[len(self._ids(kept)) :] if kept else whole
        if not kept and context:
            tokens = self._ids(context + continuation, special=False)
        if not tokens:
            raise UsageError(f"a continuation adds no tokens: {continuation!r}")
        self._check_length(len(whole), context + continuation)
        return {"prompt": kept, "continuation": tokens}

    def _windows(self, text: str) -> Iterator[Question]:
        tokens = self._ids(text, special=False)
        longest = len(tokens) if self._longest is None else self._longest - 1
        for start in range(0, len(tokens), max(1, longest)):
            yield {"prompt": "", "continuation": tokens[start : start + longest]}

    def _settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A task's generation settings as the sandbox takes them; raises UsageError for one that would be ignored."""
        rest = dict(given)
        until = rest.pop("until", None) or []
        limits = [rest.pop(name, None) for name in ("max_gen_toks", "max_new_tokens", "max_tokens")]
        limit = next((int(value) for value in limits if value is not None), self._max_new_tokens)
        temperature = float(rest.pop("temperature", 0.0) or 0.0)
        sampled = bool(rest.pop("do_sample", temperature > 0))
        top_p, seed = float(rest.pop("top_p", 1.0)), int(rest.pop("seed", 0))
        if rest:
            raise UsageError(f"generation settings that the engine does not have: {', '.join(sorted(rest))}")
        question: Question = {"maxNewTokens": limit}
        if sampled:
            question["sampling"] = {"temperature": temperature or 1.0, "topP": top_p, "seed": seed}
        return {"until": [until] if isinstance(until, str) else list(until), "question": question}

    def _ids(self, text: str, *, special: bool = True) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=special).ids
        return ids

    def _check_length(self, length: int, text: str) -> None:
        if self._longest is not None and length > self._longest:
            raise UsageError(f"{length} tokens are more than the {self._longest} that the base takes: {text[:60]!r}...")


def _parts(items: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), REQUESTS_PER_JOB):
        yield list(items[start : start + REQUESTS_PER_JOB])


def _before(text: str, until: Sequence[str]) -> str:
    for stop in until:
        if stop:
            text = text.partition(stop)[0]
    return text


def _tokenizer(folder: Path) -> Any:
    path = folder / "tokenizer.json"
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises Exception itself
        raise DocumentError(f"not a tokenizer: {error}", where=str(path)) from None


def _longest(folder: Path) -> int | None:
    try:
        found = json.loads((folder / "config.json").read_text("utf-8")).get("max_position_embeddings")
    except (OSError, ValueError, AttributeError) as error:
        raise DocumentError(f"not a configuration: {error}", where=str(folder / "config.json")) from None
    return found if isinstance(found, int) else None
