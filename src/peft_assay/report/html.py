"""The HTML report: one file that needs no network and runs no script, for several adapters at once."""

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from peft_assay.core.errors import UsageError
from peft_assay.core.verdict import Outcome
from peft_assay.report import sink
from peft_assay.report.comparison import CAPTION, HEADINGS
from peft_assay.report.control_map import ControlMap
from peft_assay.report.interface import CertificationReport
from peft_assay.report.scope import NOT_TESTED
from peft_assay.report.view import GLYPHS, adapter_view


def render_html(reports: Sequence[CertificationReport], *, controls: ControlMap | None = None) -> sink.Rendered:
    """One self-contained document with an index and a section for each of `reports`.

    `controls` says which evidence is relevant to which control; None: nothing is said of controls.

    Its content security policy allows its own style sheet, by hash, and nothing else: no script, no image, no request.
    Raises UsageError when there is nothing to report.
    """
    if not reports:
        raise UsageError("there is nothing to report", where="report", next_step="peft-assay certify")
    environment = _environment()
    style = environment.get_template("report.css").render()
    counts = Counter(report.outcome for report in reports)
    document = environment.get_template("report.html.j2").render(
        title=reports[0].title,
        contexts=sorted({report.context for report in reports}),
        generated_at=max(report.generated_at for report in reports),
        counts=[(outcome, GLYPHS[outcome], counts[outcome]) for outcome in Outcome if counts[outcome]],
        waived=sum(bool(report.waivers) for report in reports),
        headings=HEADINGS,
        comparison_caption=CAPTION,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        not_tested=NOT_TESTED,
        controls=controls,
        adapters=[adapter_view(report, index, controls) for index, report in enumerate(reports, 1)],
    )
    return sink.Rendered(document)


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("peft_assay.report", "templates"),
        autoescape=True,
        finalize=sink.html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
