"""Semantic search over the lines of a text file: the ones nearest in meaning to a question, whatever their words.

    python examples/semantic_search.py lines.txt "what is the weather like?"

Each line becomes a vector once (Reimers & Gurevych, 2019); a question is answered by one product with all of them.
"""

import sys

import numpy as np

from minigrad.data.texts import read_text
from minigrad.models import SentenceEncoder


def search(encoder, lines, vectors, question, most=3):
    """The ``most`` lines with the largest cosine to the question, as (cosine, line)."""
    cosines = encoder.similarity(encoder.encode(question), vectors)[0]
    best = np.argsort(-cosines, kind="stable")[:most]
    return [(float(cosines[i]), lines[i]) for i in best]


def main(path, *questions, model="all-MiniLM-L6-v2"):
    encoder = SentenceEncoder.from_pretrained(model)
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    vectors = encoder.encode(lines)
    answers = []
    for question in questions or iter(lambda: input("? "), ""):
        answers.append(search(encoder, lines, vectors, question))
        for cosine, line in answers[-1]:
            print(f"{cosine:.4f}  {line}")
    return answers


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python examples/semantic_search.py FILE [QUESTION ...]")
    main(*sys.argv[1:])
