"""Reference values for src/net/optim and src/net/schedule.rs, by PyTorch.

    python tests/golden/net_optim.py > tests/golden/net_optim.json
"""

import json

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, SequentialLR

torch.manual_seed(0)


def adamw():
    """Six steps at changing learning rates; only parameters of two or more dimensions decay."""
    config = {"lr": 0.01, "weight_decay": 0.1, "betas": [0.8, 0.95], "eps": 1e-6}
    shapes = [[3, 4], [4], [2, 2, 2, 3], [1]]
    params = [torch.nn.Parameter(torch.randn(s)) for s in shapes]
    start = [p.detach().flatten().tolist() for p in params]
    common = {"lr": config["lr"], "betas": tuple(config["betas"]), "eps": config["eps"]}
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in params if p.dim() > 1], "weight_decay": config["weight_decay"]},
            {"params": [p for p in params if p.dim() <= 1], "weight_decay": 0.0},
        ],
        **common,
    )
    steps = []
    for step in range(6):
        lr = 0.01 * (step + 1)
        for group in optimizer.param_groups:
            group["lr"] = lr
        for p in params:
            p.grad = torch.randn_like(p) * 10 ** (step - 3)
        optimizer.step()
        steps.append(
            {
                "lr": lr,
                "grads": [p.grad.flatten().tolist() for p in params],
                "params": [p.detach().flatten().tolist() for p in params],
            }
        )
    state = [optimizer.state[p] for p in params]
    return {
        "config": config,
        "shapes": shapes,
        "start": start,
        "steps": steps,
        "first": [s["exp_avg"].flatten().tolist() for s in state],
        "second": [s["exp_avg_sq"].flatten().tolist() for s in state],
    }


def sgd(momentum, nesterov):
    """Six steps at changing learning rates; only parameters of two or more dimensions decay."""
    generator = torch.Generator().manual_seed(1)
    config = {"lr": 0.01, "momentum": momentum, "nesterov": nesterov, "weight_decay": 0.1}
    shapes = [[3, 4], [4], [2, 2, 2, 3], [1]]
    params = [torch.nn.Parameter(torch.randn(s, generator=generator)) for s in shapes]
    start = [p.detach().flatten().tolist() for p in params]
    optimizer = torch.optim.SGD(
        [
            {"params": [p for p in params if p.dim() > 1], "weight_decay": config["weight_decay"]},
            {"params": [p for p in params if p.dim() <= 1], "weight_decay": 0.0},
        ],
        lr=config["lr"],
        momentum=momentum,
        nesterov=nesterov,
    )
    steps = []
    for step in range(6):
        lr = 0.01 * (step + 1)
        for group in optimizer.param_groups:
            group["lr"] = lr
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator) * 10 ** (step - 3)
        grads = [p.grad.flatten().tolist() for p in params]
        optimizer.step()
        steps.append({"lr": lr, "grads": grads, "params": [p.detach().flatten().tolist() for p in params]})
    # Without momentum PyTorch keeps no sums: there is nothing to compare.
    state = [optimizer.state[p].get("momentum_buffer") for p in params]
    sums = [] if state[0] is None else [buffer.flatten().tolist() for buffer in state]
    return {"config": config, "shapes": shapes, "start": start, "steps": steps, "sums": sums}


def clip(scale, max_norm):
    params = [torch.nn.Parameter(torch.zeros(n)) for n in (5, 17, 1)]
    for p in params:
        p.grad = torch.randn_like(p) * scale
    grads = [p.grad.tolist() for p in params]
    norm = torch.nn.utils.clip_grad_norm_(params, max_norm)
    return {"grads": grads, "max_norm": max_norm, "norm": norm.item(), "clipped": [p.grad.tolist() for p in params]}


def learning_rates(make, peak, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def cosine(peak, steps, rising, floor):
    def make(optimizer):
        fall = CosineAnnealingLR(optimizer, T_max=steps - rising, eta_min=floor * peak)
        if rising == 0:
            return fall
        rise = LinearLR(optimizer, start_factor=1 / rising, total_iters=rising - 1)
        return SequentialLR(optimizer, [rise, fall], milestones=[rising])

    schedule = {"kind": "cosine", "warmup": rising / steps, "floor": floor}
    return {"schedule": schedule, "peak": peak, "lr": learning_rates(make, peak, steps)}


def one_cycle(peak, steps, warmup):
    def make(optimizer):
        return OneCycleLR(optimizer, max_lr=peak, total_steps=steps, pct_start=warmup, cycle_momentum=False)

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = make(optimizer)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps - 1):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return {"schedule": {"kind": "one_cycle", "warmup": warmup}, "peak": peak, "lr": rates}


if __name__ == "__main__":
    golden = {
        "adamw": adamw(),
        "sgd": [sgd(0.9, True), sgd(0.8, False), sgd(0.0, False)],
        "clips": [clip(1.0, 1.0), clip(0.01, 1.0), clip(100.0, 0.5)],
        "schedules": [
            cosine(0.002, 40, 4, 0.0),
            cosine(0.1, 30, 0, 0.1),
            one_cycle(0.01, 50, 0.3),
            one_cycle(0.01, 20, 0.25),
        ],
    }
    print(json.dumps(golden))
