"""Every task that can be made, by name."""

from saebench.circuits.tasks import brackets, docstrings, greater_than, identifiers, ioi
from saebench.circuits.tasks.generator import Generator

TASKS: dict[str, Generator] = {
    generator.name: generator
    for generator in (
        brackets.CLOSE_BRACKET,
        brackets.CLOSE_OUTER,
        identifiers.COPY_IDENTIFIER,
        identifiers.SELF_ATTRIBUTE,
        identifiers.INIT_ARGUMENT,
        identifiers.IMPORT_ALIAS,
        docstrings.DOCSTRING_PARAM,
        docstrings.DOCSTRING_ARGS,
        docstrings.DOCSTRING_TYPE,
        docstrings.DOCSTRING,
        ioi.IOI,
        ioi.IOI_ABBA,
        ioi.IOI_BABA,
        ioi.IOI_ABC,
        greater_than.GREATER_THAN,
    )
}
