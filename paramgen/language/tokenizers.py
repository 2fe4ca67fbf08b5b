"""A byte-level BPE tokenizer of a text (Radford et al., 2019), trained by the library tokenizers."""

from collections.abc import Iterable
from typing import Any, Final

from paramgen.errors import OptionError

END: Final = "<|endoftext|>"
LEAST: Final = 257  # every byte, and the end of a text
MOST: Final = 1_000_000


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Return a tokenizer of transformers with `vocabulary` tokens; fewer if the texts have no more pairs to merge.

    It can encode any text, as every byte is a token. The same texts give the same tokenizer.

    Raises:
        OptionError: `vocabulary` is out of range.

    """
    if not LEAST <= vocabulary <= MOST:
        raise OptionError(
            f"--vocabulary is {vocabulary}; allowed are {LEAST} (every byte, and the end of a text) to {MOST:,}. Type: "
            "--vocabulary 1000"
        )
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from_object: Any = PreTrainedTokenizerFast
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return from_object(tokenizer_object=tokenizer, bos_token=END, eos_token=END, unk_token=END)
