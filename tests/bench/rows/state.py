# SPDX-License-Identifier: BSD-3-Clause
"""What a million tasks cost before they run: reading, memory, resuming."""
import os
import shutil
import signal
import sqlite3
import time

from rows.harness import Row, wait_for, write_lines
from rows import marks


def committed(path):
    """Tasks that the state shows; 0 while there is none."""
    try:
        db = sqlite3.connect("file:%s?mode=ro" % path, uri=True, timeout=10)
        try:
            return db.execute("select count(*) from tasks").fetchone()[0]
        finally:
            db.close()
    except sqlite3.OperationalError:
        return 0


def anonymous_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(f.read().split("RssAnon:")[1].split()[0])


class Memory(Row):
    key, title = "memory", "memory of rank 0 a waiting task, beyond its text"
    unit, beside, less, reach_value, quick_rounds, rounds_max = "B", "the goal", True, 200, 1, 3

    def resident(self, bench, tasks):
        """KiB when all tasks are in the state and wait; text bytes of the waiting ones."""
        cwd = bench.fresh(self.key)
        path = os.path.join(cwd, "tasks.json")
        with open(path, "w") as f:
            f.write("".join('{"id":"s%d","command":"sleep 1000","priority":1}\n' % i for i in range(bench.cores)))
            f.write("".join('{"id":"t%07d","command":"/bin/true"}\n' % i for i in range(tasks)))
        child = bench.spawn([bench.pilot, "--quiet", "--grace", "1", path], cwd)
        db = os.path.join(cwd, "pilot_runs", "state.db")
        wait_for("%d tasks in the state" % tasks, 300, lambda: committed(db) == tasks + bench.cores, 0.1)
        last = -1
        while last != (last := anonymous_kib(child.pid)):
            time.sleep(0.3)
        bench.stop(child)
        return last, tasks * len("t0000000/bin/true")

    def measure(self, bench):
        tasks = bench.pick(250000, 1000000)  # near a power of two, both: lists grow by doubling
        base, _ = self.resident(bench, 0)
        full, text = self.resident(bench, tasks)
        value = ((full - base) * 1024 - text) / tasks
        return {"value": value, "reference": self.reach_value, "ratio": self.reach_value / value, "kib": full, "base_kib": base}


class Read(Row):
    unit, reach_ratio = "tasks/s", 0.5

    def make(self, bench):
        path = os.path.join(bench.work, self.key + ".json")
        count = bench.pick(200000, 1000000)  # fewer are gone before the program has started
        task = '{"id":"t%07d","command":"./simulate --case %d --out result.dat","cores":1,"env":{"CASE":"%d"},"priority":0}'
        if self.lines:
            write_lines(path, lambda i: task % (i, i, i) + "\n", count)
        else:
            write_lines(path, lambda i: ("[" if i == 0 else "") + task % (i, i, i) + ("]\n" if i == count - 1 else ",\n"), count)
        return path, count

    def measure(self, bench):
        path, count = bench.once(self.key, lambda: self.make(bench))
        more = ["--lines"] if self.lines else []
        reference = count / float(bench.ask(bench.tool("bench_cjson"), path, *more).split()[0])
        cwd = bench.fresh(self.key)
        # All of a run but the tasks: checked, in the table of the head and in the queues of the core.
        seconds, usage = bench.run([bench.pilot, "--dry-run", "--quiet", path], cwd)
        early = bench.once("early " + self.key, lambda: self.starts_early(bench))
        return {"value": count / seconds, "reference": reference, "ratio": count / seconds / reference,
                "rss_kib": usage.ru_maxrss, "file_bytes": os.path.getsize(path), "starts_early": early}

    def starts_early(self, bench):
        """Does a task run before the file has been read to its end? It comes through a pipe that
        stays open."""
        cwd = bench.fresh(self.key)
        pipe = os.path.join(cwd, "tasks.json")
        os.mkfifo(pipe)
        child = bench.spawn([bench.pilot, "--quiet", "--grace", "1", "--stream", pipe], cwd)
        with open(pipe, "w") as f:
            if not self.lines:
                f.write("[")
            for i in range(20000):
                f.write('{"id":"t%d","command":"touch %s/early"}' % (i, cwd) + ("\n" if self.lines else ",\n"))
            f.flush()
            try:
                wait_for("a task", 2, lambda: os.path.exists(os.path.join(cwd, "early")))
                early = True
            except RuntimeError:
                early = False
            bench.stop(child, signal.SIGKILL)
        return early

    def note(self, rounds):
        r = rounds[-1]
        return "peak %.0f MB for a file of %.0f MB; first task %s the end of the file" % (
            r["rss_kib"] / 1024, r["file_bytes"] / 1048576, "before" if r["starts_early"] else "after")

    def is_reached(self, out):
        return super().is_reached(out) and all(r["starts_early"] for r in out["rounds"])


class ReadArray(Read):
    key, title, beside, lines = "read-array", "reading a JSON array", "cJSON, in memory", False


class ReadLines(Read):
    key, title, beside, lines = "read-lines", "reading JSON Lines", "cJSON, in memory", True


class Resume(Row):
    key, title = "resume", "--resume, 1,000,000 completed and 100,000 pending: first task"
    unit, beside, less, reach_value = "s", "SQLite reading the rows", True, 1.5

    def make(self, bench):
        """A state in which most have completed, as it is after a kill: made by the pilot, then the
        last tasks are set back to what they were."""
        done, pending = bench.pick((100000, 10000), (1000000, 100000))
        cwd = bench.fresh(self.key)
        with open(os.path.join(cwd, "tasks.txt"), "w") as f:
            f.write("true\n" * done)
            f.write("%s %s/first 0 1\n" % (bench.tool("bench_mark"), cwd) * pending)
        bench.run([bench.tool("pilot-mpi-null"), "--quiet", "tasks.txt"], cwd)
        path = os.path.join(cwd, "pilot_runs", "state.db")
        db = sqlite3.connect(path)
        db.execute("delete from attempts where id in (select id from tasks where seq >= ?)", (done,))
        db.execute("update tasks set status = 'pending', attempts = 0, exit_code = null, node = null, started_at = null, "
                   "finished_at = null, reason = null where seq >= ?", (done,))
        db.commit()
        db.execute("pragma wal_checkpoint(truncate)")
        db.close()
        return path, os.path.join(cwd, "first")

    def measure(self, bench):
        made, first = bench.once(self.key, lambda: self.make(bench))
        cwd = bench.fresh(self.key)
        os.mkdir(os.path.join(cwd, "pilot_runs"))
        path = os.path.join(cwd, "pilot_runs", "state.db")
        shutil.copy(made, path)
        begin = time.monotonic()
        db = sqlite3.connect(path)
        db.execute("select sum(length(id) + length(status) + length(spec)) from tasks").fetchone()
        db.close()
        reference = time.monotonic() - begin
        if os.path.exists(first):
            os.rename(first, os.path.join(cwd, "earlier"))
        begin = time.monotonic_ns()
        child = bench.spawn([bench.pilot, "--quiet", "--resume", "--grace", "1"], cwd)
        wait_for("the first task", 60, lambda: os.path.exists(first) and os.path.getsize(first) >= marks.RECORD.size)
        bench.stop(child)
        value = (min(m.start for m in marks.read(first)) - begin) / 1e9
        return {"value": value, "reference": reference, "ratio": reference / value}
