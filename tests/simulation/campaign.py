"""Many simulated histories between workers and coordinator, each of its own seed."""

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

import structlog
from coord.errors import CoordError

from tests.simulation import conversation, merging, stealing

_KINDS = {
    "conversation": conversation.history,
    "merging": merging.history,
    "stealing": stealing.history,
}
_TELL_EVERY = 500


def main() -> None:
    """Run histories; name the seed of each that breaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=_KINDS)
    parser.add_argument("--histories", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    begin_s, broken = time.monotonic(), 0
    for seed in range(options.first, options.first + options.histories):
        with tempfile.TemporaryDirectory() as folder:
            try:
                _KINDS[options.kind](Path(folder), seed)
            except (AssertionError, CoordError, RuntimeError, TimeoutError) as error:
                broken += 1
                _tell(f"seed {seed}: {error!r:.300}")
        if (done := seed + 1 - options.first) % _TELL_EVERY == 0:
            _tell(f"{done} of {options.histories}, {broken} broken")
    _tell(f"{options.histories} histories, {broken} broken, {time.monotonic() - begin_s:.0f} s")
    sys.exit(1 if broken else 0)


def _tell(what: str) -> None:
    print(what, flush=True)  # noqa: T201 - what the campaign found.


if __name__ == "__main__":
    main()
