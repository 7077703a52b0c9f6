"""Loads the base once and warms everything that a child would otherwise import, so that forks are cheap and alike."""

import argparse
import contextlib
import gc
import importlib
import json
import os
import platform
import signal
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from peft_assay_harness.identity import Refused
from peft_assay_harness.tasks import CLASSIFIER, TASKS, Task
from peft_assay_harness.zygote import Files, Job, Prepared
from peft_assay_loading.fitting import Fit

DISTRIBUTIONS = ("torch", "transformers", "peft", "safetensors", "tokenizers", "numpy")
IMPORTED = ("transformers", "peft", "safetensors.torch", "peft_assay_harness.engines", "peft_assay_harness.ops")
CANARY_SECONDS = 20.0
LINEAR = ("Linear", "Conv1D")
ADAPTED = 16
"""About how many layers the reference adapter is on."""
Made = tuple[Files, Fit]
"""An adapter of the worker's own: its files, and that they fit the base."""
FAILURES = (RuntimeError, ValueError, TypeError, AttributeError, LookupError)
"""What libraries raise where base and question do not fit."""


def prepare(options: argparse.Namespace) -> Prepared:
    """Base and tokenizer from `options.base`; raises Refused when they cannot be loaded."""
    with _uncollected():
        _one_thread()
        for name in IMPORTED:
            importlib.import_module(name)
    engine = _engine(options)
    state, reference = _warm(engine)
    greeting = {
        "state": state,
        "parameters": sum(parameter.numel() for parameter in engine.model.parameters()),
        **_sizes(engine),
        "stack": _stack(options.device),
        "sentinel": True,
    }
    if not options.fresh and not canary_survives():
        greeting["forks"] = False
    blank = _blank(engine.model)
    return Prepared(greeting, lambda job: _serve(engine, blank, job, reference), reference and reference[0])


def _sizes(engine: Any) -> dict[str, int]:
    """Return the sizes that bound replies: tokens or labels of the base, and modules that an adapter can change."""
    base = engine.model
    classifies = engine.task == CLASSIFIER
    return {
        "vocabulary": 0 if classifies else int(engine.vocabulary),
        "labels": int(base.config.num_labels) if classifies else 0,
        "places": sum(1 for _ in base.modules()) + sum(1 for _ in base.parameters()),
    }


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """For imports, which stay: the collector would go through them again and again, and once more before the fork."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _one_thread() -> None:
    """A child of a process with a thread pool waits for threads that fork did not copy: one thread, before any work."""
    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)


def _engine(options: argparse.Namespace) -> Any:
    import torch
    import transformers

    from peft_assay_harness.engines import engine_for
    from peft_assay_harness.engines.blocked import pack
    from peft_assay_harness.engines.copies import keep_precise

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder, task = Path(options.base), TASKS[options.task]
    try:
        (folder / "config.json").open("rb").close()  # access(2) would not count what the worker may read as root did
    except OSError:
        unreadable = f"the base at {folder} cannot be read by the sandbox's user: make its files readable to others"
        raise Refused(unreadable) from None
    try:
        model, loading = getattr(transformers, task.loader).from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=getattr(torch, options.dtype),
            output_loading_info=True,
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError) as error:
        raise Refused(f"the base at {folder} cannot be loaded: {' '.join(str(error).split())[:500]}") from error
    _refuse_made_up(folder, task, loading)
    model.eval().requires_grad_(requires_grad=False)
    if options.device != "cpu":
        options.before_device()
        torch.set_default_device(options.device)
        model.to(options.device)
    pack(model)
    keep_precise(model)
    return engine_for(options.task, model, tokenizer)


def _refuse_made_up(folder: Path, task: Task, loading: Mapping[str, Any]) -> None:
    """Raises Refused where transformers gave the base weights that its folder does not hold: they would be random."""
    absent = sorted({str(name) for kind in ("missing_keys", "mismatched_keys") for name in loading.get(kind) or ()})
    if absent:
        named = ", ".join(absent[:3]) + (" and others" if len(absent) > 3 else "")
        raise Refused(
            f"the base at {folder} cannot be loaded as a {task.called}: its files lack {named}, which would be random"
        )


def _warm(engine: Any) -> tuple[str, Made | None]:
    """Exercises every operation on the first self-made adapter that works: the reference.

    What an adapter answers goes through the base, so the base is asked one question, and all of them only where no
    adapter works on it. The other kinds of adapters are put on and asked one question, too: what their loading and
    their forward pass import is theirs alone, and the operations are the same. All are taken off again. Gives the
    unchanged base state, and the reference.
    """
    from peft_assay_harness.session import Session
    from peft_assay_loading.errors import LoadingError
    from peft_assay_loading.load import detach
    from peft_assay_loading.state import base_state

    base = engine.model
    state = base_state(base)
    _exercise_base(engine, glance=True)
    reference = None
    for fields in _warming(base):
        made = _self_made(base, {"task_type": TASKS[engine.task].task_type, **fields})
        if made is None:
            continue
        files, known = made
        with contextlib.suppress(*FAILURES):
            # A type that does not work here is found out by the job that asks.
            session = Session(engine, base, files, fit=known)
            if _exercise(session, glance=reference is not None) and reference is None:
                reference = made
        if engine.model is not base:
            # PEFT wraps fused experts in a way that counts as writing to them; whether it was is seen below.
            with contextlib.suppress(LoadingError):
                detach(engine.model)
            engine.use(base)
    if reference is None:
        _exercise_base(engine)
    if base_state(base) != state:
        raise Refused("loading and unloading a harmless adapter changed the base: this base cannot be shared by jobs")
    return state, reference


def _exercise_base(engine: Any, *, glance: bool = False) -> None:
    """Everything, or one question; raises Refused where the base does not answer."""
    from peft_assay_harness.session import Session

    try:
        _exercise(Session(engine, engine.model, None), glance=glance)
    except FAILURES as error:
        called = TASKS[engine.task].called
        raise Refused(f"the base cannot answer as a {called} does: {' '.join(str(error).split())[:500]}") from error


def _warming(base: Any) -> tuple[dict[str, Any], ...]:
    """Configurations that between them import what an adapter's loading and answering import.

    LoRA, which comes to be the reference, is put on a few layers all over the base, and not on its head: whatever the
    base computes is in its answers, and it is loaded often. DoRA is put on one layer only: the norms it computes for
    each layer cost several times the base's own products.
    """
    lora = {"peft_type": "LORA", "r": 2, "lora_alpha": 2}
    layers = [name for name, module in base.named_modules() if type(module).__name__ in LINEAR]
    return (
        {**lora, "target_modules": layers[: -1 : max(1, len(layers) // ADAPTED)] or layers},
        {**lora, "target_modules": layers[:1], "use_dora": True},
        {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2},
        {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 2},
    )


def _self_made(base: Any, fields: dict[str, Any]) -> Made | None:
    """A constant adapter; None when this base takes no such adapter."""
    import safetensors.torch
    import torch

    from peft_assay_harness.ops.load import CONFIG, WEIGHTS
    from peft_assay_loading.config import parse_config
    from peft_assay_loading.errors import LoadingError
    from peft_assay_loading.fitting import required_shapes

    config = json.dumps(fields).encode()
    try:
        shapes = required_shapes(base, parse_config(config))
    except LoadingError:
        return None
    weights = safetensors.torch.save({name: torch.full(shape, 0.01) for name, shape in shapes.items()})
    return {CONFIG: config, WEIGHTS: weights}, Fit(config, weights, ())


def _exercise(session: Any, *, glance: bool = False) -> bool:
    """Whether the adapter was loaded and answered: everything, or one question."""
    from peft_assay_harness.ops import answer

    if session.files is not None and not answer(session, {"op": "load"})["loaded"]:
        return False
    for request in (_glance if glance else _questions)(session.engine):
        # A base without gradients can still be certified; it is found out by the job that asks for them.
        with contextlib.suppress(*(FAILURES if request["op"] == "propose" else ())):
            json.dumps(answer(session, request))
    return True


def _glance(engine: Any) -> Iterator[Mapping[str, Any]]:
    """One forward pass."""
    if engine.task == CLASSIFIER:
        yield {"op": "classify", "prompts": ["a b c"]}
    else:
        yield {"op": "score", "items": [{"prompt": "a b c", "continuation": [1, 2]}]}


def _questions(engine: Any) -> Iterator[Mapping[str, Any]]:
    """Every operation, in each of its ways: what is imported when first used must be there before the first fork.

    What an answer costs is its passes, however short the prompt: two tokens are one pass that reads and one that goes
    on, and where only the first is another than elsewhere, one token is enough.
    """
    prompt = "a b c"
    prompts: list[Any] = [prompt, f"{prompt} {prompt}"]
    if getattr(engine.tokenizer, "chat_template", None):
        prompts.append([{"role": "user", "content": prompt}])
    yield {"op": "measure", "prompts": prompts}
    prompts = [asked for asked in prompts if engine.length(asked) is not None]
    yield {"op": "effect", "prompts": [prompt]}
    yield {"op": "scale", "factor": 0.5}
    yield {"op": "scale", "factor": 1.0}
    if engine.task == CLASSIFIER:
        yield from ({"op": "classify", "prompts": prompts, "precise": precise} for precise in (False, True))
        return
    shown = {"tokens": [1, 2], "watch": [[1], [2]]}
    drawn = {"temperature": 1.0, "topP": 0.9, "seed": 1}
    item = {"prompt": prompt, "continuation": [1, 2]}
    alternatives = {
        "op": "choices",
        "items": [{"prompt": " ".join([prompt] * 8), "choices": [prompt, f"{prompt} {prompt}"]}],
    }
    yield from ({**alternatives, "precise": precise} for precise in (False, True))
    yield {"op": "generate", "prompts": prompts, "maxNewTokens": 2, "top": 2, "margins": True}
    yield {"op": "generate", "prompts": prompts, "maxNewTokens": 2, "drafts": [shown, *[None] * (len(prompts) - 1)]}
    yield {"op": "generate", "prompts": prompts[:1], "maxNewTokens": 1, "sampling": drawn}
    yield {"op": "generate", "prompts": prompts[:1], "maxNewTokens": 1, "precise": True}
    yield {"op": "score", "items": [item, {"prompt": prompt, "continuation": prompt}]}
    yield {"op": "trace", "items": [item, {**item, "watch": [[1], [2]]}], "top": 2}
    yield {"op": "propose", "items": [{**item, "place": 0.5}], "top": 1}


def canary_survives(seconds: float = CANARY_SECONDS) -> bool:
    """Whether a forked child can multiply matrices, and comes back in time: after a thread pool was used it cannot."""
    import torch

    child = os.fork()
    if child == 0:
        torch.ones(256, 256) @ torch.ones(256, 256)
        os._exit(0)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _stack(device: str) -> dict[str, str]:
    import torch

    stack = {
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}".lower(),
        "threads": str(torch.get_num_threads()),
    }
    if device != "cpu":
        stack["device"] = f"{device} {torch.cuda.get_device_name(device)}"
    for name in DISTRIBUTIONS:
        try:
            stack[name] = version(name)
        except PackageNotFoundError:
            continue
    return stack


def _blank(base: Any) -> Any:
    """A copy of `base` without memory, for each child to plan on; None where none can be made, as loading will say."""
    import torch

    from peft_assay_loading.errors import LoadingError
    from peft_assay_loading.fitting import blank_copy
    from peft_assay_loading.saved import embeddings, resize

    with contextlib.suppress(LoadingError):
        # What resizing a vocabulary imports is imported here: later nothing can be.
        warmed = blank_copy(base)
        for module in list(embeddings(warmed).values())[:1]:
            with contextlib.suppress(*FAILURES, LoadingError), torch.device("meta"):
                resize(warmed, module.weight.shape[0] + 1)
        return blank_copy(base)
    return None


def _serve(engine: Any, blank: Any, job: Job, reference: Made | None) -> None:
    from peft_assay_harness.frames import read_frame, write_frame
    from peft_assay_harness.ops import answer
    from peft_assay_harness.session import Session

    known = reference[1] if reference is not None and job.files is reference[0] else None
    session = Session(engine, engine.model, job.files, fit=known, blank=blank)
    while (request := read_frame(job.request)) is not None:
        write_frame(job.response, answer(session, request))
