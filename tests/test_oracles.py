"The same numbers as diffusers: schedules, and DDPM and DDIM step by step with the same noise."

import diffusers
import pytest
import torch

from classypics.core import generator
from classypics.sample import ddim
from classypics.schedule import Discrete

NAMES = {
    "linear": (1e-4, 0.02, "linear"),
    "scaled_linear": (0.00085, 0.012, "scaled_linear"),
    "cosine": (1e-4, 0.02, "squaredcos_cap_v2"),
}


def theirs(kind: str, scheduler=diffusers.DDPMScheduler, **options):
    start, end, name = NAMES[kind]
    options |= {"num_train_timesteps": 1000, "clip_sample": False, "timestep_spacing": "trailing"}
    return scheduler(beta_start=start, beta_end=end, beta_schedule=name, **options)


@pytest.mark.parametrize("kind", NAMES)
def test_alphas_cumprod(kind):
    torch.testing.assert_close(Discrete(kind).alphas_cumprod.float(), theirs(kind).alphas_cumprod, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["linear", "scaled_linear"])
def test_a_shorter_table_ends_as_noisy(kind):
    whole, short = Discrete(kind), Discrete(kind, timesteps=100)
    assert short.table[-1] > whole.table[-1] / 3 > 1 and short.table[0] < 0.2


@pytest.mark.parametrize("steps", [7, 20, 1000])
def test_trailing_timesteps(steps):
    scheduler, schedule = theirs("linear"), Discrete("linear")
    scheduler.set_timesteps(steps)
    assert torch.equal(schedule.sigmas(steps)[:-1], schedule.table[scheduler.timesteps])


def ideal(x, sigma):
    "The best guess where pictures are Gaussian, mean 0.3 and deviation 0.7."
    return 0.3 + 0.49 / (0.49 + sigma**2) * (x - 0.3)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize(
    "scheduler, eta, options",
    [
        (diffusers.DDPMScheduler, 1.0, {"variance_type": "fixed_small"}),
        (diffusers.DDIMScheduler, 0.0, {}),
        (diffusers.DDIMScheduler, 0.6, {}),
        (diffusers.DDIMScheduler, 1.0, {}),
    ],
)
def test_sampler_equals_diffusers_step_by_step(kind, scheduler, eta, options):
    steps, schedule, their = 50, Discrete(kind), theirs(kind, scheduler, **options)
    their.alphas_cumprod = schedule.alphas_cumprod  # float64 on both sides
    their.one = their.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    their.set_timesteps(steps)
    sigmas, shape = schedule.sigmas(steps), (2, 3, 4, 4)
    x = sigmas[0] * torch.randn(shape, generator=generator("start"), dtype=torch.float64)
    ours, their_noise = generator("fresh"), generator("fresh")
    walk = ddim(ideal, x, sigmas, eta=eta, noise=lambda: torch.randn(shape, generator=ours, dtype=torch.float64))
    x_vp = schedule.alphas_cumprod[their.timesteps[0]].sqrt() * x
    arguments = {"generator": their_noise} | ({} if scheduler is diffusers.DDPMScheduler else {"eta": eta})
    for i, (x, _) in enumerate(walk):
        t = their.timesteps[i]
        alpha_bar = schedule.alphas_cumprod[t]
        sigma = schedule.table[t]
        seen = x_vp / alpha_bar.sqrt()
        eps = (seen - ideal(seen, sigma)) / sigma
        x_vp = their.step(eps, t, x_vp, **arguments).prev_sample
        after = schedule.alphas_cumprod[their.timesteps[i + 1]] if i + 1 < steps else their.one
        torch.testing.assert_close(after.sqrt() * x, x_vp, atol=1e-8, rtol=0)
    assert i == steps - 1
