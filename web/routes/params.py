"""Parameters that several routes share, as FastAPI reads and describes them."""

from typing import Annotated

from fastapi import Depends, Path, Query

from web.workspace import Workspace, workspace

Here = Annotated[Workspace, Depends(workspace)]
SaeId = Annotated[str, Path(pattern=r"^[^/\x00-\x1f]{1,200}$", description="an SAE's id, as the home page lists it")]
Feature = Annotated[int, Path(ge=0, le=2**31 - 1, description="a feature's number")]
Context = Annotated[int, Path(ge=0, le=2**31 - 1, description="a context's number")]
Corpus = Annotated[str | None, Query(max_length=200, description="which index, where the SAE has several")]
Filter = Annotated[str, Query(max_length=1000, description="density < 1e-3 and max_activation > 5")]
Order = Annotated[str, Query(max_length=200, description="a column, or a column and desc")]
Search = Annotated[
    str, Query(max_length=1000, description='words in labels and explanations; fires:" return" promotes:" def"')
]
Interventions = Annotated[
    str | None, Query(max_length=200, description="saved interventions, under which the model is used")
]
ListQuery = Annotated[str, Query(max_length=80, description="a list of features that somebody keeps")]
