-- Small mutable rows of a workspace: what exists, under which id, with which headline figures.
CREATE TABLE entry (
    kind VARCHAR NOT NULL,      -- corpus | harvest | sae | index
    id   VARCHAR NOT NULL,
    info JSON    NOT NULL,
    PRIMARY KEY (kind, id)
);
