# SPDX-License-Identifier: Apache-2.0
"""Faults that a test orders from a fake: what happens to which requests, and how often."""
import os
import random
import signal
import threading

KINDS = {
    "drop": "reads 'bytes' of the body, then resets the connection",
    "stall": "reads 'bytes' of the body, then nothing for 'seconds', then resets",
    "delay": "does it, and answers 'seconds' later",
    "lose-reply": "does it, and ends the connection without an answer",
    "cut-reply": "does it, and sends 'bytes' of the answer",
    "error": "does nothing, and answers 'status' with 'code', 'message', 'reason', 'headers'",
    "expire": "the keys of this request are no longer good, from now on",
    "cancel": "the snapshot of this request goes to 'error' first",
    "stale": "answers as if what was made since this fault was set were not there yet",
    "kill": "kills the process whose number is in 'file' and does not answer; 'when' is 'body' "
            "(after 'bytes' of it), 'before' or 'after' it is done, or 'later': 'seconds' after "
            "the answer",
}
FIELDS = {"operation", "account", "region", "kind", "count", "after", "probability", "bytes",
          "seconds", "status", "code", "message", "reason", "headers", "file", "when"}


class Fault:
    def __init__(self, order, moment):
        if order.get("kind") not in KINDS or set(order) - FIELDS:
            raise ValueError(f"not a fault: {order}")
        self.kind = order["kind"]
        self.operation = order.get("operation", "*")
        self.where = {name: order[name] for name in ("account", "region") if name in order}
        self.left = order.get("count", 1)  # None: for ever
        self.skip = order.get("after", 0)
        self.probability = order.get("probability", 1)
        self.moment = moment  # what the fake calls now when it was set
        self.hits = 0
        self.order = order

    def get(self, name, default=None):
        return self.order.get(name, default)

    def applies(self, operation, where, chance):
        if self.operation not in ("*", operation) or self.left == 0:
            return False
        if any(where.get(name) != value for name, value in self.where.items()):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if chance.random() >= self.probability:
            return False
        self.hits += 1
        if self.left is not None:
            self.left -= 1
        return True

    def is_kill(self, when):
        return self.kind == "kill" and self.order["when"] == when

    def kill(self):
        with open(self.order["file"], encoding="ascii") as file:
            os.kill(int(file.read()), signal.SIGKILL)


class Faults:
    def __init__(self):
        self.lock = threading.Lock()
        self.clear()

    def clear(self, seed=1):
        with self.lock:
            self.list, self.chance = [], random.Random(seed)

    def order(self, orders, moment):
        with self.lock:
            self.list += [Fault(order, moment) for order in orders]

    def take(self, operation, where):
        """The first one that is for this request, or None. WHERE: its account and region."""
        with self.lock:
            for fault in self.list:
                if fault.applies(operation, where, self.chance):
                    return fault
        return None

    def hits(self):
        with self.lock:
            return [{"operation": fault.operation, "kind": fault.kind, "hits": fault.hits,
                     "left": fault.left} for fault in self.list]
