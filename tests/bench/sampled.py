"""`python -m tests.bench.sampled FILE serve engine`: a process of the product that also writes a profile of itself.

A thread looks at every thread's stack each few milliseconds and charges it with the CPU time that the thread used since
the last look: waiting costs nothing, and work in C is charged to the line that called it. The file is rewritten every
two seconds, so that it stands however the process ends: JSON of CPU seconds by stack, functions from the outermost in.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

EVERY_S = 0.004
WRITE_EVERY_S = 2.0
ROOT = str(Path(__file__).resolve().parent.parent.parent) + os.sep


def _name(frame: FrameType) -> str:
    code = frame.f_code
    place = code.co_filename.removeprefix(ROOT)
    for folder in ("site-packages/", f"/python3.{sys.version_info.minor}/"):
        place = place.rpartition(folder)[2]
    return f"{place}:{code.co_qualname}"


def _sample(target: Path) -> None:
    used: dict[int, float] = {}
    charged: Counter[tuple[str, ...]] = Counter()
    names: dict[object, str] = {}
    written = time.monotonic()
    own = threading.get_ident()
    while True:
        time.sleep(EVERY_S)
        for ident, frame in list(sys._current_frames().items()):
            if ident == own:
                continue
            try:
                now = time.clock_gettime(time.pthread_getcpuclockid(ident))
            except OSError:
                continue
            spent, used[ident] = now - used.get(ident, now), now
            if spent <= 0:
                continue
            stack: list[str] = []
            at: FrameType | None = frame
            while at is not None:
                name = names.get(at.f_code)
                if name is None:
                    name = names[at.f_code] = _name(at)
                stack.append(name)
                at = at.f_back
            charged[tuple(reversed(stack))] += spent  # type: ignore[assignment]
        if time.monotonic() >= written + WRITE_EVERY_S:
            written = time.monotonic()
            fresh = target.with_suffix(".new")
            fresh.write_text(json.dumps([[seconds, list(stack)] for stack, seconds in charged.items()]))
            fresh.replace(target)


def main() -> None:
    """Start the sampler, then the product's command line."""
    target = Path(sys.argv[1])
    sys.argv[1:] = sys.argv[2:]
    threading.Thread(target=_sample, args=(target,), name="sampler", daemon=True).start()
    from services.cli.main import main as ebbtide

    ebbtide()


if __name__ == "__main__":
    main()
