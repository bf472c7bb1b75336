"""What the parts of scripts/gpu-report share."""

import json
import os
import subprocess
import time

from lib.common import Failure, last_words, run


class LeftOut(Exception):
    """A part that cannot be done here; the message says why."""


class OutOfTime(Exception):
    """The time of a part is over."""


class Context:
    """What the parts share: the program, the device, the peers, and the time."""

    def __init__(self, options, peers, folder):
        self.options, self.peers, self.folder = options, peers, folder
        self.deadline = time.monotonic() + options.budget
        self.part_deadline = self.deadline
        self.is_software = False
        named = ["--adapter", options.adapter] if options.adapter else []
        self.device = ["--backend", "gpu", *named]
        self.both = named  # the CPU and a GPU, of bench
        # The user's own choices of variants are neither used nor changed.
        self.environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "NODEVICE_SELECT": "1"}

    def left(self):
        """Seconds; none is the end of the part."""
        seconds = min(self.deadline, self.part_deadline) - time.monotonic()
        if seconds <= 0:
            raise OutOfTime
        return seconds

    def program(self, flags):
        """The finished program. One that takes longer than there is time for is stopped."""
        try:
            command = [self.options.retrospect, *flags]
            return run(command, capture_output=True, timeout=self.left(), env=self.environment, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise OutOfTime from None

    def json(self, flags, codes=(0,)):
        """The document that the program prints, and what it said on stderr."""
        finished = self.program([*flags, "--json"])
        try:
            if finished.returncode in codes:
                return json.loads(finished.stdout), finished.stderr
        except ValueError:
            raise Failure(f"{flags[0]} printed something else than JSON") from None
        raise Failure(f"{flags[0]}: exit code {finished.returncode}: {last_words(finished.stderr)}")
