# SPDX-License-Identifier: BSD-3-Clause
"""The Python module without pilot-mpi: tasks, their text, how the program is found and started, and what
becomes of the lines of the hook protocol."""

import ast
import contextlib
import heapq
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from support import DEADLINE, MODULE, module
from pilot import Pilot, PilotError, Task, TaskResult

try:
    import dataclasses
except ImportError:  # Python 3.6
    dataclasses = None


class SourceTest(unittest.TestCase):
    def test_is_python_3_6(self):
        if sys.version_info >= (3, 8):
            ast.parse(MODULE.read_text(), feature_version=(3, 6))

    def test_needs_nothing_but_the_standard_library(self):
        if sys.version_info < (3, 10):
            self.skipTest("this Python does not list its own modules")
        for node in ast.walk(ast.parse(MODULE.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                self.assertIn(name.split(".")[0], sys.stdlib_module_names)


class TaskTest(unittest.TestCase):
    def test_the_fields_of_the_past_in_their_order(self):
        task = Task("a", "cmd", 2, 60, 5, "/w", {"K": "v"}, {"t": 1}, 3, 1)
        self.assertEqual(
            task.to_dict(),
            {
                "id": "a",
                "command": "cmd",
                "cores": 2,
                "timeout": 60,
                "priority": 5,
                "workdir": "/w",
                "env": {"K": "v"},
                "tags": {"t": 1},
                "max_retries": 3,
                "retries": 1,
            },
        )
        self.assertEqual(Task.from_dict(task.to_dict()), task)

    def test_defaults(self):
        a, b = Task(id="a", command="c"), Task(id="b", command="c")
        self.assertEqual((a.cores, a.timeout, a.priority, a.workdir), (1, None, 0, None))
        self.assertEqual((a.env, a.tags, a.max_retries, a.retries), ({}, {}, 0, 0))
        a.env["X"] = "1"
        a.tags["x"] = 1
        self.assertEqual((b.env, b.tags), ({}, {}))

    def test_from_dict_ignores_unknown_keys(self):
        self.assertEqual(Task.from_dict({"id": "a", "command": "c", "colour": 1}), Task("a", "c"))
        self.assertEqual(Task.from_dict({"id": "a", "command": "c", "env": None}).env, {})

    def test_from_dict_says_what_is_missing(self):
        with self.assertRaisesRegex(ValueError, "'command'"):
            Task.from_dict({"id": "a"})
        with self.assertRaisesRegex(ValueError, "'id'"):
            Task.from_dict({"command": "a"})

    def test_additions_show_only_where_they_are_set(self):
        self.assertNotIn("depends_on", Task("a", "c").to_dict())
        self.assertEqual(Task("a", "c", depends_on=["b"]).to_dict()["depends_on"], ["b"])

    def test_higher_priority_is_first(self):
        heap = []
        for name, priority in (("low", -1), ("mid", 0), ("high", 7)):
            heapq.heappush(heap, Task(name, "c", priority=priority))
        order = [heapq.heappop(heap).id for _ in range(3)]
        self.assertEqual(order, ["high", "mid", "low"])

    @unittest.skipIf(dataclasses is None, "this Python has no dataclasses")
    def test_is_a_dataclass_where_there_are_any(self):
        task = Task("a", "c", tags={"x": 1})
        self.assertEqual(dataclasses.asdict(task)["tags"], {"x": 1})
        self.assertEqual(dataclasses.replace(task, id="b"), Task("b", "c", tags={"x": 1}))

    def test_to_dict_is_a_copy(self):
        task = Task("a", "c", tags={"x": 1})
        task.to_dict()["tags"]["x"] = 2
        self.assertEqual(task.tags["x"], 1)


class ResultTest(unittest.TestCase):
    def test_the_fields_of_the_past(self):
        fields = ["task_id", "success", "returncode", "duration", "stdout_file", "stderr_file"]
        result = TaskResult("a", True, 0, 1.5, "out", "err")
        self.assertEqual(list(result.to_dict()), fields)
        self.assertEqual(TaskResult(**result.to_dict()), result)
        self.assertIsNone(result.node)

    def test_more_fields(self):
        result = TaskResult("a", False, -1, 0.1, "o", "e", node="n1", reason="timeout", attempts=2)
        self.assertEqual((result.node, result.reason, result.attempts), ("n1", "timeout", 2))
        self.assertEqual(result.to_dict()["reason"], "timeout")


class TextTest(unittest.TestCase):
    """Tasks as text, both ways."""

    def test_fields_at_their_defaults_are_left_out(self):
        self.assertEqual(
            json.loads(module._encode(Task("a", "c", retries=2))), {"id": "a", "command": "c"}
        )

    def test_all_fields(self):
        task = Task("a", ["x", "y"], 2, 0.5, -1, "w", {"B": 2, "A": "1"}, {"t": [1]}, 3)
        task.depends_on, task.stdin = ("p", "q"), Path("in")
        self.assertEqual(
            json.loads(module._encode(task)),
            {
                "id": "a",
                "command": ["x", "y"],
                "cores": 2,
                "timeout": 0.5,
                "priority": -1,
                "workdir": "w",
                "env": {"A": "1", "B": "2"},
                "tags": {"t": [1]},
                "max_retries": 3,
                "depends_on": ["p", "q"],
                "stdin": "in",
            },
        )

    def test_equal_content_gives_equal_text(self):
        one = Task("a", "c", env={"A": "1", "B": "2"})
        two = Task("a", "c", env={"B": "2", "A": "1"})
        self.assertEqual(module._encode(one), module._encode(two))

    def test_any_tags(self):
        class Number:
            def tolist(self):
                return 7

        tags = {
            "nan": float("nan"),
            "path": Path("/p"),
            "set": {1},
            (1, 2): (3,),
            "np": Number(),
            "text": "\u20ac\n",
        }
        expected = {
            "nan": "nan",
            "path": "/p",
            "set": [1],
            "(1, 2)": [3],
            "np": 7,
            "text": "\u20ac\n",
        }
        text = module._encode(Task("a", "c", tags=tags))
        self.assertEqual(json.loads(text)["tags"], expected)
        self.assertNotIn("\n", text)

    def test_an_id_is_a_text(self):
        for bad in ("", None, 5):
            with self.assertRaisesRegex(ValueError, "id"):
                module._encode(Task(bad, "c"))

    def test_forms_of_a_file(self):
        plain = [Task("a", "x"), Task("b", "y", cores=2)]
        forms = [
            '[{"id": "a", "command": "x"}, {"id": "b", "command": "y", "cores": 2}]',
            '{"tasks": [{"id": "a", "command": "x", "cores": 1}, {"id": "b", "command": "y"}],'
            ' "defaults": {"cores": 2}}',
            '{"id": "a", "command": "x"}\n\n{"id": "b", "command": "y", "cores": 2}\n',
        ]
        for text in forms:
            self.assertEqual(module._read_tasks(text, "f"), plain, text)

    def test_defaults_of_env_are_joined(self):
        text = (
            '{"tasks": [{"id": "a", "command": "x", "env": {"A": "1"}}], "defaults": {"env":'
            ' {"A": "0", "B": "2"}}}'
        )
        self.assertEqual(module._read_tasks(text, "f")[0].env, {"A": "1", "B": "2"})

    def test_tasks_without_an_id_are_numbered(self):
        tasks = module._read_tasks('[{"command": "x"}, {"id": "b", "command": "x"}]', "f")
        self.assertEqual([t.id for t in tasks], ["task-1", "b"])

    def test_what_is_no_task_file(self):
        for text, what in (
            ("echo hello", "f: not JSON"),
            ("[1]", "f: task 1: not an object"),
            ('{"a": 1}\n[', "f: not JSON"),
            ('[{"id": "x"}]', "'command'"),
        ):
            with self.assertRaisesRegex(ValueError, what):
                module._read_tasks(text, "f")


class StartTest(unittest.TestCase):
    """How pilot-mpi is found and started."""

    def setUp(self):
        self.dir = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, str(self.dir))
        self.program = self.dir / "pilot-mpi"
        self.program.write_text("#!/bin/sh\n")
        self.program.chmod(0o755)

    def test_the_program_is_named(self):
        self.assertEqual(module._find_program({"PILOT_MPI": str(self.program)}), str(self.program))
        self.assertEqual(
            module._find_program({"PILOT_MPI": "pilot-mpi", "PATH": str(self.dir)}),
            str(self.program),
        )

    def test_a_wrong_name_is_an_error_and_not_passed_over(self):
        with self.assertRaisesRegex(PilotError, "PILOT_MPI is '/no/such'"):
            module._find_program({"PILOT_MPI": "/no/such", "PATH": str(self.dir)})

    def copied(self, *parts):
        place = self.dir.joinpath("tree", *parts)
        place.mkdir(parents=True)
        shutil.copy(str(MODULE), str(place))
        return place / "pilot.py"

    def found_by(self, copy, path="/nowhere"):
        code = "import pilot; print(pilot._find_program({'PATH': %r}))" % path
        run = subprocess.run(
            [sys.executable, "-B", "-c", code],
            cwd=str(copy.parent),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        return run.stdout.strip() or run.stderr

    def test_beside_the_module_in_a_source_tree_or_installed(self):
        for where, at in (
            (["python"], "build"),
            (["lib"], "bin"),
            (["same"], "same"),
            (["share", "pilot-mpi", "python"], "bin"),
        ):
            copy = self.copied(*where)
            target = self.dir / "tree" / at / "pilot-mpi"
            target.parent.mkdir(exist_ok=True)
            shutil.copy(str(self.program), str(target))
            self.assertEqual(self.found_by(copy), str(target))
            shutil.rmtree(str(self.dir / "tree"))

    def test_on_the_path_or_an_error_that_helps(self):
        copy = self.copied("python")
        self.assertEqual(self.found_by(copy, str(self.dir)), str(self.program))
        self.assertIn("set PILOT_MPI", self.found_by(copy))

    def test_the_launcher(self):
        srun = [
            "srun",
            "--nodes=4",
            "--ntasks=4",
            "--ntasks-per-node=1",
            "--cpu-bind=none",
            "--mem=0",
            "--no-kill",
            "--kill-on-bad-exit=0",
            "--wait=0",
            "--input=0",
        ]
        job = {"SLURM_JOB_ID": "1", "SLURM_NNODES": "4", "SLURMD_NODENAME": "n1"}
        one = dict(job, SLURM_NNODES="1")
        cases = [
            ({}, []),
            (job, srun),
            (dict(job, SLURM_JOB_NUM_NODES="4", SLURM_NNODES="1"), srun),
            (dict(job, SLURM_STEP_ID="0"), srun + ["--overlap"]),
            (one, []),
            # salloc leaves the shell on the login node
            ({"SLURM_JOB_ID": "1", "SLURM_NNODES": "4"}, srun),
            (dict(job, PILOT_LAUNCH=""), []),
            (
                dict(job, PILOT_LAUNCH="mpirun -np 4 --x 'a b'"),
                ["mpirun", "-np", "4", "--x", "a b"],
            ),
            # every node runs the program already
            (dict(job, PMIX_RANK="0", SLURM_STEP_NUM_TASKS="4"), []),
            (
                dict(job, PMIX_RANK="0", SLURM_STEP_NUM_TASKS="1", SLURM_STEP_ID="3"),
                srun + ["--overlap"],
            ),
        ]
        for environ, expected in cases:
            self.assertEqual(module._launcher(environ), expected, environ)
        alone = module._launcher({"SLURM_JOB_ID": "1", "SLURM_NNODES": "1"})
        self.assertIn("--nodes=1", alone)

    def test_the_rank(self):
        self.assertIsNone(module._rank({}))
        self.assertIsNone(module._rank({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"}))
        self.assertEqual(
            module._rank({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"}), 2
        )
        self.assertEqual(module._rank({"PMI_RANK": "0", "PMI_SIZE": "2"}), 0)

    def test_as_a_program(self):
        saved = dict(os.environ)
        self.addCleanup(lambda: (os.environ.clear(), os.environ.update(saved)))
        os.environ.update(PILOT_MPI=str(self.program), PILOT_LAUNCH="run it")
        p = str(self.program)
        for words, expected in (
            ("--cores 8 --tasks t", "run it %s --fresh --cores 8 --tasks t"),
            ("--cores 8 --db=s --tasks t", "run it %s --cores 8 --db=s --tasks t"),
            ("--db s --resume", "run it %s --db s --resume"),
            ("--resume", "run it %s --resume"),
            ("add --id a", "%s add --id a"),
            ("", "run it %s --fresh"),
        ):
            self.assertEqual(" ".join(module._program_command(words.split())), expected % p)


class FakeProcess:
    def __init__(self):
        self.sent = []

    def send(self, line):
        self.sent.append(json.loads(line))

    def flush(self):
        pass

    def close_input(self):
        pass


class ProtocolTest(unittest.TestCase):
    """What becomes of lines as docs/hooks.md has them."""

    def setUp(self):
        self.dir = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, str(self.dir))
        self.pilot = Pilot(4, workdir=self.dir / "runs")
        self.log = []
        self.pilot.log = self.log.append
        self.process = FakeProcess()

    def add_and_start(self, *tasks):
        self.pilot.add_tasks(tasks)
        self.pilot._process = self.process

    def hear(self, **event):
        self.pilot._handle(self.process, json.dumps(event).encode())

    def ended(self, seq, task_id, **more):
        result = {
            "task_id": task_id,
            "status": "completed",
            "success": True,
            "returncode": 0,
            "reason": "exit",
            "signal": 0,
            "duration": 1.0,
            "stdout_file": "/o",
            "stderr_file": "/e",
            "node": "n1",
            "attempts": 1,
        }
        result.update(more)
        task = {"id": task_id, "command": "c", "tags": {"told": 1}}
        self.hear(event="ended", seq=seq, task=task, result=result, counts={})
        return self.process.sent[-1]

    def places(self):
        p = self.pilot
        return (p.pending.qsize(), len(p.running), len(p.completed), len(p.failed))

    def test_a_task_is_in_one_place_at_a_time(self):
        self.add_and_start(Task("a", "c", cores=3), Task("b", "c"))
        self.assertEqual(self.places(), (2, 0, 0, 0))
        self.assertFalse(self.pilot.pending.empty())
        self.hear(event="started", id="a", node="n1", cores=3, attempt=1)
        self.assertEqual((self.places(), self.pilot.cores_free), ((1, 1, 0, 0), 1))
        self.hear(event="started", id="a", node="n2", cores=3, attempt=2)
        self.assertEqual(self.places(), (1, 1, 0, 0))
        self.ended(1, "a")
        self.assertEqual((self.places(), self.pilot.cores_free), ((1, 0, 1, 0), 4))
        self.ended(2, "b", status="failed", success=False, returncode=3)
        self.assertEqual(self.places(), (0, 0, 1, 1))
        self.assertTrue(self.pilot.pending.empty())
        self.assertEqual(self.pilot.failed["b"].returncode, 3)

    def test_skipped_and_cancelled_are_neither_completed_nor_failed(self):
        self.add_and_start(Task("a", "c"), Task("b", "c"))
        self.ended(1, "a", status="skipped", success=False)
        self.ended(2, "b", status="cancelled", success=False)
        self.assertEqual(self.places(), (0, 0, 0, 0))
        self.assertEqual((list(self.pilot.skipped), list(self.pilot.cancelled)), (["a"], ["b"]))

    def test_every_event_is_answered_with_all_that_its_callbacks_add(self):
        task = Task("a", "c", tags={"object": object})
        seen = []

        @self.pilot.on_complete
        def first(task, result, pilot):
            seen.append((task, result.node, pilot.pending.qsize()))
            pilot.add_task(Task("x", "c"))
            pilot.cancel("y")
            return [Task("b", "c", cores=2), {"id": "d", "command": "c"}]

        self.pilot.on_complete(lambda task, result, pilot: Task("e", "c"))
        self.pilot.on_complete(lambda task, result, pilot: None)
        self.add_and_start(task)
        answer = self.ended(17, "a", attempts=3)
        self.assertIs(seen[0][0], task)
        self.assertEqual((seen[0][1:], task.retries), (("n1", 0), 2))
        self.assertEqual([t["id"] for t in answer["tasks"]], ["x", "b", "d", "e"])
        self.assertEqual((answer["ack"], answer["cancel"]), (17, ["y"]))
        self.assertEqual(self.pilot.pending.qsize(), 4)
        self.assertEqual(len(self.process.sent), 1)

    def test_a_failing_callback_is_logged_and_keeps_what_was_added(self):
        @self.pilot.on_complete
        def broken(task, result, pilot):
            yield Task("b", "c")
            raise KeyError("the cause")

        self.pilot.on_complete(lambda task, result, pilot: 5)
        self.pilot.on_complete(lambda task, result, pilot: ["no task", Task("d", "c")])
        self.add_and_start(Task("a", "c"))
        answer = self.ended(1, "a")
        self.assertEqual([t["id"] for t in answer["tasks"]], ["b", "d"])
        self.assertEqual(len(self.log), 3)
        self.assertRegex(self.log[0], r"broken failed for task 'a':\nTraceback(.|\n)*the cause")
        self.assertIn("not iterable", self.log[1])
        self.assertIn("is not a Task", self.log[2])

    def test_the_same_id(self):
        self.add_and_start(Task("a", "c"))
        self.pilot.add_task(Task("a", "c"))
        self.assertEqual((self.process.sent, self.pilot.pending.qsize()), ([], 1))
        with self.assertRaisesRegex(ValueError, "'a' is there already"):
            self.pilot.add_task(Task("a", "other"))
        # A task cannot be run again by returning it: it is said, not ignored.
        self.pilot.on_complete(lambda task, result, pilot: task)
        self.assertEqual(self.ended(1, "a")["tasks"], [])
        self.assertIn("does not run again", self.log[0])

    def test_a_task_of_another_origin(self):
        seen = []
        self.pilot.on_complete(lambda task, result, pilot: seen.append(task))
        self.add_and_start()
        self.hear(event="started", id="z", node="n1", cores=2, attempt=1)
        self.assertEqual((self.pilot.running["z"].cores, self.pilot.cores_free), (2, 2))
        self.ended(1, "z")
        self.assertEqual((seen[0].id, seen[0].tags), ("z", {"told": 1}))

    def test_a_refused_task_does_not_wait_for_ever(self):
        self.add_and_start(Task("a", "c"))
        self.pilot.add_task(Task("b", "c", cores=99))
        self.assertEqual(self.pilot.pending.qsize(), 2)
        self.hear(event="error", ack=1, message="task 'b': 99 cores are more than any node has")
        self.assertEqual(self.pilot.pending.qsize(), 1)
        self.assertIn("99 cores", self.log[0])
        self.pilot.add_task(Task("b", "c"))  # corrected
        self.pilot.add_task(Task("../d", "c"))
        self.assertEqual(self.pilot.pending.qsize(), 3)
        self.hear(event="error", ack=2, message="hook:1: task number 1: id '../d' would leave ...")
        self.assertEqual(self.pilot.pending.qsize(), 2)

    def test_outside_of_callbacks_lines_of_their_own(self):
        self.add_and_start()
        self.pilot.add_task(Task("a", "c"))
        self.pilot.cancel("a", "b")
        self.pilot.stop("done")
        self.assertEqual(
            self.process.sent,
            [
                {"tasks": [{"id": "a", "command": "c"}]},
                {"tasks": [], "cancel": ["a", "b"]},
                {"tasks": [], "stop": "done"},
            ],
        )

    def test_another_version_is_refused(self):
        self.hear(event="hello", protocol=1, version="0.1", cores=8)
        with self.assertRaisesRegex(PilotError, "version 2"):
            self.hear(event="hello", protocol=2, version="9", cores=8)

    def test_other_lines_are_shown(self):
        self.pilot._handle(self.process, b"srun: words of a launcher\xff")
        self.pilot._handle(self.process, b"[1]")
        self.pilot._handle(self.process, b"")
        self.assertEqual(self.log, ["srun: words of a launcher\ufffd", "[1]"])

    def test_lines_are_put_together_from_any_pieces(self):
        text = b"one\ntwo three\n\nfour\n"
        for size in range(1, len(text) + 1):
            process = module._Process.__new__(module._Process)
            process._partial = []
            lines = []
            for at in range(0, len(text), size):
                lines += process._split(text[at : at + size])
            self.assertEqual(lines, [b"one", b"two three", b"", b"four"], size)

    def test_neither_side_waits_for_the_other(self):
        # Writes all it has before it reads; and the same is done to it.
        code = (
            "import sys; sys.stdout.write('line\\n' * 400000); sys.stdout.flush();"
            " data = sys.stdin.buffer.read(); print('got %d' % len(data), file=sys.stderr)"
        )
        caught = io.StringIO()
        with contextlib.redirect_stderr(caught):
            process = module._Process([sys.executable, "-c", code])
            for _ in range(1000):
                process.send("x" * 2999)
            count, deadline = 0, time.monotonic() + DEADLINE
            while not process.ended and time.monotonic() < deadline:
                count += len(process.lines(1.0))
                if count == 400000 and not process._unsent:
                    process.close_input()
            self.assertTrue(process.ended)
            self.assertEqual((process.wait(), count), (0, 400000))
        self.assertEqual(caught.getvalue(), "got 3000000\n")

    def test_nothing_to_run(self):
        report = self.pilot.run()
        self.assertEqual((report["completed"], report["failed"]), (0, 0))
        self.assertLess(report["wall_time"], 1)

    def test_out_of_order(self):
        for call in (lambda: self.pilot.stop("x"), lambda: self.pilot.cancel("x")):
            with self.assertRaisesRegex(RuntimeError, "nothing runs"):
                call()


if __name__ == "__main__":
    unittest.main()
