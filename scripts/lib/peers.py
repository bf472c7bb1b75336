"""The peers of benches/peers as processes that stay: they are started once, and asked for one size after another."""

import json
import queue
import subprocess
import tempfile
import threading
import time

from lib.common import PEERS, Failure, last_words, say

STARTING = 90  # seconds at most, for importing a library and opening a device


class Peer:
    """One peer, started."""

    def __init__(self, command, seconds):
        self.command = [str(part) for part in command]
        self.stderr = tempfile.TemporaryFile("w+", errors="replace")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.stderr}
        try:
            self.process = subprocess.Popen(self.command, text=True, **pipes)
        except OSError as error:
            raise Failure(f"{command[0]}: {error.strerror}") from None
        self.lines = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.document = self._answer(seconds)

    def _listen(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def _answer(self, seconds):
        try:
            line = self.lines.get(timeout=max(seconds, 0.01))
        except queue.Empty:
            self.stop()
            raise Failure(f"no answer within {seconds:.0f} s") from None
        if line is None:
            code = self.process.wait()
            self.stderr.seek(0)
            raise Failure(f"exit code {code}: {last_words(self.stderr.read())}")
        try:
            return json.loads(line)
        except ValueError as error:
            self.stop()
            raise Failure(f"printed something else than JSON ({error})") from None

    def ask(self, request, seconds):
        """The row of a request."""
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it is gone, which the answer says better
        return self._answer(seconds)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Peers:
    """All peers that can run here, with the precisions that each is asked for."""

    KINDS = {"pytorch": ("pytorch.py", "cuda", ["f32", "tf32"]), "jax": ("jax_scan.py", "gpu", ["f32"])}

    def __init__(self, python, runs, run_seconds, on_cpu):
        self.flags = ["--serve", "--runs", runs, "--run-seconds", run_seconds]
        self.python, self.on_cpu = python, on_cpu
        self.running, self.documents, self.left_out = None, {}, {}

    def start(self, seconds):
        """Starts all that can run, and those anew that did not answer in an earlier part. Why others cannot is in `left_out`."""
        is_first = self.running is None
        self.running = self.running or {}
        for name, (script, device, _) in self.KINDS.items():
            if name in self.running or not is_first and name not in self.documents:
                continue
            started = time.monotonic()
            # A short try takes the CPU where there is no GPU.
            for place in [device, "cpu"] if self.on_cpu else [device]:
                try:
                    self.running[name] = Peer(
                        [self.python, PEERS / script, "--device", place, *self.flags], min(seconds, STARTING)
                    )
                    self.documents[name] = self.running[name].document | {"device": place}
                    self.left_out.pop(name, None)
                    say(f"{name} started in {time.monotonic() - started:.0f} s.")
                    break
                except Failure as failure:
                    self.left_out[name] = str(failure)
            if name in self.left_out:
                say(f"{name} is left out: {self.left_out[name]}")

    def names(self):
        """Each running peer with each of its precisions that mean something where it runs."""
        for name in list(self.running):
            for precision in self.KINDS[name][2]:
                if precision == "f32" or self.documents[name]["device"] != "cpu":
                    yield name, precision

    def ask(self, name, request, seconds):
        """A row of that peer, with an error in it where there is no other answer; a peer that does not answer is done with."""
        if name not in self.running:
            return {"error": self.left_out[name]}
        try:
            return self.running[name].ask(request, seconds)
        except Failure as failure:
            say(f"{name} is left out from here on: {failure}")
            self.left_out[name] = f"{failure}, and left out from there on"
            del self.running[name]
            return {"error": str(failure)}

    def stop(self):
        for peer in (self.running or {}).values():
            peer.stop()
