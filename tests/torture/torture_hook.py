#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The hook of the torture test: answers the end of a task with its follow-ups, which depend on
nothing but the task's id, so that the audit knows them without asking.

    torture_hook.py PROGRAM JOURNALS
"""
import json
import sys

import workload


def main():
    program, journals = sys.argv[1:3]
    for line in sys.stdin:
        event = json.loads(line)
        if event["event"] != "ended":
            continue
        task, answer = event["task"], {"ack": event["seq"]}
        count = (task.get("tags") or {}).get("follow_ups", 0)
        if event["result"]["status"] == "completed" and count:
            answer["tasks"] = [workload.follow_up(task["id"], n).to_json(program, journals, "")
                               for n in range(count)]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
