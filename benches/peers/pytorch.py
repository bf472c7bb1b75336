#!/usr/bin/env python3
"""Times one training step of an Elman network in PyTorch, and prints one JSON document.

A step is forward, backward and SGD update of nn.RNN (tanh) with an nn.Linear decoder and squared error, on random inputs
[T, B, I] and targets [T, B, O], as a user of PyTorch would write it. The other programs in benches/peers time the same step.

    pip install torch
    python3 benches/peers/pytorch.py --hidden 128,256 --batch 32 --window 64
    python3 benches/peers/pytorch.py --device cuda --tf32
"""

import argparse
import gc
import itertools
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time

RUN_SECONDS = 0.2  # a run lasts at least this long, so that the clock's grain and one late wake-up do not count


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def numbers(text):
    return [positive(part) for part in text.split(",")]


def arguments():
    parser = argparse.ArgumentParser(
        description="Times one training step of an Elman network in PyTorch.",
        epilog="Lists are separated by commas; every combination is timed.",
    )
    parser.add_argument("--hidden", type=numbers, default=[256], metavar="LIST")
    parser.add_argument("--batch", type=numbers, default=[32], metavar="LIST")
    parser.add_argument("--window", type=numbers, default=[64], metavar="LIST")
    parser.add_argument("--layers", type=numbers, default=[1], metavar="LIST")
    parser.add_argument("--input", type=positive, default=64, metavar="N")
    parser.add_argument("--output", type=positive, default=64, metavar="N")
    parser.add_argument("--runs", type=positive, default=5, metavar="N", help="of at least 0.2 s; the median counts (default: 5)")
    parser.add_argument("--threads", type=positive, metavar="N", help="on the CPU; default: all cores")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--tf32", action="store_true", help="let CUDA multiply with ten bits of mantissa")
    parser.add_argument("--products", type=numbers, default=[], metavar="LIST", help="time products of square matrices too")
    options = parser.parse_args()
    if options.tf32 and options.device != "cuda":
        parser.error("--tf32 needs --device cuda")
    return options


def give_up(message):
    """Exit code 3: this cannot run here, whatever the size."""
    print(f"pytorch.py: {message}", file=sys.stderr)
    sys.exit(3)


def cpu_name():
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    if platform.system() == "Darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        if asked.returncode == 0:
            return asked.stdout.strip()
    return platform.processor() or None


def cores():
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def synchronize(device):
    # On CUDA calls only queue work; on the CPU it is done when they return.
    if device == "cuda":
        torch.cuda.synchronize()


def milliseconds(call, runs, device):
    """Of one call, in each of the runs; a run is as many calls as last RUN_SECONDS."""

    def seconds(calls):
        synchronize(device)
        start = time.perf_counter()
        for _ in range(calls):
            call()
        synchronize(device)
        return time.perf_counter() - start

    # The first calls choose algorithms and take memory.
    start = time.perf_counter()
    seconds(2)
    while time.perf_counter() - start < RUN_SECONDS:
        seconds(1)
    calls = 1
    while (took := seconds(calls)) < RUN_SECONDS:
        calls = max(2 * calls, math.ceil(1.1 * RUN_SECONDS / took * calls))
    return [seconds(calls) * 1e3 / calls for _ in range(runs)]


def time_step(layers, hidden, batch, window, options):
    rnn = torch.nn.RNN(options.input, hidden, layers, nonlinearity="tanh", batch_first=False).to(options.device)
    decoder = torch.nn.Linear(hidden, options.output).to(options.device)
    optimizer = torch.optim.SGD([*rnn.parameters(), *decoder.parameters()], lr=0.01)
    inputs = torch.randn(window, batch, options.input, device=options.device)
    targets = torch.randn(window, batch, options.output, device=options.device)

    def step():
        optimizer.zero_grad()
        states, _ = rnn(inputs)
        loss = torch.nn.functional.mse_loss(decoder(states), targets)
        loss.backward()
        optimizer.step()
        return loss

    times = milliseconds(step, options.runs, options.device)
    loss = step().item()
    if not math.isfinite(loss):
        raise ArithmeticError(f"the loss became {loss}")
    return times


def time_product(n, options):
    a, b = (torch.randn(n, n, device=options.device) for _ in range(2))
    out = torch.empty(n, n, device=options.device)
    return milliseconds(lambda: torch.mm(a, b, out=out), options.runs, options.device)


def flops_of_step(layers, hidden, batch, window, inputs, outputs):
    """Of its products: forward, and twice that backward, less the gradient by the input of the first layer, which nothing
    asks for."""
    rows = window * batch
    first = 2 * rows * inputs * hidden
    forward = first + 2 * rows * (hidden * hidden + hidden * outputs) + (layers - 1) * 4 * rows * hidden * hidden
    return 3 * forward - first


def times_or_error(timed, *arguments):
    """What to add to a row: the times, or why there are none. The sweep goes on with the next size."""
    try:
        times = timed(*arguments)
        return {"ms_per_step": statistics.median(times), "ms_min": min(times), "ms_max": max(times), "runs": len(times)}
    except (RuntimeError, MemoryError, ArithmeticError) as error:  # RuntimeError: how PyTorch says that memory ran out
        found = {"error": (str(error) or type(error).__name__).splitlines()[0]}
    # Only here, where the error and with it the tensors of the failed step are gone.
    gc.collect()
    torch.cuda.empty_cache()
    return found


def rows(options):
    backend, precision = options.device, "tf32" if options.tf32 else "f32"
    for layers, hidden, batch, window in itertools.product(options.layers, options.hidden, options.batch, options.window):
        row = {"backend": backend, "cell": "elman", "layers": layers, "hidden": hidden, "batch": batch, "window": window}
        row |= {"input": options.input, "output": options.output, "precision": precision}
        row |= times_or_error(time_step, layers, hidden, batch, window, options)
        if "error" not in row:
            row["tokens_per_s"] = batch * window / row["ms_per_step"] * 1e3
            flops = flops_of_step(layers, hidden, batch, window, options.input, options.output)
            row["gflops"] = flops / row["ms_per_step"] / 1e6
        yield row
    for n in options.products:
        row = {"backend": backend, "cell": "product", "hidden": n, "precision": precision}
        row |= times_or_error(time_product, n, options)
        if "error" not in row:
            row["gflops"] = 2 * n**3 / row["ms_per_step"] / 1e6
        yield row


def main():
    options = arguments()
    global torch  # imported late, so that --help and a wrong flag are answered without it, and at once
    try:
        import torch
    except ImportError as error:
        give_up(f"this Python has no PyTorch ({error}); install it with: pip install torch")
    if options.device == "cuda" and not torch.cuda.is_available():
        give_up("PyTorch finds no CUDA device")
    torch.set_num_threads(options.threads or cores())
    torch.backends.cuda.matmul.allow_tf32 = options.tf32
    torch.backends.cudnn.allow_tf32 = options.tf32
    torch.manual_seed(1)

    on_gpu = options.device == "cuda"
    document = {
        "program": "pytorch",
        "version": torch.__version__,
        "machine": f"{platform.system().lower()} {platform.machine()}",
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "adapter": torch.cuda.get_device_name() if on_gpu else None,
        "driver": f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}" if on_gpu else None,
        "rows": list(rows(options)),
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
