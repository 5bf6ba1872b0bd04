"""deeper.py FOLDER: of the runs that `run deeper` leaves there, the tokens until the held-out loss is that of three layers at half of their run."""
import json
import pathlib
import sys

HALF = 128  # steps


def evaluations(run):
    lines = map(json.loads, (run / "log" / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "evaluation"]


def tokens_until(losses, source, loss):
    return next((line["tokens"] for line in losses if line["sources"][source]["loss_per_byte"] <= loss), None)


print(f"{'seed':<6}{'source':<12}{'loss':>8}{'three':>10}{'six':>10}{'copied: in all, after the copy':>34}{'three, six, copied in the end':>34}")
for seed in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    runs = {name: evaluations(seed / name) for name in ("three", "six", "copied")}
    half = next(line for line in runs["three"] if line["step"] == HALF)
    for source, row in half["sources"].items():
        loss = row["loss_per_byte"]
        until = {name: tokens_until(losses, source, loss) for name, losses in runs.items()}
        after = until["copied"] - half["tokens"] if until["copied"] else None
        end = ", ".join(f"{losses[-1]['sources'][source]['loss_per_byte']:.4f}" for losses in runs.values())
        print(f"{seed.name[5:]:<6}{source:<12}{loss:>8.4f}{until['three']:>10}{str(until['six']):>10}{str(until['copied']):>24}{str(after):>10}{end:>34}")
