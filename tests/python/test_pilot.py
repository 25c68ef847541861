# SPDX-License-Identifier: BSD-3-Clause
"""The Python module. What it makes of its input is tested by itself; everything else with a real
pilot-mpi (PILOT_MPI, or the one found beside the module or on PATH), in directories of its own below
PILOT_TEST_TMP.

    python3 tests/python/test_pilot.py [-v] [CLASS[.test_name]]
"""

import ast
import contextlib
import heapq
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
import uuid
from pathlib import Path

try:
    import dataclasses
except ImportError:  # Python 3.6
    dataclasses = None

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODULE = ROOT / "python" / "pilot.py"
sys.path.insert(0, str(MODULE.parent))

import pilot as module  # noqa: E402
from pilot import Pilot, PilotError, PilotRefused, Task, TaskResult  # noqa: E402

DEADLINE = 60  # for whatever is waited for, seconds

# Every process that is started from here inherits it; so the ones left behind are found.
MARKER = "PY_TEST_MARKER=%s" % uuid.uuid4()
os.environ.__setitem__(*MARKER.split("="))
os.environ["OMPI_ALLOW_RUN_AS_ROOT"] = os.environ["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"


def marked():
    """Pids of living processes that were started from here."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if int(directory.name) == os.getpid():
                continue
            if MARKER.encode() in (directory / "environ").read_bytes():
                found.append(int(directory.name))
        except OSError:
            pass
    return found


def wait_until(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("not within %d s: %s%s" % (DEADLINE, what, describe(marked())))
        time.sleep(0.01)


def kill(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def describe(pids):
    text = ""
    for pid in pids:
        with contextlib.suppress(OSError):
            command = Path("/proc/%d/cmdline" % pid).read_bytes().replace(b"\0", b" ")
            wchan = Path("/proc/%d/wchan" % pid).read_text()
            parent = Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[:2]
            text += "\n  %d %s %s %s" % (pid, command.decode("utf-8", "replace"), wchan, parent)
    return text


def skip(reason):
    print("SKIP: %s" % reason)  # tests/run.sh shows such lines
    raise unittest.SkipTest(reason)


def write(path, text):
    path.write_text(textwrap.dedent(text))
    return path


# ---- Without pilot-mpi ---------------------------------------------------------------------------


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


# ---- With pilot-mpi ------------------------------------------------------------------------------


class RealTest(unittest.TestCase):
    """A directory of its own, which is the current one; and nothing left running in the end."""

    @classmethod
    def setUpClass(cls):
        try:
            module._find_program()
        except PilotError as error:
            if os.environ.get("PILOT_MPI"):
                raise
            skip(error)

    def setUp(self):
        base = os.environ.get("PILOT_TEST_TMP") or str(ROOT / "build" / "test-tmp")
        os.makedirs(base, exist_ok=True)
        self.dir = Path(tempfile.mkdtemp(prefix="python.", dir=base))
        self.addCleanup(shutil.rmtree, str(self.dir), ignore_errors=True)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(str(self.dir))
        self.addCleanup(self.nothing_is_left)
        # What pilot-mpi and the module write.
        self.err = io.StringIO()
        redirect = contextlib.redirect_stderr(self.err)
        redirect.__enter__()
        self.addCleanup(redirect.__exit__, None, None, None)

    def nothing_is_left(self):
        try:
            wait_until(lambda: not marked(), "processes are left")
        except AssertionError:
            kill(marked())
            raise
        self.assertEqual(list(self.dir.glob("**/.pilot-py-*")), [])

    def pilot(self, total_cores=4, **more):
        return Pilot(total_cores, **more)

    def statuses(self, path):
        db = sqlite3.connect(str(path))
        try:
            return dict(db.execute("SELECT id, status FROM tasks"))
        finally:
            db.close()


class RunTest(RealTest):
    def test_tasks_run_and_are_told(self):
        pilot = self.pilot(2, workdir="w")
        seen = {}
        pilot.on_complete(lambda task, result, pilot: seen.update({task.id: (task, result)}))
        marker = object()
        pilot.add_task(Task("a", 'echo "$X"; echo oops >&2', env={"X": "y"}, tags={"m": marker}))
        pilot.add_tasks([Task("b", "exit 3"), Task("c", ["printf", "%s", "a b"], cores=2)])
        report = pilot.run()
        self.assertEqual((report["completed"], report["failed"]), (2, 1))
        self.assertGreater(report["wall_time"], 0)
        self.assertFalse(report["stopped"])
        self.assertEqual(sorted(pilot.completed), ["a", "c"])
        self.assertEqual(list(pilot.failed), ["b"])
        self.assertEqual((pilot.running, pilot.pending.qsize()), ({}, 0))
        a, b = seen["a"], seen["b"]
        self.assertIs(a[0].tags["m"], marker)
        self.assertTrue(a[1].success)
        self.assertEqual(a[1].stdout_file, str(self.dir / "w" / "a" / "stdout.txt"))
        self.assertEqual(Path(a[1].stdout_file).read_text(), "y\n")
        self.assertEqual(Path(a[1].stderr_file).read_text(), "oops\n")
        self.assertEqual((b[1].success, b[1].returncode, b[1].reason), (False, 3, "exit"))
        self.assertEqual((self.dir / "w" / "c" / "stdout.txt").read_text(), "a b")
        self.assertIn("Completed: 2 | Failed: 1", self.err.getvalue())

    def test_follow_ups(self):
        pilot = self.pilot()

        @pilot.on_complete
        def grow(task, result, pilot):
            depth = task.tags["depth"]
            if depth < 5:
                pilot.add_task(Task(task.id + "l", "true", tags={"depth": depth + 1}))
                return [Task(task.id + "r", "true", tags={"depth": depth + 1})]

        pilot.add_task(Task("t", "true", tags={"depth": 0}))
        self.assertEqual(pilot.run()["completed"], 63)
        expected = {"t" + format(i, "0%db" % n) for n in range(1, 6) for i in range(2**n)} | {"t"}
        names = {name.replace("l", "0").replace("r", "1") for name in pilot.completed}
        self.assertEqual(names, expected)

    def test_follow_ups_may_depend_on_what_has_ended(self):
        pilot = self.pilot()
        pilot.on_complete(
            lambda task, result, pilot: (
                [Task("b", "true", depends_on=["a"])] if task.id == "a" else None
            )
        )
        pilot.add_task(Task("a", "true"))
        self.assertEqual(pilot.run()["completed"], 2)

    def test_callbacks_see_every_task_in_one_place(self):
        pilot = self.pilot()
        known = {"n": 10}
        wrong = []

        def look(task, result, pilot):
            here = len(pilot.completed) + len(pilot.failed) + len(pilot.running)
            if here + pilot.pending.qsize() != known["n"]:
                wrong.append((task.id, here, pilot.pending.qsize()))
            if not 0 <= pilot.cores_free <= pilot.total_cores:
                wrong.append((task.id, pilot.cores_free))
            if known["n"] < 40:
                known["n"] += 1
                return [Task("f%d" % known["n"], "true")]

        pilot.on_complete(look)
        pilot.add_tasks(Task("t%d" % i, "sleep 0.01") for i in range(10))
        self.assertEqual(pilot.run()["completed"], 40)
        self.assertEqual(wrong, [])

    def test_higher_priority_and_max_workers(self):
        pilot = self.pilot()
        order = []
        pilot.on_complete(lambda task, result, pilot: order.append(task.id))
        for name, priority in (("low", 1), ("none", 0), ("high", 9)):
            pilot.add_task(Task(name, "true", priority=priority))
        pilot.run(max_workers=1)
        self.assertEqual(order, ["high", "low", "none"])

    def test_retries(self):
        pilot = self.pilot()
        pilot.add_task(Task("a", 'test "$PILOT_ATTEMPT" = 3', max_retries=4))
        pilot.add_task(Task("b", "false", max_retries=1))
        seen = {}
        pilot.on_complete(lambda task, result, pilot: seen.update({task.id: task.retries}))
        pilot.run()
        self.assertEqual(pilot.completed["a"].attempts, 3)
        self.assertEqual(pilot.failed["b"].attempts, 2)
        self.assertEqual(seen, {"a": 2, "b": 1})

    def test_a_timeout(self):
        pilot = self.pilot()
        pilot.add_task(Task("a", "sleep 60", timeout=0.2))
        pilot.run()
        result = pilot.failed["a"]
        self.assertEqual((result.returncode, result.reason), (-1, "timeout"))
        self.assertRegex(Path(result.stderr_file).read_text(), "(?i)time")

    def test_dependencies(self):
        pilot = self.pilot()
        pilot.add_task(Task("a", "false"))
        pilot.add_task(Task("b", "true", depends_on=["a"]))
        report = pilot.run()
        self.assertEqual((report["failed"], report["skipped"]), (1, 1))
        self.assertFalse(pilot.skipped["b"].success)

    def test_a_callback_that_fails(self):
        pilot = self.pilot()

        @pilot.on_complete
        def broken(task, result, pilot):
            raise ZeroDivisionError("so it is")

        pilot.on_complete(lambda t, r, p: [Task("b", "true")] if t.id == "a" else None)
        pilot.add_task(Task("a", "true"))
        self.assertEqual(pilot.run()["completed"], 2)
        self.assertIn("ZeroDivisionError: so it is", self.err.getvalue())
        self.assertIn("Traceback", self.err.getvalue())

    def test_a_follow_up_that_cannot_be_is_said_and_the_rest_goes_on(self):
        pilot = self.pilot()

        def add(task, result, pilot):
            if task.id == "a":
                return [Task("../b", "true"), Task("c", "true"), Task("d", "true", cores=0)]

        pilot.on_complete(add)
        pilot.add_task(Task("a", "true"))
        report = pilot.run()
        self.assertEqual(sorted(pilot.completed), ["a", "c"])
        self.assertEqual((report["completed"], pilot.pending.qsize()), (2, 0))
        self.assertIn("../b", self.err.getvalue())

    def test_load_json(self):
        write(
            self.dir / "t.json", '[{"id": "a", "command": "true", "mine": 1}, {"command": "true"}]'
        )
        pilot = self.pilot()
        self.assertEqual(pilot.load_json("t.json"), 2)
        pilot.run()
        self.assertEqual(sorted(pilot.completed), ["a", "task-2"])

    def test_cancel_and_stop(self):
        pilot = self.pilot(1)

        def on(task, result, pilot):
            if task.id == "a":
                pilot.cancel("b")
            if task.id == "b":
                pilot.stop("seen enough")

        pilot.on_complete(on)
        for name in "abc":
            pilot.add_task(Task(name, "true" if name == "a" else "sleep 60", priority=-ord(name)))
        report = pilot.run()
        self.assertEqual((list(pilot.completed), list(pilot.cancelled)), (["a"], ["b"]))
        self.assertTrue(report["stopped"])
        self.assertEqual((report["exit_status"], report["unfinished"]), (3, 1))
        self.assertEqual((pilot.running, pilot.pending.qsize()), ({}, 1))

    def test_added_from_another_thread(self):
        pilot = self.pilot()
        pilot.add_task(Task("first", "while ! test -e ../added/stdout.txt; do sleep 0.02; done"))
        thread = threading.Timer(0.5, pilot.add_task, [Task("added", "true")])
        thread.start()
        report = pilot.run()
        thread.join()
        self.assertEqual(report["completed"], 2)

    def test_much_to_say_on_both_sides(self):
        # Far more than both pipes hold, while the callback is slow to take it.
        pilot = self.pilot(options=["--quiet"])
        big = {"text": "x" * 20000}

        def on(task, result, pilot):
            if task.id == "t0":
                time.sleep(0.5)
            if not task.id.startswith("f"):
                return [Task("f%s-%d" % (task.id, i), "true", tags=big) for i in range(3)]

        pilot.on_complete(on)
        pilot.add_tasks(Task("t%d" % i, "true", tags=big) for i in range(150))
        self.assertEqual(pilot.run()["completed"], 600)

    def test_attributes_of_the_past(self):
        pilot = Pilot(total_cores=3, workdir="here")
        self.assertEqual((pilot.total_cores, pilot.cores_free), (3, 3))
        self.assertEqual(pilot.workdir, Path("here"))
        self.assertTrue(pilot.workdir.is_dir())
        self.assertTrue(pilot.pending.empty())
        pilot.log("a message")
        self.assertRegex(self.err.getvalue(), r"^\d{4}-.* a message\n$")

    def test_all_cores(self):
        pilot = Pilot()
        pilot.add_task(Task("a", "true"))
        pilot.run()
        self.assertGreater(pilot.total_cores, 0)


class StateTest(RealTest):
    """What is kept from one run to the next."""

    def test_without_a_database_nothing_of_an_earlier_run_counts(self):
        for _ in range(2):
            pilot = self.pilot()
            pilot.add_task(Task("a", "echo x >>../count"))
            self.assertEqual(pilot.run()["completed"], 1)
        self.assertEqual(Path("pilot_runs/count").read_text(), "x\nx\n")

    def test_several_pilots_and_a_second_run(self):
        one, two = self.pilot(workdir="one"), self.pilot(workdir="two")
        one.add_task(Task("a", "true"))
        two.add_task(Task("b", "true"))
        self.assertEqual((one.run()["completed"], two.run()["completed"]), (1, 1))
        one.add_task(Task("c", "true"))
        self.assertEqual(one.run()["completed"], 2)
        self.assertEqual(sorted(one.completed), ["a", "c"])

    def test_a_second_pilot_adds_to_the_database(self):
        for i, name in enumerate("ab", 1):
            pilot = self.pilot(db_path="s.db")
            pilot.add_task(Task(name, "echo x >>../count"))
            self.assertEqual(pilot.run()["completed"], i)
        self.assertEqual(self.statuses("s.db"), {"a": "completed", "b": "completed"})
        self.assertEqual(Path("pilot_runs/count").read_text(), "x\nx\n")

    def test_the_same_program_again_runs_nothing_twice(self):
        calls = []
        for _ in range(3):
            pilot = self.pilot(db_path="s.db")

            def more(task, result, pilot):
                calls.append(task.id)
                return [Task("b", "false")] if task.id == "a" else None

            pilot.on_complete(more)
            pilot.add_task(Task("a", "echo x >>../count"))
            report = pilot.run()
            self.assertEqual((report["completed"], report["failed"]), (1, 1))
        self.assertEqual(calls, ["a", "b"])
        self.assertEqual(Path("pilot_runs/count").read_text(), "x\n")

    def test_resume_counts_and_knows_what_has_ended(self):
        pilot = self.pilot(db_path="s.db", workdir="w")
        pilot.on_complete(lambda t, r, p: p.stop("enough") if t.id == "b" else None)
        commands = {"a": "true", "b": "exit 3", "c": "test -e ../now || exec sleep 1000"}
        for i, name in enumerate("abc"):
            pilot.add_task(Task(name, commands[name], priority=-i, tags={"i": i}))
        self.assertTrue(pilot.run(max_workers=1)["stopped"])
        Path("w/now").touch()
        again = self.pilot(db_path="s.db", workdir="w")
        pending, done = again.resume()
        self.assertEqual((pending, done), (1, 2))
        self.assertEqual(again.pending.qsize(), 1)
        self.assertEqual((list(again.completed), list(again.failed)), (["a"], ["b"]))
        self.assertEqual(again.failed["b"].returncode, 3)
        self.assertEqual(again.completed["a"].stdout_file, str(self.dir / "w/a/stdout.txt"))
        seen = []
        again.on_complete(lambda t, r, p: seen.append((t.id, t.tags, sorted(p.completed))))
        report = again.run()
        self.assertEqual((report["completed"], report["failed"]), (2, 1))
        self.assertEqual(seen, [("c", {"i": 2}, ["a", "c"])])

    def test_resume_of_nothing(self):
        self.assertEqual(tuple(self.pilot().resume()), (0, 0))
        self.assertEqual(tuple(self.pilot(db_path="none.db").resume()), (0, 0))
        self.assertFalse(os.path.exists("none.db"))

    def test_retry_failed(self):
        pilot = self.pilot(db_path="s.db")
        pilot.add_task(Task("a", "test -e ../now"))
        self.assertEqual(pilot.run()["failed"], 1)
        Path("pilot_runs/now").touch()
        pilot = self.pilot(db_path="s.db", options=["--retry-failed"])
        self.assertEqual(pilot.resume().pending, 1)
        report = pilot.run()
        self.assertEqual((report["completed"], report["failed"]), (1, 0))

    def test_a_known_id_with_other_content_is_refused(self):
        pilot = self.pilot(db_path="s.db")
        pilot.add_task(Task("a", "true"))
        pilot.run()
        pilot = self.pilot(db_path="s.db")
        pilot.add_task(Task("a", "false"))
        for kind in (ValueError, RuntimeError, PilotRefused):
            with self.assertRaisesRegex(kind, "'a'"):
                pilot.run()
        self.assertEqual(self.statuses("s.db"), {"a": "completed"})

    def test_a_task_that_cannot_be_is_refused_before_anything_runs(self):
        pilot = self.pilot()
        pilot.add_task(Task("good", "true"))
        pilot.add_task(Task("bad", "true", cores="many"))
        with self.assertRaisesRegex(ValueError, "bad.*cores"):
            pilot.run()
        self.assertFalse(Path("pilot_runs/good").exists())

    def test_a_file_that_is_no_database(self):
        write(
            self.dir / "s.db",
            "no database, but a text that is long enough to be read as one\n" * 40,
        )
        pilot = self.pilot(db_path="s.db")
        pilot.add_task(Task("a", "true"))
        with self.assertRaisesRegex(PilotError, "s.db"):
            pilot.run()

    def test_a_database_that_another_pilot_has(self):
        first = self.start_campaign("sleep 60", "s.db")
        pilot = self.pilot(db_path="s.db")
        pilot.add_task(Task("b", "true"))
        with self.assertRaisesRegex(PilotRefused, "s.db"):
            pilot.run()
        first.send_signal(signal.SIGINT)
        first.wait(DEADLINE)

    def start_campaign(self, command, db):
        write(
            self.dir / "campaign.py",
            """
            import sys
            from pilot import Pilot, Task
            pilot = Pilot(2, db_path=%r)
            pilot.add_task(Task("a", "touch ../started; %s"))
            try:
                pilot.run()
            except KeyboardInterrupt:
                sys.exit("interrupted")
            """ % (db, command),
        )
        process = start_python("campaign.py", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(Path("pilot_runs/started").exists, "the task starts")
        return process


def start_python(*words, **more):
    environ = dict(os.environ, PYTHONPATH=str(MODULE.parent), PYTHONDONTWRITEBYTECODE="1")
    environ.update(more.pop("env", {}))
    return subprocess.Popen([sys.executable] + list(words), env=environ, **more)


def run_python(*words, **more):
    """Exit status, standard output, standard error."""
    process = start_python(
        *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, **more
    )
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, err


class EndTest(RealTest):
    """Ends before the end."""

    CAMPAIGN = """
        import os, sys
        from pilot import Pilot, Task
        pilot = Pilot(2, db_path="s.db")
        pilot.add_task(Task("a", "touch ../started; exec sleep 1000"))
        try:
            pilot.run()
        except KeyboardInterrupt:
            print("interrupted", pilot.pending.qsize())
            sys.exit(7)
        """

    def start(self):
        write(self.dir / "campaign.py", self.CAMPAIGN)
        process = start_python(
            "campaign.py", stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True
        )
        wait_until(Path("pilot_runs/started").exists, "the task starts")
        return process

    def test_an_interrupt_ends_the_tasks_first(self):
        process = self.start()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE)
        self.assertEqual((process.returncode, out), (7, "interrupted 1\n"), err)
        self.assertIn("Stopped: interrupted", err)
        self.assertEqual(marked(), [])
        self.assertEqual(self.statuses("s.db"), {"a": "pending"})

    def test_nothing_outlives_a_killed_program(self):
        process = self.start()
        process.kill()
        process.communicate(timeout=DEADLINE)
        wait_until(lambda: not marked(), "pilot-mpi and its task end")
        self.assertEqual(self.statuses("s.db"), {"a": "pending"})
        # What it could not clear away, the next one does.
        self.assertEqual(len(list(Path("pilot_runs").glob(".pilot-py-*"))), 1)
        pilot = self.pilot(db_path="s.db")
        pilot.on_complete(lambda task, result, pilot: pilot.cancel("a"))
        pilot.add_task(Task("b", "true"))
        self.assertEqual(pilot.run()["cancelled"], 1)

    def test_exit_in_a_callback(self):
        pilot = self.pilot()

        @pilot.on_complete
        def leave(task, result, pilot):
            sys.exit(5)

        pilot.add_tasks([Task("a", "true"), Task("b", "sleep 1000")])
        with self.assertRaises(SystemExit) as caught:
            pilot.run()
        self.assertEqual((caught.exception.code, marked()), (5, []))

    def test_an_event_that_was_not_answered_is_told_again(self):
        def run(end):
            pilot = self.pilot(db_path="s.db")
            calls = []

            @pilot.on_complete
            def on(task, result, pilot):
                calls.append(task.id)
                pilot.add_task(Task("b", "true"))
                if end:
                    raise KeyboardInterrupt

            pilot.add_task(Task("a", "echo x >>../count"))
            with contextlib.suppress(KeyboardInterrupt):
                pilot.run()
            return calls

        self.assertEqual(run(True), ["a"])
        self.assertEqual(self.statuses("s.db"), {"a": "completed"})
        self.assertEqual(run(False), ["a", "b"])
        self.assertEqual(run(False), [])
        self.assertEqual(Path("pilot_runs/count").read_text(), "x\n")

    def test_a_killed_pilot_mpi_is_an_error(self):
        pilot = self.pilot()

        def kill():
            wait_until(Path("pilot_runs/started").exists, "the task starts")
            pilot._process._popen.kill()

        thread = threading.Thread(target=kill)
        thread.start()
        pilot.add_task(Task("a", "touch ../started; exec sleep 1000"))
        with self.assertRaisesRegex(PilotError, "exit status -9"):
            pilot.run()
        thread.join()
        self.assertEqual((pilot.running, pilot.pending.qsize()), ({}, 1))

    def test_a_signal_to_pilot_mpi_stops_the_run(self):
        pilot = self.pilot(db_path="s.db")
        pilot.add_task(Task("a", "exec sleep 1000"))

        def end():
            wait_until(Path("pilot_runs/a/stdout.txt").exists, "the task starts")
            pilot._process._popen.terminate()

        thread = threading.Thread(target=end)
        thread.start()
        report = pilot.run()
        thread.join()
        self.assertTrue(report["stopped"])
        self.assertEqual(report["unfinished"], 1)

    def test_kills_at_random_moments(self):
        write(
            self.dir / "campaign.py",
            """
            from pilot import Pilot, Task
            def task(name):
                return Task(name, 'sleep 0.02; echo "$PILOT_TASK_ID" >>../log', tags={"depth": len(name)})
            pilot = Pilot(4, db_path="s.db", options=["--quiet"])
            @pilot.on_complete
            def grow(task_, result, pilot):
                if task_.tags["depth"] < 9:
                    return [task(task_.id + "0"), task(task_.id + "1")]
            pilot.add_task(task("t"))
            print(pilot.run()["completed"])
            """,
        )
        expected = {"t"} | {"t" + format(i, "0%db" % n) for n in range(1, 9) for i in range(2**n)}
        seed = random.randrange(1 << 32)
        moments = random.Random(seed)
        log = Path("pilot_runs/log")
        kills, committed = 0, {}
        for _ in range(8):
            process = start_python(
                "campaign.py", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moments.uniform(0.05, 0.4))
            if process.poll() is None:
                everything = moments.random() < 0.5
                kill([process.pid])
                while everything and marked():
                    kill(marked())
                kills += 1
            process.wait()
            wait_until(lambda: not marked(), "pilot-mpi ends")
            self.assert_not_run_since(committed, log, seed)
            if Path("s.db").exists():
                with contextlib.suppress(
                    sqlite3.OperationalError
                ):  # killed before there were tables
                    done = {k for k, v in self.statuses("s.db").items() if v == "completed"}
                    runs = log.read_text().split() if log.exists() else []
                    committed = {name: runs.count(name) for name in done}
        self.assertEqual(
            run_python("campaign.py")[:2], (0, "%d\n" % len(expected)), "seed %d" % seed
        )
        self.assert_not_run_since(committed, log, seed)
        self.assertEqual(set(self.statuses("s.db")), expected)
        self.assertEqual(set(log.read_text().split()), expected)
        self.assertGreater(kills, 3)

    def assert_not_run_since(self, committed, log, seed):
        runs = log.read_text().split() if log.exists() else []
        again = [name for name, count in committed.items() if runs.count(name) != count]
        self.assertEqual(
            again, [], "run again after their completion was committed; seed %d" % seed
        )


class ProgramTest(RealTest):
    """python pilot.py"""

    def setUp(self):
        super().setUp()
        write(self.dir / "tasks.json", '[{"id": "a", "command": "echo x >>../count", "cores": 1}]')

    def test_the_command_line_of_the_past(self):
        words = [str(MODULE), "--cores", "8", "--tasks", "tasks.json", "--workdir", "w"]
        for _ in range(2):
            status, out, err = run_python(*words, "--max-workers", "2")
            self.assertEqual(status, 0, err)
            self.assertIn("Completed: 1 | Failed: 0", out + err)
        self.assertEqual(Path("w/count").read_text(), "x\nx\n")

    def test_with_a_database(self):
        words = [str(MODULE), "--cores", "8", "--db", "state.db"]
        self.assertEqual(run_python(*words, "--tasks", "tasks.json")[0], 0)
        self.assertEqual(run_python(*words, "--resume")[0], 0)
        status, _, err = run_python(*words, "--tasks", "tasks.json")
        self.assertEqual(status, 2)
        self.assertIn("--resume", err)
        self.assertEqual(Path("pilot_runs/count").read_text(), "x\n")

    def test_without_the_program(self):
        status, _, err = run_python(str(MODULE), "--tasks", "x", env={"PILOT_MPI": "/no/such"})
        self.assertEqual(status, 2)
        self.assertIn("pilot.py: PILOT_MPI is '/no/such'", err)


class LauncherTest(RealTest):
    """Several ranks."""

    CAMPAIGN = """
        from pilot import Pilot, Task
        pilot = Pilot(4, workdir="w")
        print("before")
        @pilot.on_complete
        def more(task, result, pilot):
            if task.id < "c":
                return [Task(chr(ord(task.id) + 1), "true")]
        pilot.add_task(Task("a", "true"))
        print("completed", pilot.run()["completed"])
        pilot.add_task(Task("z", "true"))
        try:
            print("again", pilot.run()["completed"])
        except Exception as error:
            print(type(error).__name__)
        """

    def setUp(self):
        super().setUp()
        if shutil.which("mpirun") is None:
            skip("mpirun is not installed: Python programs under mpirun are not tested")
        write(self.dir / "campaign.py", self.CAMPAIGN)

    def test_mpirun_by_the_module(self):
        status, out, err = run_python(
            "campaign.py", env={"PILOT_LAUNCH": "mpirun --oversubscribe -np 2"}
        )
        self.assertEqual((status, out), (0, "before\ncompleted 3\nagain 4\n"), err)

    def test_the_program_on_every_rank(self):
        mpirun = ["mpirun", "--oversubscribe", "-np", "3", sys.executable, "-B", "campaign.py"]
        run = subprocess.run(
            mpirun,
            env=dict(os.environ, PYTHONPATH=str(MODULE.parent)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=DEADLINE,
        )
        self.assertEqual(run.returncode, 0, run.stderr)
        # mpirun mixes the output of ranks, and not always by lines.
        for word, count in (("before", 3), ("completed 3", 1), ("PilotError", 1), ("again", 0)):
            self.assertEqual(run.stdout.count(word), count, run.stdout + run.stderr)


class SlurmTest(RealTest):
    """In an allocation of several nodes: a real Slurm of virtual ones."""

    VCLUSTER = str(ROOT / "tests" / "cluster" / "vcluster")
    CAMPAIGN = """
        import collections, signal, sys
        from pilot import Pilot, Task
        signal.signal(signal.SIGINT, signal.default_int_handler)
        pilot = Pilot(db_path="s.db")
        @pilot.on_complete
        def more(task, result, pilot):
            if task.id.startswith("wait"):
                return
            if len(task.id) < 5:  # long lines, too
                return [Task(task.id + c, "sleep 0.1", tags={"x": "y" * 5000}) for c in "01"]
        pilot.add_task(Task("t", "true"))
        for i in range(int(sys.argv[1])):
            pilot.add_task(Task("wait%d" % i, "touch ../started%d; exec sleep 1000" % i))
        try:
            pilot.run()
        except KeyboardInterrupt:
            print("interrupted", pilot.pending.qsize())
        nodes = {result.node for result in pilot.completed.values()}
        print(len(pilot.completed), pilot.total_cores, *sorted(nodes))
        """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        check = subprocess.run(
            [cls.VCLUSTER, "check"], stdout=subprocess.PIPE, universal_newlines=True
        )
        if check.returncode != 0:
            skip("Python programs on Slurm are not tested: %s" % check.stdout.strip())
        # Not below the build directory, which may have too long a path for the sockets of Slurm.
        cls.base = tempfile.mkdtemp(prefix="pilot-python.", dir="/var/tmp")
        share = [ROOT, Path(module._find_program()).parent, cls.base]
        share.append(os.environ.get("PILOT_TEST_TMP") or ROOT / "build")
        cls.environ = dict(os.environ, VCLUSTER_DIR=cls.base + "/vc")
        cls.environ["VCLUSTER_SHARE"] = ":".join(str(path) for path in share)
        cls.environ["PYTHONPATH"] = str(MODULE.parent)
        cls.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        # The daemons are not left-behind processes of a test.
        clean = {k: v for k, v in cls.environ.items() if k != MARKER.split("=")[0]}
        up = subprocess.run([cls.VCLUSTER, "up", "2", "2"], env=clean, stdout=subprocess.DEVNULL)
        if up.returncode != 0:
            cls.tearDownClass()
            raise AssertionError("the virtual cluster did not start")

    @classmethod
    def tearDownClass(cls):
        subprocess.run(
            [cls.VCLUSTER, "down"], env=cls.environ, stdout=subprocess.DEVNULL, check=True
        )
        shutil.rmtree(cls.base)

    def start(self, *words):
        write(self.dir / "campaign.py", self.CAMPAIGN)
        return subprocess.Popen(
            [self.VCLUSTER, "run", "salloc", "--nodes=2", "--exclusive"] + list(words),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )

    def test_all_nodes_run_tasks(self):
        process = self.start(sys.executable, "campaign.py", "0")
        out, err = process.communicate(timeout=DEADLINE)
        self.assertEqual((process.returncode, out), (0, "31 4 vc1 vc2\n"), err)

    def test_the_program_on_every_node(self):
        process = self.start("srun", "--cpu-bind=none", sys.executable, "campaign.py", "0")
        out, err = process.communicate(timeout=DEADLINE)
        self.assertEqual((process.returncode, out), (0, "31 4 vc1 vc2\n"), err)

    def test_an_interrupt_ends_the_tasks_of_all_nodes(self):
        pid = self.dir / "pid"
        process = self.start("sh", "-c", 'echo $$ >pid; exec "$0" campaign.py 4', sys.executable)
        for i in range(4):
            wait_until(Path("pilot_runs/started%d" % i).exists, "the tasks start")
        os.kill(int(pid.read_text()), signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE)
        self.assertIn("interrupted", out, err)
        self.assertEqual(process.returncode, 0, err)
        waiting = [k for k, v in self.statuses("s.db").items() if v == "pending"]
        self.assertTrue({"wait%d" % i for i in range(4)} <= set(waiting), waiting)


if __name__ == "__main__":
    unittest.main()
