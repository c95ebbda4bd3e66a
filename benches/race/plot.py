"""A bar chart with whiskers, as SVG."""

from __future__ import annotations

from html import escape

from .arithmetic import number
from .report import Chart

LABELS, BARS, ROOM, STEP, TOP = 220, 420, 130, 26, 44
OURS, THEIRS = "#2563a8", "#9aa4ae"


def svg(chart: Chart) -> str:
    """Bars from the top down, in the order of the chart; ours in another colour."""
    most = max(spread.high for spread in chart.bars.values()) or 1.0
    width, height = LABELS + BARS + ROOM, TOP + STEP * len(chart.bars) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="10" y="22" font-size="14">{escape(chart.title)} ({escape(chart.unit)}; quartiles)</text>',
    ]
    for place, (name, spread) in enumerate(chart.bars.items()):
        low, end, high = (LABELS + BARS * value / most for value in (spread.low, spread.median, spread.high))
        top, middle = TOP + STEP * place, TOP + STEP * place + 9
        colour = OURS if name.startswith("prefork-init") else THEIRS
        parts += [
            f'<text x="{LABELS - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LABELS}" y="{top}" width="{max(end - LABELS, 1):.1f}" height="18" fill="{colour}"/>',
            f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8" '
            'stroke="black" fill="none"/>',
            f'<text x="{high + 8:.1f}" y="{middle + 4}">{number(spread.median)}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])
