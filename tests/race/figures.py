"""What a run was: figures of its samples and of the jobs' history."""
import csv
import json
import statistics


def of_run(folder, cores, bursts):
    """Figures of the run in `folder`, in which `bursts` began at these times."""
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    with open(folder / "history.tsv", encoding="utf-8", newline="") as file:
        jobs = [job for job in csv.DictReader(file, delimiter="\t") if job["JobStatus"] == "4"]
    run = json.loads((folder / "run.json").read_text())
    start = bursts[0]
    waits = [int(job["JobStartDate"]) - int(job["QDate"]) for job in jobs]
    ends = [int(job["CompletionDate"]) for job in jobs]
    last = max(ends, default=samples[-1]["time"])
    used = sum((int(job["CompletionDate"]) - int(job["JobCurrentStartDate"])) * int(job["RequestCpus"]) for job in jobs) / 3600
    servers = [len(sample["servers"]) for sample in samples]
    by_id = {server["id"]: server for sample in samples for server in sample["servers"]}
    empty = next((sample["time"] for sample in samples if sample["time"] > last and not sample["servers"]), None)
    final = samples[-1]["servers"]
    paid = core_hours(samples, cores, start, empty or samples[-1]["time"])
    paid_busy = core_hours(samples, cores, start, last)
    waits_of = [[wait for job, wait in zip(jobs, waits) if begin - 5 <= int(job["QDate"]) < end - 5]
                for begin, end in zip(bursts, bursts[1:] + [float("inf")])]
    return {
        "jobs": len(jobs),
        "wait": {"mean": mean(waits), "median": statistics.median(waits) if waits else None, "p95": percentile(waits, 95),
                 "max": max(waits, default=None)},
        "wait_of_bursts": [mean(waits) for waits in waits_of],
        "makespan": last - start,
        "last_end_to_no_server": empty and empty - last,
        "paid": paid, "paid_until_last_end": paid_busy, "used": used,
        "ratio": paid / used if used else None, "ratio_until_last_end": paid_busy / used if used else None,
        "servers": len(by_id), "servers_at_once": max(servers),
        "restarted": sum(int(job["NumJobStarts"]) > 1 for job in jobs),
        "failed": sum(job["ExitCode"] != "0" for job in jobs),
        "broken_claims": broken_claims((folder / "SchedLog").read_text(errors="replace")),
        "left_in_error": sum(server["status"] == "ERROR" for server in final), "left": len(final),
        "cpu": run["cpu"], "load": run["load"],
    }


def core_hours(samples, cores, begin, end):
    """A server costs from one sample that has it to the next."""
    seconds = 0
    for sample, following in zip(samples, samples[1:]):
        span = min(following["time"], end) - max(sample["time"], begin)
        seconds += max(0, span) * len(sample["servers"])
    return seconds * cores / 3600


def broken_claims(log):
    """Claims that the schedd asked a startd for, and that failed: the node was gone."""
    return sum("REQUEST_CLAIM" in line and "ailed" in line for line in log.splitlines())


def mean(values):
    return sum(values) / len(values) if values else None


def percentile(values, share):
    """The smallest value that is not below `share` percent of all."""
    values = sorted(values)
    return values[-(-len(values) * share // 100) - 1] if values else None


ROWS = [
    ("wait, mean", lambda run: seconds(run["wait"]["mean"])),
    ("median", lambda run: seconds(run["wait"]["median"])),
    ("p95", lambda run: seconds(run["wait"]["p95"])),
    ("max", lambda run: seconds(run["wait"]["max"])),
    ("mean of each burst", lambda run: ", ".join(map(number, run["wait_of_bursts"])) + " s"),
    ("makespan", lambda run: seconds(run["makespan"])),
    ("last job's end to no server", lambda run: seconds(run["last_end_to_no_server"])),
    ("paid core-h", lambda run: f"{run['paid']:.2f}"),
    ("until the last job's end", lambda run: f"{run['paid_until_last_end']:.2f}"),
    ("used core-h", lambda run: f"{run['used']:.2f}"),
    ("**paid / used**", lambda run: ratio(run["ratio"])),
    ("until the last job's end", lambda run: ratio(run["ratio_until_last_end"])),
    ("servers created, most at once", lambda run: f"{run['servers']}, {run['servers_at_once']}"),
    ("jobs done, failed, started more than once", lambda run: f"{run['jobs']}, {run['failed']}, {run['restarted']}"),
    ("broken claims", lambda run: str(run["broken_claims"])),
    ("servers left, of them in ERROR", lambda run: f"{run['left']}, {run['left_in_error']}"),
    ("CPU of the scaler", lambda run: f"{run['cpu']:.1f} s"),
    ("load average of the host, start to end", lambda run: f"{run['load'][0]:.1f} to {run['load'][1]:.1f}"),
]


def number(value):
    return "–" if value is None else f"{value:.0f}"


def seconds(value):
    return "–" if value is None else f"{value:.0f} s"


def ratio(value):
    return "–" if value is None else f"{value:.2f}"


def table(runs):
    """Markdown, a column for each run."""
    lines = ["| | " + " | ".join(runs) + " |", "| --- |" + " --- |" * len(runs)]
    for name, cell in ROWS:
        lines.append(f"| {name} | " + " | ".join(cell(run) for run in runs.values()) + " |")
    return "\n".join(lines)
