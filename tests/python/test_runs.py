# SPDX-License-Identifier: BSD-3-Clause
"""Campaigns in Python with a real pilot-mpi: what runs, what callbacks are told, what is kept."""

import os
import signal
import subprocess
import threading
import time
import unittest
from pathlib import Path

from support import DEADLINE, RealTest, start_python, wait_until, write
from pilot import Pilot, PilotError, PilotRefused, Task


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


if __name__ == "__main__":
    unittest.main()
