"""A line chart as SVG, drawn by hand: two dozen points need no plotting library."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 380, 260, 56, 44, 34
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: measured points and the line that was fitted to them."""

    title: str
    across: str
    upwards: str
    points: Points
    slope: float
    intercept: float


def fit(points: Points) -> tuple[float, float, float]:
    """Least squares: slope, intercept, and R squared."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    intercept = mean_y - slope * mean_x
    left = sum((y - slope * x - intercept) ** 2 for x, y in points)
    total = sum((y - mean_y) ** 2 for _, y in points)
    return slope, intercept, 1.0 if total == 0 else 1 - left / total


def draw(panels: Sequence[Panel]) -> str:
    """All panels side by side."""
    body = "".join(f'<g transform="translate({at * WIDTH},0)">{_panel(panel)}</g>' for at, panel in enumerate(panels))
    size = f'width="{WIDTH * len(panels)}" height="{HEIGHT}" viewBox="0 0 {WIDTH * len(panels)} {HEIGHT}"'
    style = 'font-family="sans-serif" font-size="11" fill="#222"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{_BACKGROUND}{body}</svg>\n'


_BACKGROUND = '<rect width="100%" height="100%" fill="#fff"/>'


def _panel(panel: Panel) -> str:
    right, highest = max(x for x, _ in panel.points), max(y for _, y in panel.points)
    across, upwards = (WIDTH - LEFT - 16) / right, (HEIGHT - BOTTOM - TOP) / (highest * 1.08)

    def at(x: float, y: float) -> tuple[float, float]:
        return round(LEFT + x * across, 1), round(HEIGHT - BOTTOM - y * upwards, 1)

    parts = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(panel.title)}</text>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = at(0, highest * share)[1]
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 16}" y1="{y}" y2="{y}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{highest * share:.3g}</text>')
    for x, _ in panel.points:
        parts.append(f'<text x="{at(x, 0)[0]}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{x:g}</text>')
    (x1, y1), (x2, y2) = at(0, panel.intercept), at(right, panel.intercept + panel.slope * right)
    parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#3366aa" stroke-width="1.5"/>')
    parts += [f'<circle cx="{at(x, y)[0]}" cy="{at(x, y)[1]}" r="3.2" fill="#c04020"/>' for x, y in panel.points]
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(panel.across)}</text>')
    middle = HEIGHT / 2
    parts.append(
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">{escape(panel.upwards)}</text>'
    )
    return "".join(parts)
