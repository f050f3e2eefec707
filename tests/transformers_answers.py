"""What transformers answers to ``model_calls``: kept in ``transformers_answers.json`` for machines without it.

``python tests/transformers_answers.py`` asks it again. An array is kept as its shape and two sums over its elements
with weights of their own: any element that changes, changes them.
"""

from __future__ import annotations

import json
from pathlib import Path

import decoder_calls
import numpy as np
from model_calls import MODELS, READERS, ran, read

KEPT = Path(__file__).with_suffix(".json")
DECODERS_KEPT = Path(__file__).with_name("decoder_answers.json")


def print_of(array):
    """[shape, two weighted sums] of an array."""
    x = np.asarray(array, np.float64).reshape(-1)
    at = np.arange(x.size) + 1.0
    return [list(np.shape(array)), float(x @ np.sin(at)), float(x @ np.cos(2.7 * at))]


def main():
    from beside_transformers import torch, transformers

    answers = {
        name: {
            k: print_of(v)
            for k, v in ran(transformers, torch.tensor, name, attn_implementation="eager").items()
        }
        for name in MODELS
    }
    for name in READERS:
        numbers = read(transformers, torch.tensor, name, attn_implementation="eager")
        answers[f"{name}, reading"] = {k: print_of(v) for k, v in numbers.items()}
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    lines = ",\n".join(
        f" {json.dumps(name)}: {{\n"
        + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in kept.items())
        + "}"
        for name, kept in answers.items()
    )
    KEPT.write_text(f'{{"versions": {json.dumps(versions)},\n"answers": {{\n{lines}\n}}}}\n')
    decoders = {}
    for name in decoder_calls.DECODERS:
        numbers = decoder_calls.ran(transformers, torch.tensor, name)
        decoders[name] = {"numbers": {k: print_of(v) for k, v in numbers.items()}}
        for way in decoder_calls.WAYS:
            decoders[name][way] = decoder_calls.written(transformers, torch.tensor, name, way).tolist()
    parts = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in decoders.items())
    DECODERS_KEPT.write_text(f'{{"versions": {json.dumps(versions)},\n"answers": {{\n{parts}\n}}}}\n')


if __name__ == "__main__":
    main()
