"""What people may say of a feature."""

from pydantic import BaseModel, Field


class LabelText(BaseModel):
    """A name for a feature."""

    text: str = Field(max_length=200, description="one line")


class NoteText(BaseModel):
    """A remark on a feature."""

    text: str = Field(max_length=10_000)


class ListName(BaseModel):
    """A list to put a feature on."""

    name: str = Field(max_length=80, description="one line")
