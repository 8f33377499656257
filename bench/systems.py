"""The systems that `bench/peers.py` compares, each at its own settings. Peers are imported; nothing of them is copied.

A system keeps what it needs to go on in its folder. It has

    learn(until)             train until `until` seconds of training are spent (inf: to the end), and save
    seconds, seen            spent so far, and pictures seen in them
    ready(makers)            get ready to draw (`makers`: with the sampler of its makers' examples), and give a module
                             that is called once an evaluation
    draw(labels, seed)       a picture (bytes) a label
    parameters()             of the net
    trained, drawn, by_makers  how, in words (`by_makers` where that sampler is another one)

Everyone gets the same pictures in the same way: `Batches` of the whole training set, never mirrored (the examples of
all three peers mirror theirs, which is no help where shoes point one way), padded with black where a net wants it.
"""

import math, os, signal, threading, time
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from torch import nn

from classypics import schedule
from classypics import train as loop
from classypics.core import replacing, seeded, to_float, to_uint8
from classypics.data import Batches, Data
from classypics.pipeline import Pipeline
from classypics.recipe import Recipe, read_recipe, train
from classypics.train import fit, read_course


def has_bf16() -> bool:
    return getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()


def adamw():
    "While it lasts `fit` trains with AdamW, as it did before Muon."

    def plain(model, **options):
        return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True, **options)

    return mock.patch.object(loop, "Muon", plain)


def decay(share: float):
    "While it lasts the rate falls in the last `share` of a run; it was a quarter before it was a half."
    return mock.patch.object(loop, "DECAY", share)


def each_alone():
    "While it lasts the noise level of a picture knows nothing of the others in its batch, as it was before."
    alone = lambda n, generator: torch.rand(n, generator=generator, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    return mock.patch.object(schedule, "spread", alone)


# Ours


class Classypics:
    "This project as a person meets it: the data and the minutes are said, and nothing else."

    pinned, by_makers = {"device": "cpu"}, None  # where the peers are
    trained = "as `plan` chooses"

    def __init__(self, source: str, data: Data, folder: Path, minutes: float):
        self.folder = folder / "run"
        self.recipe = Recipe(source, out=str(self.folder), minutes=minutes, **self.pinned)
        self.state = self.folder / "resume" / "state.safetensors"

    @property
    def seconds(self) -> float:
        return read_course(self.state).seconds if self.state.exists() else 0.0

    @property
    def seen(self) -> int:
        if not self.state.exists():
            return 0
        return read_course(self.state).done * read_recipe(self.folder / "recipe.yaml").batch_size

    def learn(self, until: float) -> None:
        "`train`, stopped by the Ctrl-C that a person would press, and gone on with as by --resume."
        begun, over, left = time.time(), threading.Event(), until - self.seconds

        def stop() -> None:
            while not any(log.stat().st_mtime >= begun for log in self.folder.glob("*log.csv")):
                if over.wait(0.1):  # until the first step
                    return
            if not over.wait(max(0.0, left)):
                os.kill(os.getpid(), signal.SIGINT)

        if until < math.inf:
            threading.Thread(target=stop, daemon=True).start()
        train(self.recipe, resume=True, progress=False)
        over.set()

    def ready(self, makers: bool = False) -> nn.Module:
        self.pipe = Pipeline.from_pretrained(self.folder)
        said = self.pipe.config["defaults"]
        low, high = said["guidance_interval"]
        self.drawn = f"{said['sampler']}, {said['num_inference_steps']} steps, guidance {said['guidance_scale']:g}"
        self.drawn += f" where sigma is {low:g} to {high:g}"
        return self.pipe.denoiser.net

    def parameters(self) -> int:
        return sum(p.numel() for part in (self.pipe.denoiser, self.pipe.codec) for p in part.parameters())

    def draw(self, labels: torch.Tensor, seed: int) -> torch.Tensor:
        return self.pipe(labels, seed=seed, batch_size=len(labels)).pixels


class Trial(Classypics):
    "The small net whose trial is the floor: every field that could change its meaning with a new default is said here."

    pinned = dict(
        codec="space_to_depth", factor=2, widths=[32, 64], blocks=1, attention=1, cross_attention=0,
        film_conditioning=True, augment=[], prediction="edm", schedule="log_normal", batch_size=64, accumulate=1,
        lr=3e-3, label_dropout=0.1, average=0.1, bf16=has_bf16(), device="cpu", seed=0, save_every=30.0,
        num_inference_steps=12, guidance_scale=1.5, guidance_interval=[0.0, 1e9], sampler="dpmpp_2m",
    )  # fmt: skip
    trained = "widths 32, 64, folded 2x2, edm, AdamW 3e-3 with decay to zero, batch 64"

    def learn(self, until: float) -> None:
        "As it was tried, not as `fit` trains since."
        with adamw(), decay(0.25), each_alone():
            super().learn(until)


# Peers


def padded(pictures: torch.Tensor, pad: int) -> torch.Tensor:
    "Bytes as floats in [-1, 1], with so many black pixels on each side."
    return F.pad(to_float(pictures), (pad,) * 4, value=-1.0)


class Peer:
    "A peer's own net, loss, optimizer, average and sampler, in a loop and on a clock that are the same for all."

    batch = 16  # pictures a step
    unit = 1  # its net takes pictures whose sides are multiples of it
    by_makers = None

    def __init__(self, source: str, data: Data, folder: Path, minutes: float):
        height, width = data.train.size
        if height != width:
            raise SystemExit(f"the peers take square pictures, and those of {data.name} are {height}x{width}")
        self.pad = -height % self.unit // 2
        self.side, self.channels, self.classes = height + 2 * self.pad, data.train.channels, len(data.train.classes)
        self.pictures, self.batches = len(data.train), Batches(data.train, self.batch, seed=0)
        self.path, self.minutes, self.seconds, self.steps = folder / "state.pt", minutes, 0.0, 0
        with seeded(0, "weights"):
            self.build()
        if self.path.exists():
            self.load()

    seen = property(lambda self: self.steps * self.batch)

    def learn(self, until: float) -> None:
        torch.manual_seed(self.steps)
        until, saved = min(until, 60 * self.minutes), time.monotonic()
        try:
            while self.seconds < until:
                before = time.perf_counter()
                self.step()
                self.seconds += time.perf_counter() - before
                self.steps += 1
                if time.monotonic() - saved > 60:  # off the clock
                    self.save()
                    saved = time.monotonic()
        finally:
            self.save()

    def save(self) -> None:
        "What it takes to go on, or, where there is nothing left to do, to draw."
        ends = self.seconds >= 60 * self.minutes
        parts = {name: part.state_dict() for name, part in self.parts.items() if name == "average" or not ends}
        with replacing(self.path) as tmp:
            torch.save(parts | {"seconds": self.seconds, "steps": self.steps}, tmp)

    def load(self) -> None:
        state = torch.load(self.path, weights_only=True)
        for name in self.parts.keys() & state.keys():
            self.parts[name].load_state_dict(state[name])
        self.seconds, self.steps = state["seconds"], state["steps"]

    def next_batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        "Pictures (B,C,side,side) in [-1, 1], and labels (B,)."
        pictures, labels = self.batches[self.steps]
        return padded(pictures, self.pad), labels[:, 0]

    def parameters(self) -> int:
        return sum(p.numel() for p in self.net.parameters())

    @torch.no_grad()
    def draw(self, labels: torch.Tensor, seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        cut = slice(self.pad, self.side - self.pad)
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):  # float32 takes twice as long
            drawn = self.sample(labels[:, 0])
        return to_uint8(drawn.float()[:, :, cut, cut])


class Diffusers(Peer):
    "UNet2DModel at the settings of diffusers' unconditional training example, with its class embedding."

    unit = 32  # the net halves its pictures five times
    trained = "AdamW 1e-4 after 500 steps of warm-up, batch 16, float32"
    drawn, by_makers = "DDIM, 50 steps, no guidance", "DDPM, 1,000 steps, no guidance"
    shape = dict(
        layers_per_block=2,
        block_out_channels=(128, 128, 256, 256, 512, 512),
        down_block_types=("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
    )

    def build_net(self) -> None:
        from diffusers import DDPMScheduler, UNet2DModel

        sizes = dict(sample_size=self.side, in_channels=self.channels, out_channels=self.channels)
        self.net = UNet2DModel(**sizes, num_class_embeds=self.classes, **self.shape)
        self.schedule = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")

    def build(self) -> None:
        from diffusers.optimization import get_scheduler
        from diffusers.training_utils import EMAModel

        self.build_net()
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6)
        steps = 100 * math.ceil(self.pictures / self.batch)  # its example's cosine is as long as its hundred epochs
        self.rate = get_scheduler("cosine", self.optimizer, num_warmup_steps=500, num_training_steps=steps)
        self.average = EMAModel(self.net.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
        self.parts = {"net": self.net, "optimizer": self.optimizer, "rate": self.rate, "average": self.average}

    def step(self) -> None:
        x0, labels = self.next_batch()
        noise, t = torch.randn_like(x0), torch.randint(1000, (len(x0),))
        guess = self.net(self.schedule.add_noise(x0, noise, t), t, class_labels=labels).sample
        F.mse_loss(guess, noise).backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.rate.step()
        self.average.step(self.net.parameters())
        self.optimizer.zero_grad()

    def ready(self, makers: bool = False) -> nn.Module:
        self.average.copy_to(self.net.parameters())
        self.set_steps(makers)
        return self.net.eval()

    def set_steps(self, makers: bool) -> None:
        from diffusers import DDIMScheduler

        if not makers:
            self.schedule = DDIMScheduler.from_config(self.schedule.config, timestep_spacing="trailing")
        self.schedule.set_timesteps(1000 if makers else 50)

    def sample(self, labels: torch.Tensor) -> torch.Tensor:
        x = torch.randn(len(labels), self.channels, self.side, self.side)
        for t in self.schedule.timesteps:
            x = self.schedule.step(self.net(x, t, class_labels=labels).sample, t, x).prev_sample
        return x


class DiffusersOurs(Diffusers):
    "The same class of net, loss and sampler, at the trial's width, batch, rate, average and precision, by our `fit`."

    batch, unit = 64, 2
    trained = "widths 32, 64, Muon 3e-3 with decay to zero, batch 64, bf16 where the trial has it"
    shape = dict(
        layers_per_block=1,
        block_out_channels=(32, 64),
        norm_num_groups=2,  # of 16 and 32 channels: small groups are slow
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )

    def build(self) -> None:
        self.build_net()
        self.task = _Epsilon(self.net.to(memory_format=torch.channels_last), self.schedule, self.pad)
        self.path = self.path.with_name("state.safetensors")

    def load(self) -> None:
        course = read_course(self.path)
        self.seconds, self.steps = course.seconds, course.done

    def walk(self):
        recipe = {k: Trial.pinned[k] for k in ("lr", "average", "seed")}
        return fit(self.task, self.batches, minutes=self.minutes, state=self.path, **recipe)

    def learn(self, until: float) -> None:
        walk = self.walk()
        for step in walk:
            self.seconds, self.steps = step.seconds, step.done
            if step.seconds >= until:
                walk.close()

    def ready(self, makers: bool = False) -> nn.Module:
        self.net = next(self.walk()).average.net
        self.set_steps(makers)
        return self.net.eval()


class _Epsilon(nn.Module):
    "The loss of diffusers' example as `fit` wants a task."

    def __init__(self, net, schedule, pad: int):
        super().__init__()
        self.net, self.schedule, self.pad, self.bf16 = net, schedule, pad, Trial.pinned["bf16"]

    def draw(self, batch, generator) -> dict:
        pictures, labels = batch
        x0 = padded(pictures, self.pad)
        noise, t = torch.randn(x0.shape, generator=generator), torch.randint(1000, (len(x0),), generator=generator)
        return {"x0": x0, "labels": labels[:, 0], "noise": noise, "t": t}

    def forward(self, x0, labels, noise, t):
        x = self.schedule.add_noise(x0, noise, t).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            guess = self.net(x, t, class_labels=labels).sample
        return F.mse_loss(guess.float(), noise)


class DenoisingDiffusionPytorch(Peer):
    "The guidance U-Net of denoising-diffusion-pytorch at the defaults of its net, its diffusion and its Trainer."

    unit = 8
    trained = "Adam 1e-4, batch 16, float32, labels withheld from half"
    drawn = "DDIM, 25 steps, guidance 6 rescaled by 0.7"
    by_makers = "DDIM, 250 steps with fresh noise, guidance 6 rescaled by 0.7"

    def build(self) -> None:
        from denoising_diffusion_pytorch.classifier_free_guidance import GaussianDiffusion, Unet
        from ema_pytorch import EMA

        self.net = Unet(dim=64, dim_mults=(1, 2, 4, 8), num_classes=self.classes, channels=self.channels)
        self.diffusion = GaussianDiffusion(self.net, image_size=self.side, timesteps=1000)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-4, betas=(0.9, 0.99))
        self.average = EMA(self.diffusion, beta=0.995, update_every=10, include_online_model=False)
        self.parts = {"net": self.net, "optimizer": self.optimizer, "average": self.average}

    def step(self) -> None:
        x0, labels = self.next_batch()
        self.diffusion((x0 + 1) / 2, classes=labels).backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update()

    def ready(self, makers: bool = False) -> nn.Module:
        from denoising_diffusion_pytorch.classifier_free_guidance import GaussianDiffusion

        net = self.average.ema_model.model.eval()
        # fresh noise in every step, its default, wants many steps: with few it is left out
        how = dict(sampling_timesteps=250) if makers else dict(sampling_timesteps=25, ddim_sampling_eta=0.0)
        self.sampler = GaussianDiffusion(net, image_size=self.side, timesteps=1000, **how).eval()
        return net.init_conv  # guidance calls `net.forward`, past every hook; its first layer is asked as often

    def sample(self, labels: torch.Tensor) -> torch.Tensor:
        return 2 * self.sampler.sample(labels, cond_scale=6.0, rescaled_phi=0.7) - 1


class Smalldiffusion(Peer):
    "The conditional DiT of smalldiffusion as in its example on Fashion-MNIST."

    batch = 64  # its 1,024 would be a dozen steps in ten minutes, and 10 GB
    unit = 2
    trained = "AdamW 1e-3, batch 64 (its example: 1,024), float32"
    drawn = "its sampler with gam 1.6, 20 steps, no guidance"

    def build(self) -> None:
        from smalldiffusion import CondEmbedderLabel, DiT, ScheduleDDPM
        from torch_ema import ExponentialMovingAverage

        shape = dict(patch_size=2, depth=6, head_dim=32, num_heads=6, mlp_ratio=4.0)
        label = CondEmbedderLabel(32 * 6, self.classes, 0.1)
        self.net = DiT(in_dim=self.side, channels=self.channels, cond_embed=label, **shape)
        self.schedule = ScheduleDDPM(beta_start=0.0001, beta_end=0.02, N=1000)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-3)
        self.average = ExponentialMovingAverage(self.net.parameters(), decay=0.99)
        self.parts = {"net": self.net, "optimizer": self.optimizer, "average": self.average}

    def step(self) -> None:
        from smalldiffusion import generate_train_sample

        self.net.train()
        self.optimizer.zero_grad()
        x0, sigma, eps, labels = generate_train_sample(self.next_batch(), self.schedule, conditional=True)
        self.net.get_loss(x0, sigma, eps, cond=labels).backward()
        self.optimizer.step()
        self.average.update()

    def ready(self, makers: bool = False) -> nn.Module:
        self.average.copy_to(self.net.parameters())
        return self.net.eval()

    def sample(self, labels: torch.Tensor) -> torch.Tensor:
        from smalldiffusion import samples

        sigmas = self.schedule.sample_sigmas(20)
        start = self.net.rand_input(len(labels)) * sigmas[0]  # else it begins where accelerate finds a GPU
        walk = samples(self.net, sigmas, gam=1.6, batchsize=len(labels), cond=labels, xt=start)
        return list(walk)[-1]


SYSTEMS = {
    "classypics": Classypics,
    "trial": Trial,
    "diffusers": Diffusers,
    "diffusers_ours": DiffusersOurs,
    "denoising_diffusion_pytorch": DenoisingDiffusionPytorch,
    "smalldiffusion": Smalldiffusion,
}
