"""Charts as inline SVG: pure functions from values to markup.

No script is needed to see one, and no style stands in an attribute: the content policy forbids it, so looks are classes
(`static/charts.css`). Every chart is a `<figure>` with its reason as caption, in two drawings: a wide one, and a narrow one
for a column under 40rem, so that text is never scaled. Each drawing has a title, a description and, where it shows many
values, marks that arrow keys read aloud (`static/charts.js`). The values stand once more as a table.

`signal_chart` picks the form for a signal; the others are called by name.
"""

from services.api.console.charts.bars import Level, Step, parts_bar, waterfall
from services.api.console.charts.health import health_line
from services.api.console.charts.signal import Held, Moment, SignalFacts, signal_chart
from services.api.console.charts.usage import usage_chart

__all__ = [
    "Held",
    "Level",
    "Moment",
    "SignalFacts",
    "Step",
    "health_line",
    "parts_bar",
    "signal_chart",
    "usage_chart",
    "waterfall",
]
