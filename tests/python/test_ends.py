# SPDX-License-Identifier: BSD-3-Clause
"""Campaigns in Python that end early, and the ways to start them: killed, interrupted, as a command line,
by mpirun, on Slurm."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

from support import (
    DEADLINE,
    MARKER,
    MODULE,
    ROOT,
    RealTest,
    kill,
    marked,
    module,
    run_python,
    skip,
    start_python,
    wait_until,
    write,
)
from pilot import PilotError, Task


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
