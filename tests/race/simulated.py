"""A run of the race beside its replay by `ehos simulate`: the same jobs, configuration and boot times."""
import json

from manager import CORES, FLAVOR

# Pixels of the picture.
WIDTH, HEIGHT, LEFT, TOP = 900, 260, 60, 30
REAL, SIMULATED = "#1f6feb", "#d1242f"


def compared(project, folder, real):
    """The table of both; the curves are in the run's folder."""
    text = project.ehos(
        "simulate", "--config", "configs/ehos.yaml", "--jobs", folder / "jobs.json", "--state-dir", folder, "--boot", "history",
        "--flavor", f"{FLAVOR}={CORES},8", "-o", "json")
    (folder / "simulated.json").write_text(text)
    found = json.loads(text)["runs"][0]["figures"]
    rows = [("wait, mean (s)", real["wait"]["mean"], found["wait"]["mean_seconds"]),
            ("wait, p95 (s)", real["wait"]["p95"], found["wait"]["p95_seconds"]),
            ("makespan (s)", real["makespan"], found["makespan_seconds"]),
            ("paid core-h", real["paid"], found["paid_core_hours"]),
            ("used core-h", real["used"], found["used_core_hours"]),
            ("servers created", real["servers"], found["nodes"]["created"])]
    draw(folder, found["series"])
    lines = ["| | real | simulated | difference |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {one:.2f} | {two:.2f} | {(two / one - 1) * 100 if one else 0:+.1f} % |" for name, one, two in rows]
    return "\n".join(lines)


def draw(folder, series):
    """curves.svg: idle jobs, used and paid cores, real and simulated."""
    jobs = [{name: ad.get(name) for name in ["QDate", "JobStartDate", "CompletionDate", "RequestCpus"]}
            for ad in json.loads((folder / "jobs.json").read_text())]
    start = min(ad["QDate"] for ad in jobs)
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    end = int(max(samples[-1]["time"] - start, len(series["idle_jobs"]) * series["step_seconds"]))
    seconds = range(0, end + 1, 5)

    def counted(begin, stop, weight):
        return [sum(weight(ad) for ad in jobs if ad[begin] <= start + second < ad[stop]) for second in seconds]

    def paid(second):
        seen = [sample for sample in samples if sample["time"] <= start + second]
        return CORES * len(seen[-1]["servers"]) if seen else 0

    def simulated(name):
        step = series["step_seconds"]
        return [series[name][second // step] if second // step < len(series[name]) else 0 for second in seconds]

    panels = [("idle jobs", counted("QDate", "JobStartDate", lambda _: 1), simulated("idle_jobs")),
              ("used cores", counted("JobStartDate", "CompletionDate", lambda ad: ad["RequestCpus"]), simulated("used_cores")),
              ("paid cores", [paid(second) for second in seconds], simulated("paid_cores"))]
    parts = [panel(number, title, end, real, made) for number, (title, real, made) in enumerate(panels)]
    height = (HEIGHT + TOP) * len(panels) + 30
    (folder / "curves.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + LEFT + 20}" height="{height}" font-family="sans-serif" '
        f'font-size="13"><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n')


def panel(number, title, end, real, made):
    top = TOP + number * (HEIGHT + TOP)
    most = max(*real, *made, 1)

    def path(values, colour):
        points = " ".join(f"{LEFT + WIDTH * place * 5 / end:.1f},{top + HEIGHT * (1 - value / most):.1f}"
                          for place, value in enumerate(values))
        return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>'

    minutes = "".join(f'<text x="{LEFT + WIDTH * minute * 60 / end:.0f}" y="{top + HEIGHT + 14}" fill="#555">{minute} min</text>'
                      for minute in range(0, end // 60 + 1, 4))
    return (f'<text x="{LEFT}" y="{top - 6}">{title}: <tspan fill="{REAL}">real</tspan>, '
            f'<tspan fill="{SIMULATED}">simulated</tspan></text><text x="8" y="{top + 10}">{most:.0f}</text>'
            f'<text x="8" y="{top + HEIGHT}">0</text><path d="M{LEFT} {top}V{top + HEIGHT}H{LEFT + WIDTH}" fill="none" '
            f'stroke="#999"/>{path(real, REAL)}{path(made, SIMULATED)}{minutes}')
