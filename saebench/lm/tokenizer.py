"""What is known of a model without its weights: its tokenizer, and how much it reads."""

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


def context_length(name: str) -> int | None:
    """How many tokens a model reads, as its configuration says it and TransformerBridge takes it; None where it does
    not, or cannot be read: opening the model says why.

    Args:
        name: as `load_lm` takes it.
    """
    import transformers

    path = demo_folder() if name == "demo" else Path(name).expanduser()
    try:
        config = transformers.AutoConfig.from_pretrained(str(path) if path.is_dir() else name)
    except Exception:  # transformers and huggingface_hub each raise their own kinds
        return None
    said = (getattr(config, field, None) for field in ("n_positions", "max_position_embeddings"))
    return next((length for length in said if isinstance(length, int)), None)


def special_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the tokens that stand for no text, such as begin and end."""
    added = {token for token, content in tokenizer.added_tokens_decoder.items() if content.special}
    return sorted(added | set(tokenizer.all_special_ids))
