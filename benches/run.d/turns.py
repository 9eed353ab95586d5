"""Measuring in turns, and what becomes of the figures.

Every server has its turn, then every server again: A B A B. A ratio is the median of the ratios of the turns, so that what the machine does for a
while falls on all of them.
"""

import statistics

from machine import Usage, Watch


class Target:
    """What a ratio should be."""

    def __init__(self, at_least=None, at_most=None):
        self.at_least, self.at_most = at_least, at_most

    def met(self, value):
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def __str__(self):
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"


def measured(process, action):
    """Runs an action and answers what it told, with what the server used meanwhile."""
    usage = Usage(process)
    told = action()
    return {**told, **{f"server_{key}": value for key, value in usage.end().items()}}


def in_turns(turns, servers, measure):
    """`measure(server)` for every server, again and again; answers {name: [what it told]} and what else the machine did."""
    watch = Watch()
    told = {server.name: [] for server in servers}
    for _ in range(turns):
        for server in servers:
            told[server.name].append(measure(server))
    return told, watch.end()


def median(samples, key):
    values = [sample[key] for sample in samples if sample.get(key) is not None]
    return statistics.median(values) if values else None


def ratio(ours, theirs, key):
    """Of Larder's figure to the peer's, turn by turn."""
    return statistics.median(our[key] / their[key] for our, their in zip(ours, theirs))


def row(number, case, unit, told, machine, peers, target=None, cpu_target=None, key="value", note=None, limit=None):
    """A line of the results. `peers` are those that Larder is held against, the first one counts; `told` has samples with `key`, and where the server was
    watched what it used, which `cpu` puts against the work done. A `target` is for the ratio, a `limit` for Larder's own figure."""
    servers = {}
    for name, samples in told.items():
        servers[name] = {
            "value": median(samples, key),
            "low": min(sample[key] for sample in samples),
            "high": max(sample[key] for sample in samples),
            "cpu": median(samples, "cpu"),
            "core": median(samples, "core"),
            "peak_mib": round((median(samples, "server_peak_bytes") or 0) / (1 << 20), 1) or None,
        }
    ours = told["larder"]
    ratios = {peer: round(ratio(ours, told[peer], key), 3) for peer in peers}
    line = {"row": number, "case": case, "unit": unit, "turns": len(ours), "servers": servers, "ratios": ratios, **machine}
    with_cpu = [peer for peer in peers if all(sample.get("cpu") for sample in [*ours, *told[peer]])]
    if with_cpu:
        line["cpu_ratios"] = {peer: round(ratio(ours, told[peer], "cpu"), 3) for peer in with_cpu}
    if peers and target:
        line.update(target=str(target), met=target.met(ratios[peers[0]]))
    if limit:
        line.update(target=str(limit), met=limit.met(servers["larder"]["value"]))
    if peers and cpu_target and with_cpu:
        line.update(cpu_target=str(cpu_target), cpu_met=cpu_target.met(line["cpu_ratios"][peers[0]]))
    if note:
        line["note"] = note
    return line


def per_request(sample):
    """Adds microseconds of processor time a request, and how busy the server's core was."""
    sample["value"] = sample["rate"]
    sample["cpu"] = 1e6 * sample["server_cpu_seconds"] / sample["requests"]
    sample["core"] = sample["server_cpu_seconds"] / sample["server_seconds"]
    return sample


def per_gigabyte(sample):
    """Adds megabytes a second, seconds of processor time a gigabyte, and how busy the server's core was."""
    sample["value"] = sample["bytes"] / sample["seconds"] / 1e6
    sample["cpu"] = 1e9 * sample["server_cpu_seconds"] / sample["bytes"]
    sample["core"] = sample["server_cpu_seconds"] / sample["server_seconds"]
    return sample
