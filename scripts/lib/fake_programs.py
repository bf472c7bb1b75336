"""Stand-ins for the test of scripts/gpu-report: of the retrospect program, of a Python that has the peers, and of a test program.

The environment's FAULT says what goes wrong, and LOG is the file of what was measured, in order.
"""

import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from lib import tensors

FAULT = os.environ["FAULT"]


def log(line):
    with open(os.environ["LOG"], "a") as file:
        file.write(line + "\n")


def stop(code, message):
    print(message, file=sys.stderr)
    sys.exit(code)


def show(document):
    print(json.dumps(document))


def flag(name, default=None):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


# ---- the program


def adapters():
    show([{"index": 0, "name": "Made-up GPU", "driver": "1.0", "kind": "discrete", "api": "none"}])


def check():
    if FAULT == "check-crash":
        stop(5, "the device was lost")
    one = {
        "name": "gemm_nn",
        "variant": "tiled",
        "shape": "1×2×3",
        "error": 1e-8,
        "bound": 2e-8,
        "passed": True,
        "oracle": "definition",
    }
    wrong = FAULT == "check"
    results = [one, one | {"variant": "large"}, one | {"error": 3e-8, "passed": not wrong, "note": "element 5"}]
    show({"adapter": "Made-up GPU", "driver": "1.0", "device_type": "discrete", "passed": not wrong, "results": results})
    sys.exit(int(wrong))


def gradient():
    weights = tensors.read(pathlib.Path(flag("--weights")))
    kind = "F64" if flag("--backend") == "reference" else "F32"
    out = {name: tensors.Tensor(kind, tensor.shape, list(tensor.numbers)) for name, tensor in weights.items()}
    if FAULT == "gradient" and kind == "F32":
        out["rnn.weight_hh_l0"].numbers[-1] += 1e-2
    tensors.write(pathlib.Path(flag("--out")), out)


def bench():
    hidden = int(flag("--hidden"))
    ceilings = [{"backend": "gpu", "gflops": 1e4, "gb_per_s": 1e3, "dispatch_us": 2.0}]
    if "--products" in sys.argv:
        size = int(flag("--products"))
        log(f"product retrospect {size}")
        row = {
            "size": size,
            "precision": "f32",
            "variant": "large",
            "ms": 0.1,
            "ms_min": 0.1,
            "ms_max": 0.1,
            "runs": 1,
            "gflops": 5e3,
        }
        show(
            {
                "ceilings": ceilings,
                "rows": [],
                "products": [row | {"backend": b, "form": f} for f in ("nn", "nt", "tn") for b in ("cpu", "gpu")],
            }
        )
        return
    log(f"retrospect {hidden}")
    if FAULT == "slow-bench":
        time.sleep(30)
    if FAULT == "garbage":
        print("panic")
        return
    if FAULT == "bench" and hidden == 16:
        stop(1, "out[1, 2] is wrong")
    row = {
        "backend": "gpu",
        "cell": flag("--cell", "elman"),
        "layers": 1,
        "hidden": hidden,
        "batch": int(flag("--batch")),
        "window": int(flag("--window")),
    }
    row |= {"input": 64, "output": 64, "precision": "f32", "ms_per_step": 1.5, "gpu_ms": 1.4, "host_ms": 0.2, "dispatches": 100}
    kernels = [{"name": "elman_forward", "variant": "tiled", "ms": 0.7, "gflops": 1.0, "gb_per_s": 1.0}]
    show({"ceilings": ceilings, "rows": [row | {"peak_fraction": 0.5, "kernels": kernels}], "products": []})


def tune():
    seen = pathlib.Path(os.environ["XDG_CACHE_HOME"]) / "tuned"
    is_second = seen.exists()
    seen.parent.mkdir(exist_ok=True)
    seen.touch()
    times = {"tiled": 1.0, "skinny": 1.05 if not is_second or FAULT != "tuning" else 0.5, "refused": None}
    candidates = [{"variant": variant, "ms": ms} for variant, ms in times.items()]
    show(
        {
            "measured": [
                {
                    "shape": "elman_forward 30×33",
                    "candidates": candidates,
                    "chosen": min(filter(times.get, times), key=times.get),
                }
            ]
        }
    )


def train():
    out = pathlib.Path(flag("--out"))
    out.mkdir()
    factor = 1.001 if FAULT == "text" and flag("--backend") == "gpu" else 1.0
    losses = [3.0 * factor / (1 + step / 50) for step in range(int(flag("--steps")))]
    (out / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": n, "loss": loss}) + "\n" for n, loss in enumerate(losses, 1))
    )
    show({"run": str(out), "steps": len(losses), "loss": losses[-1], "validation_loss": 2.0, "ms_per_step": 1.0})


def retrospect():
    if "--version" in sys.argv:
        print("retrospect 0.1.0")
    else:
        {"adapters": adapters, "check": check, "gradient": gradient, "bench": bench, "tune": tune, "train": train}[
            sys.argv[2]
        ]()


# ---- the peers and the tests


def python():
    if "--version" in sys.argv:
        print("Python 3.0")
        return
    name = {"pytorch.py": "pytorch", "jax_scan.py": "jax"}[pathlib.Path(sys.argv[2]).name]
    if FAULT == "no-peers":
        stop(3, f"this Python has no {name}")
    show({"program": name, "version": "9.9", "adapter": "Made-up GPU", "driver": "2.0"})
    sys.stdout.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        who = f"{name} {asked['precision']}"
        if FAULT == "peer-dies" and name == "jax" and asked.get("hidden") == 16:
            stop(9, "out of luck")
        if "form" in asked:
            log(f"product {who} {asked['form']}")
            show(asked | {"backend": "cuda", "ms": 0.2, "gflops": 2.5e3})
        else:
            log(f"{who} {asked['hidden']}")
            show(asked | {"backend": "cuda", "ms_per_step": 3.0})
        sys.stdout.flush()


def chain():
    print("running 2 tests\ntest kernels::first ... ok", flush=True)
    if FAULT == "slow-test":
        time.sleep(30)
    wrong = FAULT == "test"
    print(f"test kernels::second ... {'FAILED' if wrong else 'ok'}")
    sys.exit(101 if wrong else 0)


if __name__ == "__main__":
    {"retrospect": retrospect, "python": python, "chain": chain}[sys.argv[1]]()
