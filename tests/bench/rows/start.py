# SPDX-License-Identifier: BSD-3-Clause
"""Starting processes: how much of the rate of a bare loop is left when the pilot starts them, and how
soon the next one starts."""
import os
import statistics

from rows.harness import Row, Unavailable
from rows import marks


def loops(bench, command, runs, how, in_flight):
    out = bench.ask(bench.tool("bench_spawn"), *how, str(runs), str(in_flight), *command)
    return float(out.split()[0])


def best_loop(bench, key, command, runs):
    """The fastest of 1 to 4 in flight, by vfork or posix_spawn; tried twice each, in both orders."""
    def find():
        ways = [(how, n) for n in range(1, 5) for how in ([], ["--vfork"])]
        rates = {}
        for way in ways + ways[::-1]:
            rate = loops(bench, command, runs, *way)
            name = (tuple(way[0]), way[1])
            rates[name] = max(rates.get(name, 0), rate)
        return sorted(rates, key=rates.get)[-2:]
    return bench.once("best loop " + key, find)


class Rate(Row):
    unit, beside = "tasks/s", "best bare loop"
    options = ()
    files = True  # a task has a directory with two; else pipes

    def sizes(self, bench):
        """Tasks, runs of each half of the reference."""
        return bench.pick((2500, 750), (100000, 20000))

    def line(self):
        return " ".join(self.command) + "\n"

    def measure(self, bench):
        tasks, runs = self.sizes(bench)
        ways = best_loop(bench, self.key, self.command, bench.pick(200, 2000))
        before = [loops(bench, self.command, runs, *way) for way in ways]
        cwd = bench.fresh(self.key)
        with open(os.path.join(cwd, "tasks.txt"), "w") as f:
            f.write(self.line() * tasks)
        seconds, usage = bench.run([bench.pilot, "--quiet", *self.options, "tasks.txt"], cwd)
        after = [loops(bench, self.command, runs, *way) for way in ways]
        # The better of the two best ways, at the better of the two moments would favour luck: the
        # mean of before and after, of the way that was faster.
        reference = max((b + a) / 2 for b, a in zip(before, after))
        return {"value": tasks / seconds, "reference": reference, "ratio": tasks / seconds / reference,
                "cpu_us": 1e6 * (usage.ru_utime + usage.ru_stime) / tasks, "ways": [[*w[0], w[1]] for w in ways],
                "floor": self.floor_rate(bench, runs, ways[-1][-1]) / reference}

    def floor_rate(self, bench, runs, in_flight):
        """The same loop when it makes what a task has: its output, and rows in the tables of a state."""
        cwd = bench.fresh(self.key)
        output = ["--files", cwd] if self.files else ["--pipes"]
        return loops(bench, self.command, runs, [*output, "--keep", os.path.join(cwd, "floor.db")], in_flight)

    def note(self, rounds):
        ways = " or ".join("%d%s" % (w[-1], " by vfork" if len(w) > 1 else "") for w in rounds[-1]["ways"])
        return "reference: %s in flight; that loop with the %s, and rows in SQLite: %.2f" % (
            ways, "files" if self.files else "pipes", statistics.median(r["floor"] for r in rounds))


class True_(Rate):
    key, title, reach_ratio = "true", "/bin/true, state and output files on", 0.85
    command = ["/bin/true"]


class Packed(Rate):
    key, title, reach_ratio = "packed", "the same with --output=packed", 0.93
    command = ["/bin/true"]
    options, files = ("--output=packed",), False

    def measure(self, bench):
        if "--output " not in bench.once("help", lambda: bench.ask(bench.pilot, "--help")):
            raise Unavailable("this pilot-mpi has no --output")
        return super().measure(bench)


class Shell(Rate):
    key, title, reach_ratio = "shell", "sh -c '/bin/true; :'", 0.92
    command = ["sh", "-c", "/bin/true; :"]

    def sizes(self, bench):
        return bench.pick((1000, 350), (50000, 10000))

    def line(self):
        return "sh -c '/bin/true; :'\n"


class Next(Row):
    key, title = "next", "exit of a task to the start of the next, all cores busy"
    unit, beside, less, reach_value = "us", "bare loop", True, 150

    def measure(self, bench):
        tasks = bench.pick(400, 6000)
        mark = bench.tool("bench_mark")
        cwd = bench.fresh(self.key)
        ours, bare = os.path.join(cwd, "ours"), os.path.join(cwd, "bare")
        with open(os.path.join(cwd, "tasks.txt"), "w") as f:
            f.write("".join("%s %s 5000 %d\n" % (mark, ours, i) for i in range(tasks)))
        bench.ask(bench.tool("bench_spawn"), str(tasks // 2), str(bench.cores), mark, bare, "5000", "0")
        bench.run([bench.pilot, "--quiet", "tasks.txt"], cwd)
        got = marks.read(ours)
        if sorted(m.number for m in got) != list(range(tasks)):
            raise RuntimeError("%d records of %d tasks" % (len(got), tasks))
        gaps = sorted(marks.gaps_us(got))
        value, reference = statistics.median(gaps), statistics.median(marks.gaps_us(marks.read(bare)))
        return {"value": value, "reference": reference, "ratio": reference / value,
                "p90": gaps[len(gaps) * 9 // 10], "p99": gaps[len(gaps) * 99 // 100]}

    def note(self, rounds):
        return "90 %%: %.0f us, 99 %%: %.0f us" % tuple(statistics.median(r[p] for r in rounds) for p in ("p90", "p99"))
