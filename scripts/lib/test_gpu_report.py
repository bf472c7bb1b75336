"""scripts/gpu-report's own logic, with a program and peers that are made up: `cd scripts && python3 -m unittest`.

What is planted in them is caught, said and recorded; the rest goes on; what is compared runs in turn.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from lib import gradients, markdown, pages, parts, tensors
from lib.common import RECORDS, ROOT, Failure

FAKES = pathlib.Path(__file__).with_name("fake_programs.py")


class Report(unittest.TestCase):
    """The script as a whole. It is copied to a folder that is no checkout, where no cargo is found."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="test-gpu-report-"))
        self.addCleanup(shutil.rmtree, self.folder)
        for part in ("scripts", "benches/peers"):
            shutil.copytree(ROOT / part, self.folder / part, ignore=shutil.ignore_patterns("__pycache__", "burn"))
        for name in ("retrospect", "python", "chain"):
            path = self.folder / name
            path.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKES} {name} "$@"\n')
            path.chmod(0o755)

    def report(self, *flags, fault=""):
        """Exit code, record, Markdown, and what the programs were asked, in order."""
        log, out = self.folder / "log", self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        log.write_text("")
        command = [sys.executable, self.folder / "scripts/gpu-report", "--retrospect", self.folder / "retrospect", "--quick"]
        command += ["--python", self.folder / "python", "--out", out, "--tests", self.folder / "chain", *flags]
        environment = os.environ | {"FAULT": fault, "LOG": str(log), "PATH": "/usr/bin:/bin"}
        finished = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment)
        self.assertNotIn("Traceback", finished.stderr)
        written = sorted(out.iterdir()) if out.exists() else []
        self.assertEqual([path.suffix for path in written], [".json", ".md"], finished.stderr)
        self.assertTrue(written[0].name.startswith("made-up-gpu-20"), written[0].name)
        record = json.loads(written[0].read_text())
        return finished.returncode, record, written[1].read_text(), log.read_text().splitlines()

    def statuses(self, record):
        return {name: part["status"] for name, part in record["parts"].items()}

    def test_all_is_well(self):
        code, record, text, log = self.report("--commit", "1234567890")
        self.assertEqual((code, self.statuses(record)), (0, dict.fromkeys(parts.PARTS, "done")), text)
        self.assertTrue(record["passed"])
        self.assertIn("commit 1234567", text)
        for title in (
            "Check",
            "Gradients",
            "Training steps",
            "Training steps of other cells",
            "Products",
            "Training on text",
            "The choice of variants",
            "Tests",
        ):
            self.assertIn(f"\n## {title}", text)
        self.assertEqual(record["versions"]["torch"], "9.9")
        self.assertEqual(record["parts"]["tests"]["rows"][0]["passed"], 2)
        # Each size by each in turn.
        first, second = (
            [f"{who} {size[0]}" for who in ("retrospect", "pytorch f32", "pytorch tf32", "jax f32")]
            for size in parts.QUICK["steps"]
        )
        cells = ["retrospect 17", "pytorch f32 17", "pytorch tf32 17"]  # which JAX's program does not have
        self.assertEqual([line for line in log if not line.startswith("product")], first + second + cells)
        self.assertIn("PyTorch takes 2.00 times as long as retrospect in the geometric mean of 2 sizes.", text)
        self.assertIn("| lstm | 17 | 3 | 5 | 1.50 | 3.00 | 3.00 | 2.00 × |", text)
        forms = ["nn", "nt", "tn"]
        expected = ["product retrospect 65"] + [
            f"product {who} {form}" for who in ("pytorch f32", "pytorch tf32", "jax f32") for form in forms
        ]
        self.assertEqual([line for line in log if line.startswith("product")], expected)
        self.assertEqual(len(record["parts"]["steps"]["rows"]), 8)

    def test_what_is_wrong_is_found_and_the_rest_goes_on(self):
        for fault, part, said in [
            ("gradient", "gradients", "rnn.weight_hh_l0 is off by"),
            ("check", "check", "1 of 3 checks failed"),
            ("check-crash", "check", "exit code 5: the device was lost"),
            ("bench", "steps", "H=16, B=1, T=7: bench: exit code 1: out[1, 2] is wrong"),
            ("tuning", "tuning", "tiled takes 2.00 times as long as skinny"),
            ("text", "text", "the losses differ"),
            ("test", "tests", "1 tests failed: kernels::second"),
            ("garbage", "steps", "something else than JSON"),
        ]:
            with self.subTest(fault):
                code, record, text, _ = self.report("--only", f"check,{part},text", fault=fault)
                others = {name: status for name, status in self.statuses(record).items() if name != part}
                self.assertEqual((code, record["passed"], record["parts"][part]["status"]), (1, False, "failed"), text)
                self.assertEqual(set(others.values()), {"done"}, others)
                self.assertIn(said, record["parts"][part]["reason"])
                self.assertIn("**Something failed.**", text)
                self.assertIn(said, text)

    def test_a_peer_that_fails_is_left_out(self):
        code, record, text, _ = self.report("--only", "steps,products", fault="peer-dies")
        self.assertEqual((code, set(self.statuses(record).values())), (0, {"done"}))
        self.assertIn("exit code 9: out of luck", record["parts"]["steps"]["left_out"]["jax"])
        self.assertIn("jax is left out", text)
        self.assertIn("error", text)
        code, record, text, log = self.report("--only", "steps", fault="no-peers")
        self.assertEqual((code, self.statuses(record)), (0, {"steps": "done"}))
        self.assertEqual(set(record["parts"]["steps"]["left_out"]), {"pytorch", "jax"})
        self.assertEqual(log, ["retrospect 33", "retrospect 16"])

    def test_the_budget_ends_what_takes_too_long(self):
        code, record, text, _ = self.report("--budget", 8, "--only", "check,steps,tests", fault="slow-bench")
        self.assertEqual((code, self.statuses(record)), (0, {"check": "done", "steps": "no time", "tests": "done"}), text)
        self.assertEqual(len(record["parts"]["steps"]["no_time_for"]), 2)
        self.assertIn("Not everything was done.", text)
        code, record, text, _ = self.report("--budget", 3, "--only", "tests", fault="slow-test")
        self.assertEqual((code, self.statuses(record)), (0, {"tests": "no time"}), text)
        self.assertEqual(record["parts"]["tests"]["rows"][0]["passed"], 1)


class Pieces(unittest.TestCase):
    def test_tensors_are_read_as_they_were_written(self):
        numbers = tensors.Numbers(3)
        written = {"a": numbers.uniform([3, 5], 2.0), "b": numbers.integers([7], 4), "c": tensors.Tensor("F64", [], [1e-300])}
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "t"
            tensors.write(path, written)
            got = tensors.read(path)
        self.assertEqual(
            {k: (t.kind, t.shape, t.numbers) for k, t in got.items()},
            {k: (t.kind, t.shape, t.numbers) for k, t in written.items()},
        )
        self.assertEqual(tensors.Numbers(3).uniform([3, 5], 2.0).numbers, written["a"].numbers)

    def test_a_gradient_that_is_off_is_seen(self):
        expected = {"w": tensors.Tensor("F64", [2, 2], [1.0, -8.0, 0.5, 2.0]), "h0": tensors.Tensor("F64", [1], [1e-6])}

        def got(*numbers, h0=1e-6):
            return {"w": tensors.Tensor("F32", [2, 2], numbers), "h0": tensors.Tensor("F32", [1], [h0])}

        self.assertLess(gradients.compare(got(1.0, -8.0, 0.5, 2.0), expected)[1], gradients.BOUND)
        for wrong in [
            got(1.0, -8.0, 0.501, 2.0),
            got(1.0, float("nan"), 0.5, 2.0),
            got(1.0, -8.0, 0.5, 2.0, h0=1.1e-6),
            got(0, 0, 0, 0),
        ]:
            self.assertGreater(gradients.compare(wrong, expected)[1], gradients.BOUND)
        self.assertRaises(Failure, gradients.compare, {"w": expected["w"]}, expected)

    def test_the_cases_are_of_every_kind(self):
        for key in ("activation", "layers", "kind", "loss", "mask", "h0", "reduction"):
            self.assertGreater(len({case[key] for case in gradients.CASES}), 1, key)
        self.assertTrue(
            all(
                len({len({case[key] for case, _ in gradients.cases(True)})} - {1}) == 1
                for key in ("activation", "kind", "loss", "mask")
            )
        )

    def test_losses_that_part_are_seen(self):
        losses = [3.0 / (1 + step / 50) for step in range(60)]
        self.assertTrue(parts.compare_losses([loss * (1 + 1e-6) for loss in losses], losses)["passed"])
        early = [*losses[:5], losses[5] * 1.001, *losses[6:]]
        late = losses[:30] + [loss * 1.1 for loss in losses[30:]]
        none = [float("nan")] * 60
        for wrong in (early, late, none):
            self.assertFalse(parts.compare_losses(wrong, losses)["passed"])
        self.assertRaises(Failure, parts.compare_losses, losses[:10], losses)

    def test_the_text_is_the_same_everywhere(self):
        text = parts.made_text(200_000)
        self.assertEqual((len(text), text[:36]), (200_000, parts.made_text(36)))
        self.assertGreater(len(set(text)), 20)


class Pages(unittest.TestCase):
    """README.md, docs/performance.md and the records."""

    def test_the_pages_are_filled_from_the_record_that_is_named(self):
        name = pages.named()
        record = json.loads((ROOT / name).read_text())
        texts = {page: page.read_text() for page in pages.PAGES}
        for page, text in texts.items():
            self.assertEqual(pages.filled(page, text, record, name), text, f"scripts/gpu-report --fill {name} fills it")
        places = {found[2] for text in texts.values() for found in pages.PLACE.finditer(text)}
        self.assertEqual(places, {"record", *pages.PLACES})
        # Another record is seen, on each page.
        for row in record["parts"]["steps"]["rows"]:
            if "ms_per_step" in row:  # and no error
                row["ms_per_step"] *= 2
        for page, text in texts.items():
            self.assertNotEqual(pages.filled(page, text, record, name), text)

    def test_a_place_that_nothing_fills_is_named(self):
        self.assertRaises(Failure, pages.filled, pages.PERFORMANCE, "<!-- gpu nonsense -->1<!-- end -->", {}, "r")

    def test_a_place_on_lines_of_its_own_is_wrapped(self):
        record = {"versions": {"commit": "1234567"}, "adapter": "A GPU of a long name " * 20, "date": "2026-01-01"}
        for before in ("", "old text\n"):
            text = f"<!-- gpu short -->\n{before}<!-- end -->"
            lines = pages.filled(pages.PERFORMANCE, text, record, "r").splitlines()
            self.assertEqual((lines[0], lines[-1]), ("<!-- gpu short -->", "<!-- end -->"))
            self.assertGreater(len(lines), 4)
            self.assertLessEqual(max(map(len, lines)), pages.COLUMNS)
        self.assertEqual(
            pages.filled(pages.PERFORMANCE, "<!-- gpu record --><!-- end -->", record, "benches/records/x/r.json"),
            "<!-- gpu record -->[r.json](../benches/records/x/r.json)<!-- end -->",
        )

    def test_what_a_record_lacks_is_not_measured(self):
        empty = {
            "adapter": "A",
            "driver": None,
            "cpu": None,
            "threads": None,
            "date": "2026-01-01",
            "passed": True,
            "parts": {},
        }
        empty["versions"] = {"retrospect": "0.1.0"}
        made = {name: make(empty) for name, make in pages.PLACES.items()}
        for name in set(made) - {"machine", "short", "row-256"}:
            self.assertEqual(made[name], pages.UNKNOWN, name)
        markdown.report(empty)

    def test_the_first_record_has_the_numbers_of_its_files(self):
        folder = RECORDS / "nvidia-h200-2026-11-26"
        record = json.loads((folder / "record.json").read_text())
        times = {row["ms_per_step"] for row in record["parts"]["steps"]["rows"]} | {
            row["ms"] for row in record["parts"]["products"]["rows"]
        }
        files = [path for path in folder.glob("*.json") if path.name != "record.json" and "cpu" not in path.name]
        found = {row["ms_per_step"] for path in files for row in json.loads(path.read_text())["rows"]}
        found |= {float(line.split()[-2]) for line in (folder / "jax.txt").read_text().splitlines()}
        self.assertEqual(times, found)
        self.assertIn(f"{record['parts']['check']['checks']:,} checks passed", (folder / "check.txt").read_text())


if __name__ == "__main__":
    unittest.main()
