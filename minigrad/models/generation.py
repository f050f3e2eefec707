"""Writing text token by token: greedy, by sampling, by beams; with a cache, streaming, to a stop string.

B is the batch, T tokens, V the vocabulary. A model that inherits :class:`Generation` says how its cache is made.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, Self

from .. import nn
from ..compiler import compile
from ..functions.creation import full, zeros
from ..generator import Generator
from ..modes import no_grad
from ..nn import functional as F
from ..random import multinomial
from ..tensor import Tensor, as_tensor, tensor
from .attention import key_mask

Stop = str | Sequence[str] | None


# ---- which token comes next ------------------------------------------------------------------------------


def repetition_penalised(logits: Tensor, ids: Tensor, penalty: float, mask: Tensor | None = None) -> Tensor:
    """Logits (B, V) of tokens that are in ids (B, T) already: divided by the penalty if positive, else times it (Keskar et al., 2019).

    ``mask`` (B, T) is 0 at padding, which doesn't count.
    """
    said = F.ones_like(ids) if mask is None else mask
    said = F.zeros_like(logits).long().scatter_add(-1, ids, said) > 0
    return F.where(said, F.where(logits > 0, logits / penalty, logits * penalty), logits)


def top_k_of(logits: Tensor, k: int) -> Tensor:
    """-∞ but for the k largest (Fan et al., 2018)."""
    least = logits.topk(min(k, logits.shape[-1]), -1)[0][..., -1:]
    return logits.masked_fill(logits < least, -math.inf)


def top_p_of(logits: Tensor, p: float) -> Tensor:
    """-∞ but for the fewest tokens whose probabilities sum to at least p (Holtzman et al., 2020)."""
    ordered, order = logits.sort(dim=-1, descending=True)
    shares = ordered.softmax(-1)
    outside = shares.cumsum(-1) - shares >= p  # what comes before it is enough
    return logits.masked_fill(outside.scatter(-1, order, outside), -math.inf)


def min_p_of(logits: Tensor, p: float) -> Tensor:
    """-∞ where the probability is less than p times the largest (Nguyen et al., 2024)."""
    shares = logits.softmax(-1)
    return logits.masked_fill(shares < p * shares.amax(-1, keepdim=True), -math.inf)


def next_token_logits(
    logits: Tensor, ids: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None,
    min_p: float | None = None, repetition_penalty: float = 1.0, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The logits (B, V) whose softmax is sampled: penalised, over the temperature, and -∞ for what is left out."""
    if repetition_penalty != 1.0:
        logits = repetition_penalised(logits, ids, repetition_penalty, mask)
    if temperature != 1.0:
        logits = logits / temperature
    if top_k is not None:
        logits = top_k_of(logits, top_k)
    if top_p is not None and top_p < 1.0:
        logits = top_p_of(logits, top_p)
    if min_p is not None:
        logits = min_p_of(logits, min_p)
    return logits


def _check(
    temperature: float, top_k: Any, top_p: Any, min_p: Any, penalty: float, new: int, beams: int
) -> None:
    wrong = [
        (not temperature > 0, "temperature", "a number above 0 (do_sample=False takes the likeliest token)", temperature),
        (top_k is not None and top_k < 1, "top_k", "at least 1, or None", top_k),
        (top_p is not None and not 0 < top_p <= 1, "top_p", "a number in (0, 1], or None", top_p),
        (min_p is not None and not 0 <= min_p <= 1, "min_p", "a number in [0, 1], or None", min_p),
        (not penalty > 0, "repetition_penalty", "a number above 0", penalty),
        (new < 1, "max_new_tokens", "at least 1", new),
        (beams < 1, "num_beams", "at least 1", beams),
    ]  # fmt: skip
    for bad, name, expected, got in wrong:
        if bad:
            raise ValueError(f"generate: expected {name} to be {expected}, got {got}")


def _choice(
    temperature: float, top_k: Any, top_p: Any, min_p: Any, repetition_penalty: float
) -> dict[str, Any]:
    """How :func:`next_token_logits` is called."""
    return {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "repetition_penalty": repetition_penalty,
    }  # fmt: skip


# ---- reading ---------------------------------------------------------------------------------------------


class _Kept:
    """A cache and the step compiled for it, which later calls of the same size use again.

    Whoever writes holds ``lock``: two texts written at a time, from two threads or two streams, have a cache each.
    """

    def __init__(self, key: Any, cache: nn.KVCache, step: Callable[..., Tensor]) -> None:
        self.key, self.cache, self.step, self.lock = key, cache, step, threading.Lock()


class _Latest:
    """Where a model has the latest :class:`_Kept`; a copy of the model begins without.

    It is there from the start and stays: a module whose attributes change while another thread compiles its forward
    would be refused, for compiled code takes them as given.
    """

    kept: _Kept | None = None

    def __deepcopy__(self, memo: Any) -> _Latest:
        return _Latest()


class _Reader:
    """Takes tokens (B, L), gives the logits (B, V) after the last: with a cache while the positions last, else anew each time."""

    def __init__(
        self, model: Generation, ids: Tensor, mask: Tensor, new: int, use_cache: bool, quantized: bool
    ) -> None:
        self.model, self.most = model, model.config.max_position_embeddings
        self.ids, self.mask, self.context = model.begun(ids, mask)
        rows, length = self.ids.shape
        self.kept: _Kept | None = None
        if use_cache and length <= self.most:
            how = {"quantized": True} if quantized else {}
            self.kept = model._decoding(rows, min(length + new, self.most), **how)
            self.kept.cache.reset(length - self.mask.sum(-1))

    def begin(self) -> Tensor:
        if self.kept is None:
            return self._anew()
        cache = self.kept.cache
        for part in self.ids.split(cache.chunk, 1):
            logits = self.model.next_logits(part, *self.context, cache=cache)
        return logits

    def read(self, tokens: Tensor) -> Tensor:
        """The logits after one more token for every row, (B, 1)."""
        self.ids = F.cat((self.ids, tokens), 1)
        self.mask = F.cat((self.mask, F.ones_like(tokens)), 1)
        if self.kept is None or self.ids.shape[1] > self.most:
            return self._anew()
        return self.kept.step(tokens, *self.context)

    def _anew(self) -> Tensor:
        ids, mask = self.ids[:, -self.most :], self.mask[:, -self.most :]
        padded = bool((mask == 0).any())
        return self.model.next_logits(ids, *self.context, attention_mask=mask if padded else None)

    def close(self) -> None:
        """Leaves the cache to the next."""
        if self.kept is not None:
            self.kept.lock.release()
            self.kept = None

    def select(self, rows: Tensor) -> None:
        """Row b goes on from what row ``rows[b]``, which has the same prompt, has read."""
        self.ids = self.ids[rows]
        if self.kept is not None:
            self.kept.cache.select(rows)


class Generation:
    """``generate`` and ``stream`` for models that tell the next token.

    A model has ``new_cache(batch, length, **how)``, ``config.max_position_embeddings``, and either
    ``forward(input_ids, attention_mask, position_ids, *, cache, logits_to_keep)`` that returns ``.logits``, or methods
    ``begun`` and ``next_logits`` of its own. A text longer than the positions slides: each token is then made of the last
    ones alone, without the cache.
    """

    config: Any
    __call__: Callable[..., Any]
    _latest: _Latest

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self.__dict__["_latest"] = _Latest()
        return self

    def new_cache(self, batch: int, length: int, **how: Any) -> nn.KVCache:
        """An empty cache for texts of ``length`` tokens."""
        raise NotImplementedError

    def begun(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """What is written on from: tokens (B, T), their mask, and what every step is given besides."""
        return ids, mask, ()

    def next_logits(
        self,
        ids: Tensor,
        *context: Tensor,
        cache: nn.KVCache | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """The logits (B, V) after tokens (B, L): the next ones of the cache's texts, or all there are."""
        places = None if attention_mask is None else (attention_mask.cumsum(1) - 1).clamp(min=0)
        return self(ids, attention_mask, places, cache=cache, logits_to_keep=1).logits[:, -1]

    def _decoding(self, batch: int, length: int, **how: Any) -> _Kept:
        """The cache and compiled step of this size, made or used again; lengths are rounded up so that few sizes occur."""
        length = min(self.config.max_position_embeddings, max(64, 2 ** math.ceil(math.log2(length))))
        key = (batch, length, *sorted(how.items()), next(iter(self.parameters())).dtype)  # type: ignore[attr-defined]
        kept = self._latest.kept
        if kept is None or kept.key != key or not kept.lock.acquire(blocking=False):
            cache = self.new_cache(batch, length, start=zeros(batch, dtype="int64"), **how)

            @compile
            def step(tokens: Tensor, *context: Tensor) -> Tensor:
                return self.next_logits(tokens, *context, cache=cache)

            kept = _Kept(key, cache, step)
            kept.lock.acquire()
            self._latest.kept = kept
        return kept

    def generate(
        self, input_ids: Any, attention_mask: Any = None, *, max_new_tokens: int = 20, do_sample: bool = False,
        temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None, min_p: float | None = None,
        repetition_penalty: float = 1.0, num_beams: int = 1, length_penalty: float = 1.0, early_stopping: bool = False,
        num_return_sequences: int = 1, eos_token_id: Any = ..., pad_token_id: int | None = None, stop_strings: Stop = None,
        tokenizer: Any = None, generator: Generator | int | None = None, use_cache: bool = True,
        quantized_cache: bool = False,
    ) -> Tensor:  # fmt: skip
        """The prompts with what follows them, (B · num_return_sequences, T + new), padded on the right after the end.

        ``input_ids``: (B, T), or a list of lists of unequal lengths; ``attention_mask`` (B, T) is 0 at padding, wherever
        that is (prompts are moved to the right edge). The likeliest token is taken; with ``do_sample`` one is drawn, from
        ``generator`` (or a seed), at a ``temperature``, of the ``top_k`` likeliest, of those that make up ``top_p``, of
        those at least ``min_p`` times as likely as the first. ``repetition_penalty`` above 1 makes what was said unlikelier.

        ``num_beams`` above 1 keeps that many texts of largest Σ log p; those that ended are ranked by Σ log p /
        length^length_penalty; ``early_stopping`` ends with as many finished as beams, else when none can be better.

        A row ends at ``eos_token_id`` (the configuration's; a list or None too), at one of ``stop_strings`` (which need
        the ``tokenizer``), or after ``max_new_tokens``. Without ``use_cache`` everything is read anew for each token: the
        same text, slower. ``quantized_cache`` keeps int8. Raises ValueError for what can't be.
        """
        _check(temperature, top_k, top_p, min_p, repetition_penalty, max_new_tokens, num_beams)
        choose = _choice(temperature, top_k, top_p, min_p, repetition_penalty)
        if num_beams > 1:
            if do_sample or stop_strings:
                raise ValueError(
                    "generate: beams are not sampled and know no stop strings; leave num_beams=1 for those"
                )
            if num_return_sequences > num_beams:
                raise ValueError(
                    f"generate: expected num_return_sequences of at most num_beams {num_beams}, got {num_return_sequences}"
                )
        elif num_return_sequences > 1 and not do_sample:
            raise ValueError(
                "generate: the likeliest text is one; give do_sample=True or num_beams for several"
            )
        times = num_beams if num_beams > 1 else num_return_sequences
        ends = _ends(self.config.eos_token_id if eos_token_id is ... else eos_token_id)
        pad, stops = _pad(pad_token_id, self.config, ends), _stops(stop_strings, tokenizer)
        with no_grad():
            ids, mask = _prompts(input_ids, attention_mask, pad_token_id, self.config)
            if times > 1:
                ids, mask = ids.repeat_interleave(times, 0), mask.repeat_interleave(times, 0)
            with closing(_Reader(self, ids, mask, max_new_tokens, use_cache, quantized_cache)) as reader:
                if num_beams > 1:
                    return _beams(reader, num_beams, num_return_sequences, max_new_tokens, ends, pad, length_penalty,
                                  early_stopping, repetition_penalty)  # fmt: skip
                prompt = reader.ids
                new = _written(
                    reader, max_new_tokens, ends, pad, do_sample, choose, generator, stops, tokenizer
                )
                return F.cat((prompt, *new), 1)

    def stream(
        self, input_ids: Any, attention_mask: Any = None, *, max_new_tokens: int = 20, do_sample: bool = False,
        temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None, min_p: float | None = None,
        repetition_penalty: float = 1.0, num_beams: int = 1, eos_token_id: Any = ..., pad_token_id: int | None = None,
        stop_strings: Stop = None, tokenizer: Any = None, generator: Generator | int | None = None,
        use_cache: bool = True, quantized_cache: bool = False,
    ) -> Iterator[Tensor]:  # fmt: skip
        """What :meth:`generate` adds, as it is made: tokens (B, 1), padding for rows that have ended. Not for beams."""
        if num_beams > 1:
            raise ValueError("stream: beams are known at the end only; leave num_beams=1")
        _check(temperature, top_k, top_p, min_p, repetition_penalty, max_new_tokens, 1)
        choose = _choice(temperature, top_k, top_p, min_p, repetition_penalty)
        ids, mask = _prompts(input_ids, attention_mask, pad_token_id, self.config)
        ends = _ends(self.config.eos_token_id if eos_token_id is ... else eos_token_id)
        pad, stops = _pad(pad_token_id, self.config, ends), _stops(stop_strings, tokenizer)

        def tokens() -> Iterator[Tensor]:
            with no_grad():
                reader = _Reader(self, ids, mask, max_new_tokens, use_cache, quantized_cache)
            with closing(reader):
                yield from _written(
                    reader, max_new_tokens, ends, pad, do_sample, choose, generator, stops, tokenizer
                )

        return tokens()

    def stream_text(
        self, tokenizer: Any, prompt: str, *, stop_strings: Stop = None, **how: Any
    ) -> Iterator[str]:
        """What follows the prompt, in pieces of text as they are made: no half characters, nothing from a stop string on."""
        stops, waiting, text = _stops(stop_strings, tokenizer), [], ""
        given = tokenizer(prompt)["input_ids"]
        for token in self.stream([given], tokenizer=tokenizer, **how):
            waiting.append(token.item())
            piece = tokenizer.decode(waiting, skip_special_tokens=True)
            if piece.endswith("�"):  # the beginning of a character
                continue
            waiting, text = [], text + piece
            cut = min((at for s in stops if (at := text.find(s)) >= 0), default=None)
            if cut is not None:
                yield text[:cut]
                return
            safe = len(text) - max((_begun(text, s) for s in stops), default=0)
            if safe:
                yield text[:safe]
                text = text[safe:]
        text += tokenizer.decode(waiting, skip_special_tokens=True) if waiting else ""
        if text:
            yield text


class FromSource(Generation):
    """The same for an encoder and a decoder: what is written begins anew, of a source.

    A model has ``encoded(ids, mask, places)``, the source's states; ``sources(memory)``, each decoder layer's keys and values of
    them; ``decoded(ids, sources, mask, cache)``, the target's states; ``logits_of(states)``; and ``start``, the first token.
    """

    start: Any
    encoded: Callable[..., Tensor]
    sources: Callable[[Tensor], list[tuple[Tensor, Tensor]]]
    decoded: Callable[..., Tensor]
    logits_of: Callable[[Tensor], Tensor]

    def moved_right(self, labels: Tensor) -> Tensor:
        """What is read to say ``labels`` (B, T): the first token, then all labels but the last, padding where -100 is."""
        before = labels[:, :-1].masked_fill(labels[:, :-1] == -100, self.config.pad_token_id)
        return F.cat((F.full_like(labels[:, :1], self.start), before), 1)

    def begun(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        keys: Any = key_mask(mask, ids)
        places = (mask.cumsum(1) - 1).clamp(min=0)  # prompts are padded on the left
        sources = self.sources(self.encoded(ids, keys, places))
        first = F.full_like(ids[:, :1], self.start)
        return first, F.ones_like(first), (keys, *(part for both in sources for part in both))

    def next_logits(
        self,
        ids: Tensor,
        *context: Tensor,
        cache: nn.KVCache | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        mask, *parts = context
        return self.logits_of(
            self.decoded(ids, list(zip(parts[::2], parts[1::2], strict=True)), mask, cache)[:, -1]
        )


def _begun(text: str, stop: str) -> int:
    """How many characters at the text's end may be the beginning of the stop string."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


def _stops(stop_strings: Stop, tokenizer: Any) -> list[str]:
    stops = [stop_strings] if isinstance(stop_strings, str) else list(stop_strings or ())
    if stops and tokenizer is None:
        raise ValueError(
            "generate: stop_strings need the tokenizer that makes text of tokens; give tokenizer="
        )
    if "" in stops:
        raise ValueError("generate: expected stop strings of at least one character, got ''")
    return stops


def _ends(given: Any) -> list[int]:
    return [] if given is None else [given] if isinstance(given, int) else list(given)


def _pad(given: int | None, config: Any, ends: list[int]) -> int:
    own = config.pad_token_id if given is None else given
    return own if own is not None else ends[0] if ends else 0


def _prompts(input_ids: Any, attention_mask: Any, pad: int | None, config: Any) -> tuple[Tensor, Tensor]:
    """Prompts (B, T) at the right edge, and their mask of ones and zeros."""
    if (
        isinstance(input_ids, (list, tuple))
        and attention_mask is None
        and input_ids
        and isinstance(input_ids[0], (list, tuple))
    ):
        longest = max(map(len, input_ids))
        mask = [[0] * (longest - len(p)) + [1] * len(p) for p in input_ids]
        fill = _pad(pad, config, [])
        rows = [[fill] * (longest - len(p)) + list(p) for p in input_ids]
        if longest:
            input_ids, attention_mask = tensor(rows), tensor(mask)
        else:
            input_ids = tensor([[]], dtype="int64")
    ids = input_ids if isinstance(input_ids, Tensor) else as_tensor(input_ids)
    if ids.ndim != 2 or ids.dtype.category != 1:
        raise ValueError(
            f"generate: expected prompts as integers (batch, tokens), got {ids.dtype.name} {tuple(ids.shape)}"
        )
    ids = ids.long()
    mask = F.ones_like(ids) if attention_mask is None else as_tensor(attention_mask).long()
    if mask.shape != ids.shape:
        raise ValueError(
            f"generate: expected attention_mask of shape {tuple(ids.shape)}, got {tuple(mask.shape)}"
        )
    counts = mask.sum(1)
    if not ids.numel() or bool((counts == 0).any()):
        raise ValueError(
            "generate: an empty prompt has no next token; begin it with a token, such as bos_token_id"
        )
    if bool((mask[:, :-1] > mask[:, 1:]).any()):  # padding on the right
        order = mask.argsort(1, stable=True)
        ids, mask = ids.gather(1, order), mask.gather(1, order)
        longest = int(counts.max())
        ids, mask = ids[:, -longest:], mask[:, -longest:]
    return ids, mask


# ---- the loops -------------------------------------------------------------------------------------------


def _written(
    reader: _Reader, new: int, ends: list[int], pad: int, do_sample: bool, choose: dict[str, Any],
    generator: Generator | int | None, stops: list[str], tokenizer: Any,
) -> Iterator[Tensor]:  # fmt: skip
    """The next tokens of every row, (B, 1) at a time, until all have ended."""
    if isinstance(generator, int):
        generator = Generator().manual_seed(generator)
    if not do_sample:  # neither changes which is likeliest
        choose = {"repetition_penalty": choose["repetition_penalty"]}
    alive = [True] * reader.ids.shape[0]
    written: list[list[int]] = [[] for _ in alive]
    with no_grad():
        logits = reader.begin()
    for i in range(new):
        with no_grad():
            logits = next_token_logits(logits, reader.ids, **choose, mask=reader.mask)
            if do_sample:
                tokens = multinomial(logits.softmax(-1), 1, generator=generator)
            else:
                tokens = logits.argmax(-1, keepdim=True)
        if not all(alive):
            tokens = tokens.masked_fill(~tensor(alive)[:, None], pad)
        for row, token in enumerate(tokens[:, 0].tolist()):
            if alive[row]:
                written[row].append(token)
                alive[row] = token not in ends and not _stopped(written[row], stops, tokenizer)
        yield tokens
        if not any(alive):
            return
        if i + 1 < new:
            with no_grad():
                logits = reader.read(tokens)


def _stopped(tokens: list[int], stops: list[str], tokenizer: Any) -> bool:
    """Does the text end with a stop string, or with a token that has one in it?"""
    if not stops:
        return False
    tail = tokens[-max(map(len, stops)) - 8 :]  # a token is a byte of text at least
    text = tokenizer.decode(tail, skip_special_tokens=True)
    return any(s in text for s in stops)


def _beams(
    reader: _Reader, beams: int, several: int, new: int, ends: list[int], pad: int, length_penalty: float,
    early_stopping: bool, repetition_penalty: float,
) -> Tensor:  # fmt: skip
    """Beam search (Lowerre, 1976; the ranking is that of Wu et al., 2016, without coverage)."""
    rows, prompt = reader.ids.shape[0], reader.ids.shape[1]
    batch = rows // beams
    scores = full((batch, beams), -math.inf)
    scores[:, 0] = 0.0  # of equal beams one is enough
    finished: list[list[tuple[float, Tensor]]] = [[] for _ in range(batch)]
    done = [False] * batch
    logits = reader.begin()
    for length in range(1, new + 1):
        shares = logits.log_softmax(-1)
        if repetition_penalty != 1.0:
            shares = repetition_penalised(shares, reader.ids, repetition_penalty, reader.mask)
        vocabulary = shares.shape[-1]
        totals = (scores.reshape(-1, 1) + shares).reshape(batch, -1)
        best, places = totals.topk(min((1 + max(len(ends), 1)) * beams, totals.shape[-1]), -1)
        rated, beam, token = best.tolist(), (places // vocabulary).tolist(), (places % vocabulary).tolist()
        chosen: list[tuple[float, int, int]] = []
        for b in range(batch):
            going: list[tuple[float, int, int]] = []
            for rank, (score, k, t) in enumerate(zip(rated[b], beam[b], token[b], strict=True)):
                row = b * beams + k
                if t in ends:
                    if rank < beams and score > -math.inf and not done[b]:
                        text = F.cat((reader.ids[row, prompt:], tensor([t])))
                        finished[b] = _ranked([*finished[b], (score / length**length_penalty, text)], beams)
                elif len(going) < beams:
                    going.append((score, row, t))
            going += [(-math.inf, b * beams, pad)] * (beams - len(going))
            chosen += going
            if len(finished[b]) == beams and not done[b]:
                reachable = going[0][0] / length**length_penalty
                done[b] = early_stopping or finished[b][-1][0] >= reachable
        scores = tensor([c[0] for c in chosen]).reshape(batch, beams)
        reader.select(tensor([c[1] for c in chosen]))
        tokens = tensor([[c[2]] for c in chosen])
        if all(done) or length == new:
            reader.ids = F.cat((reader.ids, tokens), 1)
            break
        logits = reader.read(tokens)
    for b in range(batch):
        if not done[b]:
            running = [
                (float(scores[b, k]) / length**length_penalty, reader.ids[b * beams + k, prompt:])
                for k in range(beams)
            ]
            finished[b] = _ranked([*finished[b], *running], beams)
    texts = [text for found in finished for _, text in found[:several]]
    longest = max(len(t) for t in texts)
    out = full((len(texts), longest), pad, dtype="int64")
    for i, text in enumerate(texts):
        out[i, : len(text)] = text
    prompts = reader.ids[:, :prompt].reshape(batch, beams, prompt)[:, :several].reshape(-1, prompt)
    return F.cat((prompts, out), 1)


def _ranked(found: list[tuple[float, Tensor]], most: int) -> list[tuple[float, Tensor]]:
    return sorted((f for f in found if f[0] > -math.inf), key=lambda f: -f[0])[:most]
