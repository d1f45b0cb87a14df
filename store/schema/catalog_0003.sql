-- Named lists of features, of any SAE. A list may be empty. Times are UTC.
CREATE TABLE feature_list (
    list        VARCHAR PRIMARY KEY,
    description VARCHAR NOT NULL,   -- '' if nobody wrote one
    author      VARCHAR NOT NULL,   -- who made it
    made_at     TIMESTAMP NOT NULL
);

CREATE TABLE listed (               -- in the order of adding
    list    VARCHAR NOT NULL,
    sae     VARCHAR NOT NULL,
    feature INTEGER NOT NULL CHECK (feature >= 0),
    author  VARCHAR NOT NULL,
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (list, sae, feature)
);
