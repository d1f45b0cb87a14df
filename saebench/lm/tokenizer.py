"""The tokenizer of a model, without its weights."""

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from saebench.errors import UserError
from saebench.lm.load import demo_folder


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Open a tokenizer.

    Args:
        name: `demo`, a `tokenizer.json`, a folder that holds one, or a hub name.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    import transformers

    path = demo_folder() if name == "demo" else Path(name).expanduser()
    if name.startswith((".", "/", "~")) and not path.exists():
        raise UserError(f"there is no tokenizer {name}; name a tokenizer.json, or a folder with one")
    try:
        if path.is_file():
            return transformers.PreTrainedTokenizerFast(tokenizer_file=str(path))
        opened: PreTrainedTokenizerBase = transformers.AutoTokenizer.from_pretrained(
            str(path) if path.is_dir() else name
        )
    except Exception as error:  # transformers, tokenizers and huggingface_hub each raise their own kinds
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"cannot open tokenizer {name!r}: {reason}") from None
    return opened


def special_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the tokens that stand for no text, such as begin and end."""
    added = {token for token, content in tokenizer.added_tokens_decoder.items() if content.special}
    return sorted(added | set(tokenizer.all_special_ids))
