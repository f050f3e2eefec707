"""``torch.nn.utils.rnn``'s names, from ``nn.sequence``. Nothing is defined here."""

from ..sequence import pad_sequence, unpad_sequence

__all__ = ["pad_sequence", "unpad_sequence"]
