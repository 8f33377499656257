"""How long a training step takes, how near that is to what the machine can do, and where the time goes.

    .venv/bin/python bench/step.py

By width and precision, measured in turns so that a noisy machine is noisy to all; bfloat16 only where the processor
has it, since a product without takes a hundred times as long. The rate of a step is that of its additions and
multiplications (forward, and twice as many backward), here as a share of the rate of a product of two 2,048 x 2,048
matrices in the same precision, which takes its turn with the others. Then a profile of the usual net.
"""

import statistics, time

import torch
from torch.profiler import ProfilerActivity, profile

from classypics.codec import SpaceToDepth
from classypics.core import generator
from classypics.denoiser import ClassLabels, Denoiser, DenoisingTask
from classypics.recipe import operations, probe
from classypics.schedule import LogNormal
from classypics.train import Muon
from classypics.unet import UNet

BATCH, ROUNDS, SIDE = 64, 12, 2048
PRECISIONS = (False, True) if probe().bf16 else (False,)
USUAL = (32, 64), PRECISIONS[-1]
batch = torch.randint(0, 256, (BATCH, 1, 28, 28), dtype=torch.uint8), torch.zeros(BATCH, 1, dtype=torch.int64)


def stepper(widths: tuple, bf16: bool):
    "A function that takes one step, and the size of its net in millions."
    denoiser = Denoiser(UNet(4, widths=widths, attention=0), ClassLabels([str(k) for k in range(10)]))
    task = DenoisingTask(denoiser, SpaceToDepth(1, (28, 28), multiple=2), LogNormal(), bf16=bf16)
    optimizer = Muon(task, lr=1e-4)

    def step():
        task(**task.draw(batch, generator(0))).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, sum(p.numel() for p in task.parameters()) / 1e6


def product(bf16: bool):
    "A function that multiplies two large matrices."
    a = torch.ones(SIDE, SIDE, dtype=torch.bfloat16 if bf16 else torch.float32)
    return lambda: a @ a


def main() -> None:
    kinds = {(w, b): stepper(w, b) for w in ((16, 32), (32, 64), (64, 128)) for b in PRECISIONS}
    turns = {kind: step for kind, (step, _) in kinds.items()} | {b: product(b) for b in PRECISIONS}
    seconds = {kind: [] for kind in turns}
    for _ in range(ROUNDS + 2):
        for kind, turn in turns.items():
            start = time.perf_counter()
            turn()
            seconds[kind].append(time.perf_counter() - start)
    print(f"batch {BATCH}, 28x28 grey folded 2x2, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for (widths, bf16), (_, size) in kinds.items():
        times = seconds[widths, bf16][2:]
        middle, limit = statistics.median(times), 2 * SIDE**3 / 1e9 / statistics.median(seconds[bf16][2:])
        rate = BATCH * operations({"channels": 4, "widths": list(widths), "attention": 0}, (4, 14, 14)) / middle
        print(
            f"widths {widths!s:9} {'bfloat16' if bf16 else 'float32 '} {size:5.2f} M parameters: "
            f"{1000 * middle:4.0f} ms a step ({1000 * min(times):.0f} to {1000 * max(times):.0f}), "
            f"{BATCH / middle:5.0f} pictures/s, "
            f"{rate:4.0f} of {limit:4.0f} billion operations a second: {rate / limit:.2f}"
        )
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(5):
            kinds[USUAL][0]()
    parts = sorted(seen.key_averages(), key=lambda part: part.self_cpu_time_total, reverse=True)
    whole = sum(part.self_cpu_time_total for part in parts)
    print(f"\nwhere the time goes, widths {USUAL[0]} in {'bfloat16' if USUAL[1] else 'float32'}, five steps:")
    for part in parts[:14]:
        print(f"{part.self_cpu_time_total / whole:6.1%} {part.count // 5:5} a step  {part.key}")


if __name__ == "__main__":
    main()
