"""Does `plan` keep its promises? `python bench/plan.py [MINUTES]`.

Each case trains for MINUTES (0.3) in a process of its own.
Printed a case: widths, memory guessed and taken (the peak of the process), minutes asked and taken. Data that is not at
hand is left out.
"""

import json, os, subprocess, sys, tempfile

CASES = [
    dict(data="digits"),
    dict(data="digits", widths=[64, 128], batch_size=256),
    dict(data="fashion_mnist"),
    dict(data="fashion_mnist", widths=[96, 192]),
    dict(data="fashion_mnist", codec="kl"),
    dict(data="fashion_mnist", codec="pixels"),
    dict(data="fashion_mnist", bf16=False, batch_size=128),
    dict(data="folder:cifar10-jpeg.zip"),
    dict(data="folder:cifar10-jpeg.zip", widths=[64, 128], blocks=2),
    dict(data="folder:flowers12", size=48),
    dict(data="folder:flowers12", size=128),
    dict(data="folder:flowers12", size=128, codec="kl"),
]


def peak() -> float:
    "GB this process held at most; not `ru_maxrss`, which begins with what the parent held."
    with open("/proc/self/status") as f:
        return int(next(line for line in f if line.startswith("VmHWM")).split()[1]) * 1024 / 1e9


def alone(case: dict) -> dict:
    "Train one case here."
    from classypics.recipe import Recipe, data_of, memory, plan, read_log, train

    recipe = Recipe(**case)
    planned = plan(recipe, data_of(recipe))
    train(planned.recipe, progress=False)
    taken = read_log(f"{planned.recipe.out}/log.csv")[-1]["seconds"] / 60
    guess = memory(planned.recipe, data_of(recipe), planned.config)
    return {"widths": planned.recipe.widths, "guess": guess, "peak": peak(), "minutes": taken, "why": planned.reasons}


def main(minutes: str = "0.3") -> None:
    columns = ["case", "widths", "GB guessed", "GB taken", "ratio", "minutes asked", "minutes taken by the denoiser"]
    print("|", " | ".join(columns), "|\n" + "|---" * 7 + "|")
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            told = json.dumps(case | {"minutes": float(minutes), "out": f"{folder}/run"})
            done = subprocess.run([sys.executable, __file__, "--alone", told], capture_output=True, text=True)
        if done.returncode:
            print(f"| {case} | {done.stderr.strip().splitlines()[-1][:100]} |")
            continue
        r = json.loads(done.stdout.splitlines()[-1])
        cells = [case, r["widths"], f"{r['guess']:.2f}", f"{r['peak']:.2f}", f"{r['guess'] / r['peak']:.2f}", minutes]
        print("| " + " | ".join(map(str, cells)) + f" | {r['minutes']:.2f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        os.chdir(os.environ.get("CLASSYPICS_DATA", "."))  # folder:NAME is looked for there
        print(json.dumps(alone(json.loads(sys.argv[2]))))
    else:
        main(*sys.argv[1:])
