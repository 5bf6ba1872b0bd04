"""Trains a model of MiniCPM's ladder with PyTorch, eager, as a careful user writes it: the other side of tests/bench/training_speed.

The model is that of plugins/models/minicpm: RMSNorm, rotary positions, grouped-query attention, SwiGLU, tied embeddings and MiniCPM's
scaling of embeddings, residual branches, logits, initial weights and learning rates. Linear layers that read the same input are one
matrix, attention is scaled_dot_product_attention, AdamW is the fused one. Prints one JSON object.

  python3 pytorch_trainer.py --size 9m --steps 12 --threads 2
"""
import argparse
import json
import math
import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    layers: int
    width: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int = 8192
    scale_emb: float = 12.0
    scale_depth: float = 1.4
    dim_model_base: int = 256
    init_std: float = 0.1

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def width_ratio(self) -> float:
        return self.width / self.dim_model_base


SHAPES = {
    "9m": Shape(layers=8, width=320, heads=5, kv_heads=5, feed_forward=800),
    "36m": Shape(layers=12, width=512, heads=8, kv_heads=8, feed_forward=1280),
}


class Attention(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.widths = [shape.heads * shape.head_width, shape.kv_heads * shape.head_width, shape.kv_heads * shape.head_width]
        self.head_width, self.grouped = shape.head_width, shape.heads != shape.kv_heads
        self.query_key_value = nn.Linear(shape.width, sum(self.widths), bias=False)
        self.output = nn.Linear(self.widths[0], shape.width, bias=False)

    def forward(self, x, rotation):  # x [B, T, C]
        query, key, value = (part.unflatten(-1, (-1, self.head_width)).transpose(1, 2)  # [B, H, T, C / H]
                             for part in self.query_key_value(x).split(self.widths, dim=-1))
        mixed = F.scaled_dot_product_attention(rotate(query, rotation), rotate(key, rotation), value, is_causal=True, enable_gqa=self.grouped)
        return self.output(mixed.transpose(1, 2).flatten(2))


def rotation_table(length: int, head_width: int):
    """cos and sin [T, C / H / 2] of rotary positions, base 10000."""
    frequencies = 10000.0 ** (-torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies)
    return angles.cos().float(), angles.sin().float()


def rotate(x, rotation):  # the halves of a head are the two coordinates
    cos, sin = rotation
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


class FeedForward(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.gate_up = nn.Linear(shape.width, 2 * shape.feed_forward, bias=False)
        self.down = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, x):
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.attention_norm, self.feed_forward_norm = nn.RMSNorm(shape.width, eps=1e-5), nn.RMSNorm(shape.width, eps=1e-5)
        self.attention, self.feed_forward = Attention(shape), FeedForward(shape)
        self.scale = shape.scale_depth / math.sqrt(shape.layers)

    def forward(self, x, rotation):
        x = torch.add(x, self.attention(self.attention_norm(x), rotation), alpha=self.scale)
        return torch.add(x, self.feed_forward(self.feed_forward_norm(x)), alpha=self.scale)


class MiniCPM(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=1e-5)
        nn.init.normal_(self.embedding.weight, std=shape.init_std)
        for matrix in self.matrices():
            nn.init.normal_(matrix, std=shape.init_std / math.sqrt(shape.width_ratio))

    def matrices(self):
        return [module.weight for module in self.modules() if isinstance(module, nn.Linear)]

    def forward(self, tokens, targets, rotation):  # [B, T] each; mean loss in nats per token
        x = self.embedding(tokens) * self.shape.scale_emb
        for block in self.blocks:
            x = block(x, rotation)
        logits = F.linear(self.norm(x) / self.shape.width_ratio, self.embedding.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def adamw(model: MiniCPM, lr: float) -> torch.optim.Optimizer:
    matrices = model.matrices()
    known = {id(matrix) for matrix in matrices}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    return torch.optim.AdamW([{"params": matrices, "lr": lr / model.shape.width_ratio, "weight_decay": 0.1},
                              {"params": others, "lr": lr, "weight_decay": 0.0}], betas=(0.9, 0.95), fused=True)


def train(model: MiniCPM, steps: int, sequences: int, length: int):
    """Seconds and losses of each step, on random tokens: no step's time depends on what the tokens are."""
    optimizer, rotation = adamw(model, lr=0.01), rotation_table(length, model.shape.head_width)
    seconds, losses = [], []
    for _ in range(steps):
        text = torch.randint(model.shape.vocabulary, (sequences, length + 1))
        started = time.perf_counter()
        loss = model(text[:, :-1].contiguous(), text[:, 1:].contiguous(), rotation)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        seconds.append(time.perf_counter() - started)
    return seconds, losses


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=SHAPES, default="9m")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(options.threads)
    model = MiniCPM(SHAPES[options.size])
    seconds, losses = train(model, options.steps, options.sequences, options.length)
    print(json.dumps({"torch": torch.__version__, "parameters": sum(p.numel() for p in model.parameters()), "seconds": seconds, "losses": losses}))


if __name__ == "__main__":
    main()
