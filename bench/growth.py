"""How a training step's time and memory grow with picture size, width and batch: `python bench/growth.py`.

Times are medians, the cases taking turns, so that a noisy machine is noisy to all; memory is the most that a process
held which did nothing else than two steps, less what it held before them. Grey pictures, folded 2x2, in bfloat16 where
the processor has it. Prints a table and draws bench/growth.png, both axes logarithmic; about two minutes.
"""

import statistics, subprocess, sys, time
from pathlib import Path

import torch
from systems import has_bf16

from classypics.codec import SpaceToDepth
from classypics.core import PALETTE, figure, generator
from classypics.denoiser import ClassLabels, Denoiser, DenoisingTask
from classypics.schedule import LogNormal
from classypics.unet import UNet

MIDDLE = {"size": 32, "width": 32, "batch": 16}
GROWS = {"size": (16, 32, 64, 128), "width": (16, 32, 64, 128), "batch": (4, 8, 16, 32, 64)}
WORDS = {"size": "picture size", "width": "width (the lower level: twice)", "batch": "batch"}
SECONDS = 30  # of timing, all cases together


def stepper(size: int, width: int, batch: int):
    "A function that takes one training step."
    pictures = torch.randint(0, 256, (batch, 1, size, size), dtype=torch.uint8)
    drawn = pictures, torch.zeros(batch, 1, dtype=torch.int64)
    denoiser = Denoiser(UNet(4, widths=(width, 2 * width), attention=0), ClassLabels([str(k) for k in range(10)]))
    task = DenoisingTask(denoiser, SpaceToDepth(1, (size, size), multiple=2), LogNormal(), bf16=has_bf16())
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-4, fused=True)

    def step():
        task(**task.draw(drawn, generator(0))).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def memory(*case: int) -> float:
    "GB that two steps of this case take in a process of their own; NaN where the system does not tell."
    done = subprocess.run([sys.executable, __file__, *map(str, case)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def held(what: str) -> float:
    "What /proc says of this process, in GB."
    status = Path("/proc/self/status")
    return int(status.read_text().split(f"{what}:")[1].split()[0]) / 1e6 if status.exists() else float("nan")


def measured() -> tuple[dict, dict]:
    "Median seconds a step, and GB, of every case (size, width, batch)."
    cases = {tuple((MIDDLE | {what: value}).values()) for what, values in GROWS.items() for value in values}
    steps, seconds, start = {case: stepper(*case) for case in sorted(cases)}, {case: [] for case in cases}, time.time()
    while time.time() - start < SECONDS or min(map(len, seconds.values())) < 4:
        for case, step in steps.items():
            before = time.perf_counter()
            step()
            seconds[case].append(time.perf_counter() - before)
    return {case: statistics.median(s[1:]) for case, s in seconds.items()}, {case: memory(*case) for case in cases}


def main() -> None:
    from matplotlib.ticker import LogLocator

    seconds, gigabytes = measured()
    fig, axes = figure(2, 3, size=(3.6, 2.6), sharey="row", sharex="col")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}; where nothing else is said: {MIDDLE}\n")
    print("| what grows | ms a step | pictures/s | GB |\n|---|---|---|---|")
    for column, (what, values) in enumerate(GROWS.items()):
        cases = [tuple((MIDDLE | {what: value}).values()) for value in values]
        for value, case in zip(values, cases):
            pace = case[2] / seconds[case]
            print(f"| {what} {value} | {1000 * seconds[case]:.0f} | {pace:.3g} | {gigabytes[case]:.2f} |")
        for ax, found, scale in zip(axes[:, column], (seconds, gigabytes), (1000, 1)):
            ax.loglog(values, [scale * found[case] for case in cases], "o-", color=PALETTE[column])
            ax.set_xticks(values, map(str, values))
            ax.minorticks_off()
            ax.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}")
        axes[1, column].set_xlabel(WORDS[what])
    axes[0, 0].set_ylabel("ms a step")
    axes[1, 0].set_ylabel("GB a step takes")
    fig.savefig(Path(__file__).with_name("growth.png"))


if __name__ == "__main__":
    if sys.argv[1:]:
        before, step = held("VmRSS"), stepper(*map(int, sys.argv[1:]))
        step()
        step()
        print(held("VmHWM") - before)
    else:
        main()
