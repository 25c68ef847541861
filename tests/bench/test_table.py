#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The bench's own test: does it tell when something has become slower, and only then?"""
import os
import sys
import tempfile
import types
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import breakdown  # noqa: E402
import table  # noqa: E402
from rows import flat, marks  # noqa: E402
from rows.harness import Row, Unavailable, load_json  # noqa: E402

BENCH = types.SimpleNamespace(quick=True)


class Scripted(Row):
    """A row whose ratios are given."""
    key, title, unit, reach_ratio, quick_rounds = "fake", "a fake", "x", 0.5, 2

    def __init__(self, ratios):
        self.ratios = list(ratios)

    def measure(self, bench):
        ratio = self.ratios.pop(0)
        if isinstance(ratio, Exception):
            raise ratio
        return {"value": 10 * ratio, "reference": 10, "ratio": ratio}


def measured(*ratios, rounds=0):
    m = table.Measured(Scripted(ratios), BENCH, rounds)
    for _ in range(m.wanted):
        m.round(BENCH)
    return m


class Fallen(unittest.TestCase):
    def check(self, m, was):
        return table.fallen(BENCH, [m], {"fake": was})

    def test_a_third_is_allowed(self):
        self.assertEqual(self.check(measured(0.68, 0.5), 1), [])

    def test_more_than_a_third_is_told(self):
        self.assertIn("recorded are 1.000", self.check(measured(0.6, 0.66, 0.65, 0.66), 1)[0])

    def test_one_bad_minute_is_not(self):
        self.assertEqual(self.check(measured(0.3, 0.4, 0.8, 0.9), 1), [])

    def test_one_round_that_is_too_good_does_not_hide_it(self):
        self.assertIn("0.400", self.check(measured(0.3, 5.0, 0.4, 0.3, 0.2, 0.3, 0.3, rounds=5), 1)[0])

    def test_what_cannot_be_measured_any_more_is_told(self):
        sys.stderr, held = open(os.devnull, "w"), sys.stderr
        try:
            m = measured(1, RuntimeError("broken"))
        finally:
            sys.stderr.close()
            sys.stderr = held
        self.assertIn("broken", self.check(m, 1)[0])

    def test_what_is_not_there_is_not(self):
        self.assertEqual(self.check(measured(Unavailable("no cluster")), 1), [])

    def test_what_was_never_recorded_is_not(self):
        self.assertEqual(table.fallen(BENCH, [measured(0.1, 0.1)], {}), [])


class Results(unittest.TestCase):
    def test_median_and_spread(self):
        s = table.Measured(Scripted([0.9, 0.2, 0.4]), BENCH, 3)
        for _ in range(3):
            s.round(BENCH)
        figures = s.summary()["ratio_figures"]
        self.assertEqual((figures["median"], figures["low"], figures["high"]), (0.4, 0.2, 0.9))
        self.assertFalse(s.summary()["reached"])

    def test_recording_keeps_other_rows_and_modes(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "recorded.json")
            table.record(path, "full", {"fake": measured(0.9, 0.9).summary(), "gone": {"title": "x", "not_available": "y"}})
            table.record(path, "quick", {"other": measured(0.5, 0.7).summary()})
            self.assertEqual(load_json(path), {"full": {"fake": 0.9}, "quick": {"other": 0.6}})

    def test_each_row_has_a_line(self):
        rows = {"a": measured(1, 1).summary(), "b": measured(Unavailable("why")).summary()}
        cells = table.table(rows)
        self.assertEqual([len(line) for line in cells], [6, 6, 6])
        self.assertIn("why", cells[2][5])


    def test_a_row_that_is_measured_again_says_its_version(self):
        old = {"machine": {"version": "v1", "date": "d1"}, "flat": 7, "rows": {"true": {"x": 1}, "next": {"x": 2}, "core": {"x": 3}}}
        new = {"machine": {"version": "v2", "date": "d2"}, "rows": {"next": {"x": 4}}}
        both = table.merged(old, new)
        self.assertEqual([(k, r["x"], r["version"]) for k, r in both["rows"].items()], [("true", 1, "v1"), ("core", 3, "v1"), ("next", 4, "v2")])
        self.assertEqual(both["flat"], 7)
        self.assertEqual(table.versions(both), "v1, d1; v2, d2: `next`")
        third = table.merged(both, {"machine": {"version": "v3", "date": "d3"}, "rows": {"core": {"x": 5}}})
        self.assertEqual([r["version"] for r in third["rows"].values()], ["v1", "v3", "v2"])


class Marks(unittest.TestCase):
    def test_gaps_are_taken_within_a_core(self):
        def mark(start, end, cpu):
            return marks.Mark((start * 1000, end * 1000, 0, cpu, b"vc1\0\0\0\0\0"))
        self.assertEqual(sorted(marks.gaps_us([mark(0, 5, 0), mark(1, 6, 1), mark(8, 9, 0), mark(20, 21, 1)])), [3, 14])


class Breakdown(unittest.TestCase):
    def test_samples_are_laid_to_process_and_call(self):
        script = ("pilot-slot\n\tffff1 wake_up\n\tffff2 __x64_sys_sendto\n\tffff3 entry_SYSCALL_64_after_hwframe\n\n"
                  "true\n\t1f0 do_fault+0x1\n\tffff4 asm_exc_page_fault\n\n"
                  "true\n\tffff5 __x64_sys_execve\n\n" "pilot-slot\n\tffff5 __x64_sys_execve\n\n"
                  "true\n\t1f4 main\n\t10 [unknown]\n\n" "sshd\n\t1 main\n")
        got = [breakdown.lay(*s) for s in breakdown.stacks(script.splitlines(True))]
        self.assertEqual(got, [("starter", "sendto"), ("program", "page faults"), ("start and program", "execve"),
                               ("start and program", "execve"), ("program", "user"), ("rest of the machine", "")])

    def test_without_starts_user_code_is_laid_to_whose_it_is(self):
        script = ("pilot-store\n\tf1 step (/usr/lib/libsqlite3.so.0)\n\tf2 flush (/srv/pilot-mpi-null)\n\n"
                  "python3\n\tf1 step (/usr/lib/libsqlite3.so.0)\n\n" "python3\n\tf1 eval (/usr/bin/python3.11)\n\n"
                  "pilot-store\n\tf1 vfs_write ([kernel.kallsyms])\n\tf2 __x64_sys_pwrite64 ([kernel.kallsyms])\n\n"
                  "pilot-mpi-null\n\tf1 sched_place (/srv/pilot-mpi-null)\n\tf2 x (/usr/lib/libc.so.6)\n\n"
                  "swapper\n\tf1 idle ([kernel.kallsyms])\n")
        got = [breakdown.lay_null(*s) for s in breakdown.stacks(script.splitlines(True))]
        self.assertEqual(got, [("state", "SQLite"), ("state", "SQLite"), ("state", "Python"), ("state", "pwrite64"),
                               ("head and agent", "own code"), ("idle", "")])

    def test_what_the_pilot_adds_most_comes_first(self):
        ways = [("bare", breakdown.collections.Counter({("a", "x"): 50, ("a", "y"): 1, ("a", "z"): .2})),
                ("pilot", breakdown.collections.Counter({("a", "x"): 51, ("a", "y"): 9, ("a", "z"): .7}))]
        cells = breakdown.table(ways)
        self.assertEqual([line[1] for line in cells[1:3]], ["y", "x"])
        self.assertEqual(cells[3][2:], ["0.2", "0.7"])
        self.assertEqual(cells[4][2:], ["**51**", "**61**"])


class Plot(unittest.TestCase):
    def test_it_is_well_formed(self):
        import xml.etree.ElementTree as tree
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "flat.svg")
            flat.draw({"core": {"%d,%d" % (n, t): [0.5, 0.7] for n in (10, 100) for t in (10000, 100000)},
                       "whole": {"10000": [9, 8], "100000": [7]}}, path)
            self.assertTrue(tree.parse(path).getroot().tag.endswith("svg"))


if __name__ == "__main__":
    unittest.main()
