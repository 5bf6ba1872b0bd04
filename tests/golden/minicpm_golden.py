"""Writes minicpm/*.safetensors: weights, a batch, and what PyTorch's autograd makes of them in double precision.

Run:  python tests/golden/minicpm_golden.py    (needs torch and safetensors; the version is recorded in each file)

The model is written here from the formulas of MiniCPM (arXiv 2404.06395, table 7) and Llama, as plainly as possible and without any
thought of speed. A file holds, all as float32 or int32: parameter/NAME, gradient/NAME, tokens, targets, loss_weights, positions,
document_starts, logits, token_losses, loss (of the batch), losses (before each of 20 steps of torch.optim.AdamW on the batch).
"""

import math
import pathlib

import torch
from safetensors.torch import save_file

BASE = dict(layers=2, width=32, heads=4, kv_heads=4, feed_forward=48, vocabulary=64, tied_embeddings=True, dim_model_base=16,
            scale_emb=12.0, scale_depth=1.4, rope_theta=10000.0, norm_epsilon=1e-5, init_std=0.1)
ADAMW = dict(lr=0.01, betas=(0.9, 0.95), eps=1e-8)
DECAY = 0.1

# name: (changes to BASE, lengths of the documents of each sequence)
CASES = {
    "tied": (dict(), [[24], [24]]),
    "untied": (dict(tied_embeddings=False, rope_theta=500.0), [[24], [24]]),
    "grouped_queries": (dict(kv_heads=2), [[40], [40]]),
    "documents": (dict(kv_heads=1, tied_embeddings=False, vocabulary=48), [[1, 20, 19], [33, 7], [40]]),
    "long_documents": (dict(layers=1, kv_heads=2), [[131, 19], [150]]),
}


def parameter_shapes(m):
    width, head = m["width"], m["width"] // m["heads"]
    shapes = {"embedding.weight": (m["vocabulary"], width)}
    for i in range(m["layers"]):
        shapes[f"block.{i}.attention.norm.weight"] = (width,)
        shapes[f"block.{i}.attention.qkv.weight"] = ((m["heads"] + 2 * m["kv_heads"]) * head, width)
        shapes[f"block.{i}.attention.out.weight"] = (width, width)
        shapes[f"block.{i}.feed_forward.norm.weight"] = (width,)
        shapes[f"block.{i}.feed_forward.gate_up.weight"] = (2 * m["feed_forward"], width)
        shapes[f"block.{i}.feed_forward.down.weight"] = (width, m["feed_forward"])
    shapes["head.norm.weight"] = (width,)
    if not m["tied_embeddings"]:
        shapes["head.weight"] = (m["vocabulary"], width)
    return shapes


def is_hidden_matrix(name, tensor):
    return name.startswith("block.") and tensor.dim() == 2


def random_parameters(m):
    ratio = m["width"] / m["dim_model_base"]
    parameters = {}
    for name, shape in parameter_shapes(m).items():
        if len(shape) == 1:
            value = 1 + 0.2 * torch.randn(shape)  # not all ones, so that a norm's weight matters
        else:
            value = torch.randn(shape) * m["init_std"] / (math.sqrt(ratio) if name.startswith("block.") else 1)
        parameters[name] = value.float().double().requires_grad_()
    return parameters


def rms_norm(x, weight, epsilon):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + epsilon) * weight


def rotate(x, positions, theta):  # x [B, T, heads, D]: each pair (i, i + D/2) is a complex number, turned by position * theta^(-2i/D)
    half = x.shape[-1] // 2
    frequencies = theta ** (-torch.arange(half, dtype=torch.float64) / half)
    turn = torch.polar(torch.ones(()).double(), positions[..., None].double() * frequencies)[:, :, None, :]
    turned = torch.complex(x[..., :half], x[..., half:]) * turn
    return torch.cat((turned.real, turned.imag), -1)


def attention(x, qkv_weight, out_weight, m, batch):
    B, T, width = x.shape
    heads, kv_heads, D = m["heads"], m["kv_heads"], width // m["heads"]
    q, k, v = (x @ qkv_weight.T).view(B, T, heads + 2 * kv_heads, D).split((heads, kv_heads, kv_heads), dim=2)
    q, k = rotate(q, batch["positions"], m["rope_theta"]), rotate(k, batch["positions"], m["rope_theta"])
    k, v = (t.repeat_interleave(heads // kv_heads, dim=2) for t in (k, v))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(D)
    scores = scores.masked_fill(~batch["visible"][:, None], -math.inf)
    return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).reshape(B, T, width) @ out_weight.T


def feed_forward(x, gate_up_weight, down_weight):
    gate, up = (x @ gate_up_weight.T).chunk(2, -1)
    return (gate / (1 + torch.exp(-gate)) * up) @ down_weight.T


def logits_of(p, m, batch):
    residual, epsilon = m["scale_depth"] / math.sqrt(m["layers"]), m["norm_epsilon"]
    x = p["embedding.weight"][batch["tokens"]] * m["scale_emb"]
    for i in range(m["layers"]):
        a, f = f"block.{i}.attention.", f"block.{i}.feed_forward."
        normed = rms_norm(x, p[a + "norm.weight"], epsilon)
        x = x + residual * attention(normed, p[a + "qkv.weight"], p[a + "out.weight"], m, batch)
        normed = rms_norm(x, p[f + "norm.weight"], epsilon)
        x = x + residual * feed_forward(normed, p[f + "gate_up.weight"], p[f + "down.weight"])
    head = p["embedding.weight"] if m["tied_embeddings"] else p["head.weight"]
    return rms_norm(x, p["head.norm.weight"], epsilon) @ head.T / (m["width"] / m["dim_model_base"])


def loss_of(logits, batch):
    token_losses = -logits.log_softmax(-1).gather(-1, batch["targets"][..., None])[..., 0]
    weights = batch["loss_weights"]
    return token_losses, (token_losses * weights).sum() / weights.sum()


def random_batch(m, lengths):
    B, T = len(lengths), sum(lengths[0])
    document = torch.stack([torch.repeat_interleave(torch.arange(len(row)), torch.tensor(row)) for row in lengths])
    starts = [0]
    for length in (length for row in lengths for length in row):
        starts.append(starts[-1] + length)
    weights = torch.rand(B, T)
    weights[torch.rand(B, T) < 0.2] = 0
    return {
        "tokens": torch.randint(0, m["vocabulary"], (B, T)),
        "targets": torch.randint(0, m["vocabulary"], (B, T)),
        "loss_weights": weights.float().double(),
        "positions": torch.stack([torch.cat([torch.arange(n) for n in row]) for row in lengths]),
        "document_starts": torch.tensor(starts),
        "visible": torch.ones(T, T).tril().bool() & (document[:, :, None] == document[:, None, :]),
    }


def adamw_losses(parameters, m, batch, steps=20):
    ratio = m["width"] / m["dim_model_base"]
    p = {name: value.detach().clone().requires_grad_() for name, value in parameters.items()}
    matrices = [value for name, value in p.items() if is_hidden_matrix(name, value)]
    others = [value for name, value in p.items() if not is_hidden_matrix(name, value)]
    optimizer = torch.optim.AdamW([dict(params=matrices, lr=ADAMW["lr"] / ratio, weight_decay=DECAY),
                                   dict(params=others, weight_decay=0.0)], **ADAMW)
    losses = []
    for _ in range(steps):
        loss = loss_of(logits_of(p, m, batch), batch)[1]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.tensor(losses)


def write(path, changes, lengths):
    m = BASE | changes
    parameters, batch = random_parameters(m), random_batch(m, lengths)
    logits = logits_of(parameters, m, batch)
    token_losses, loss = loss_of(logits, batch)
    loss.backward()
    tensors = {f"parameter/{name}": value.detach() for name, value in parameters.items()}
    tensors |= {f"gradient/{name}": value.grad for name, value in parameters.items()}
    tensors |= {name: value for name, value in batch.items() if name != "visible"}
    tensors |= dict(logits=logits.detach(), token_losses=token_losses.detach(), loss=loss.detach().view(1),
                    losses=adamw_losses(parameters, m, batch))
    tensors = {name: (value.float() if value.is_floating_point() else value.int()).contiguous() for name, value in tensors.items()}
    metadata = {name: str(value).lower() for name, value in m.items()} | {"made_with": f"torch {torch.__version__}, minicpm_golden.py"}
    save_file(tensors, path, metadata)


if __name__ == "__main__":
    torch.manual_seed(20240406)
    folder = pathlib.Path(__file__).parent / "minicpm"
    folder.mkdir(exist_ok=True)
    for case, (changes, lengths) in CASES.items():
        write(folder / f"{case}.safetensors", changes, lengths)
