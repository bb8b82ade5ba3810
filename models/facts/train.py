#!/usr/bin/env python3
"""Trains a small Llama on tokenized examples and writes its weights as safetensors.

The examples come from make-training-data.ts, the shape from the folder's config.json: this file knows
neither a claim nor a word. Only the reply's tokens are learnt. One seed, one thread and a fixed number of
steps give the same weights on the same machine.
"""

import argparse
import json
import math
import struct
import time

import torch
import torch.nn.functional as functional

PAD = 0


class Block(torch.nn.Module):
    """One decoder layer, with the parameter names of Hugging Face's Llama."""

    def __init__(self, config):
        super().__init__()
        hidden, head = config["hidden_size"], config["head_dim"]
        heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.heads, self.kv_heads, self.head = heads, kv_heads, head
        self.epsilon = config["rms_norm_eps"]
        linear = lambda inputs, outputs: torch.nn.Linear(inputs, outputs, bias=False)
        self.input_layernorm = Norm(hidden, self.epsilon)
        self.post_attention_layernorm = Norm(hidden, self.epsilon)
        self.self_attn = torch.nn.ModuleDict(
            {
                "q_proj": linear(hidden, heads * head),
                "k_proj": linear(hidden, kv_heads * head),
                "v_proj": linear(hidden, kv_heads * head),
                "o_proj": linear(heads * head, hidden),
            }
        )
        intermediate = config["intermediate_size"]
        self.mlp = torch.nn.ModuleDict(
            {
                "gate_proj": linear(hidden, intermediate),
                "up_proj": linear(hidden, intermediate),
                "down_proj": linear(intermediate, hidden),
            }
        )

    def forward(self, states, cos, sin, mask):
        """states [batch, length, hidden] -> the same; cos and sin [length, head/2], mask [length, length]."""
        states = states + self.attend(self.input_layernorm(states), cos, sin, mask)
        normed = self.post_attention_layernorm(states)
        gated = functional.silu(self.mlp["gate_proj"](normed)) * self.mlp["up_proj"](normed)
        return states + self.mlp["down_proj"](gated)

    def attend(self, states, cos, sin, mask):
        batch, length, _ = states.shape
        split = lambda name, heads: self.self_attn[name](states).view(batch, length, heads, self.head).transpose(1, 2)
        query = rotate(split("q_proj", self.heads), cos, sin)
        group = self.heads // self.kv_heads
        key = rotate(split("k_proj", self.kv_heads), cos, sin).repeat_interleave(group, dim=1)
        value = split("v_proj", self.kv_heads).repeat_interleave(group, dim=1)
        scores = query @ key.transpose(-1, -2) / math.sqrt(self.head) + mask
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, length, self.heads * self.head)
        return self.self_attn["o_proj"](mixed)


class Norm(torch.nn.Module):
    """Root-mean-square norm."""

    def __init__(self, size, epsilon):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, states):
        return states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + self.epsilon) * self.weight


def rotate(states, cos, sin):
    """Rotary position embedding, halves apart (not interleaved)."""
    first, second = states.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class Llama(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, vocabulary, head = config["hidden_size"], config["vocab_size"], config["head_dim"]
        self.model = torch.nn.ModuleDict(
            {
                "embed_tokens": torch.nn.Embedding(vocabulary, hidden),
                "layers": torch.nn.ModuleList([Block(config) for _ in range(config["num_hidden_layers"])]),
                "norm": Norm(hidden, config["rms_norm_eps"]),
            }
        )
        self.lm_head = torch.nn.Linear(hidden, vocabulary, bias=False)
        frequencies = config["rope_theta"] ** (-torch.arange(head // 2) * 2 / head)
        angles = torch.arange(config["max_position_embeddings"])[:, None] * frequencies
        self.cos, self.sin = angles.cos(), angles.sin()
        for parameter in self.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, 0, 0.05)

    def forward(self, ids):
        """ids [batch, length] -> hidden states [batch, length, hidden], before the head."""
        length = ids.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        mask = torch.full((length, length), -1e9).triu(1)
        states = self.model["embed_tokens"](ids)
        for layer in self.model["layers"]:
            states = layer(states, cos, sin, mask)
        return self.model["norm"](states)


def read_examples(path):
    """[(ids of prompt and reply, length of the prompt)]"""
    with open(path) as lines:
        examples = map(json.loads, lines)
        return [(example["prompt"] + example["reply"], len(example["prompt"])) for example in examples]


def collate(examples):
    """ids [batch, length], and targets: the next id where it belongs to a reply, else PAD."""
    length = max(len(ids) for ids, _ in examples)
    ids = torch.full((len(examples), length), PAD)
    targets = torch.full((len(examples), length), PAD)
    for row, (sequence, prompt) in enumerate(examples):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        targets[row, prompt - 1 : len(sequence) - 1] = torch.tensor(sequence[prompt:])
    return ids, targets


def batches(examples, size, generator):
    """Endless batches of examples of about one length, in random order."""
    pool = size * 16
    while True:
        order = torch.randperm(len(examples), generator=generator).tolist()
        for start in range(0, len(order) - pool + 1, pool):
            rows = sorted(order[start : start + pool], key=lambda row: len(examples[row][0]))
            for part in torch.randperm(16, generator=generator).tolist():
                yield collate([examples[row] for row in rows[part * size : (part + 1) * size]])


def reply_logits(model, ids, targets):
    """Logits at the positions whose next token belongs to a reply, and those tokens."""
    chosen = targets != PAD
    return model.lm_head(model(ids)[chosen]), targets[chosen]


@torch.no_grad()
def exact_share(model, examples):
    """The share of examples whose whole reply has the greatest logit at each of its tokens."""
    ids, targets = collate(examples)
    right = model.lm_head(model(ids)).argmax(-1) == targets
    return (right | (targets == PAD)).all(1).float().mean().item()


def learning_rate(step, steps, peak):
    """Linear warm-up over 100 steps, then a cosine down to a fiftieth of the peak."""
    warm = min(1, (step + 1) / 100)
    return peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def train(model, training, held_out, options):
    decayed = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98))
    source = batches(training, options.batch, torch.Generator().manual_seed(options.seed))
    started = time.monotonic()
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options.steps, options.rate)
        loss = functional.cross_entropy(*reply_logits(model, *next(source)))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 200 == 0 or step + 1 == options.steps:
            share = exact_share(model, held_out)
            passed = time.monotonic() - started
            print(f"{passed:.0f} s, step {step + 1}: loss {loss.item():.4f}, held-out replies exact {share:.3f}", flush=True)
            write_safetensors(options.out, model.state_dict())


def write_safetensors(path, tensors):
    """Names in order, fp32, little-endian; see https://huggingface.co/docs/safetensors."""
    header, offset, parts = {}, 0, []
    for name in sorted(tensors):
        data = tensors[name].contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
        parts.append(data)
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded + b"".join(parts))


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="config.json of the model folder")
    parser.add_argument("--training", required=True, help="JSONL of training examples")
    parser.add_argument("--held-out", required=True, help="JSONL of examples to report on")
    parser.add_argument("--out", required=True, help="safetensors file to write")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=192, help="examples a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main():
    options = parse_options()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    with open(options.config) as file:
        model = Llama(json.load(file))
    print("parameters:", sum(parameter.numel() for parameter in model.parameters()), flush=True)
    train(model, read_examples(options.training), read_examples(options.held_out), options)


if __name__ == "__main__":
    main()
