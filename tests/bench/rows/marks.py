# SPDX-License-Identifier: BSD-3-Clause
"""The records that bench_mark writes, and the times between them."""
import struct

RECORD = struct.Struct("qqII8s")


class Mark:
    __slots__ = ("start", "end", "number", "cpu", "node")

    def __init__(self, fields):
        self.start, self.end, self.number, self.cpu = fields[:4]
        self.node = fields[4].rstrip(b"\0").decode("ascii", "replace")


def read(path):
    with open(path, "rb") as f:
        return [Mark(fields) for fields in RECORD.iter_unpack(f.read())]


def gaps_us(marks):
    """From the end of each task to the start of the next on the same CPU of the same node. Where
    tasks begin and where they run out, not all cores are busy: a tenth at both ends is left out."""
    by_cpu = {}
    for mark in sorted(marks, key=lambda m: m.start):
        by_cpu.setdefault((mark.node, mark.cpu), []).append(mark)
    gaps = []
    for line in by_cpu.values():
        cut = len(line) // 10
        line = line[cut:len(line) - cut]
        gaps += [(b.start - a.end) / 1e3 for a, b in zip(line, line[1:])]
    return gaps
