"""How long a training step takes, by width and precision, measured in turns so that a noisy machine is noisy to all.

    .venv/bin/python bench/step.py
"""

import statistics, time

import torch

from classypics.codec import SpaceToDepth
from classypics.core import generator
from classypics.denoiser import ClassLabels, Denoiser, DenoisingTask
from classypics.schedule import LogNormal
from classypics.unet import UNet

BATCH, ROUNDS = 64, 12
batch = torch.randint(0, 256, (BATCH, 1, 28, 28), dtype=torch.uint8), torch.zeros(BATCH, 1, dtype=torch.int64)


def stepper(widths: tuple, bf16: bool):
    "A function that takes one step, and the size of its net in millions."
    denoiser = Denoiser(UNet(4, widths=widths), ClassLabels([str(k) for k in range(10)]))
    task = DenoisingTask(denoiser, SpaceToDepth(1, (28, 28), multiple=2), LogNormal(), bf16=bf16)
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-4, fused=True)

    def step():
        task(**task.draw(batch, generator(0))).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, sum(p.numel() for p in task.parameters()) / 1e6


kinds = {(w, b): stepper(w, b) for w in ((16, 32), (32, 64), (64, 128)) for b in (False, True)}
seconds = {kind: [] for kind in kinds}
for _ in range(ROUNDS + 2):
    for kind, (step, _) in kinds.items():
        start = time.perf_counter()
        step()
        seconds[kind].append(time.perf_counter() - start)
print(f"batch {BATCH}, 28x28 grey folded 2x2, {torch.get_num_threads()} threads, torch {torch.__version__}")
for (widths, bf16), times in seconds.items():
    middle, low, high = statistics.median(times[2:]), min(times[2:]), max(times[2:])
    print(
        f"widths {widths!s:9} {'bfloat16' if bf16 else 'float32 '} {kinds[widths, bf16][1]:5.2f} M parameters: "
        f"{1000 * middle:4.0f} ms a step ({1000 * low:.0f} to {1000 * high:.0f}), {BATCH / middle:5.0f} pictures/s"
    )
