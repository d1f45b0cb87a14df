-- What people and explainers say of features. Keyed by SAE, so that it outlives every index of it. Times are UTC.
CREATE TABLE label (                -- people's own name of a feature
    sae     VARCHAR NOT NULL,
    feature INTEGER NOT NULL CHECK (feature >= 0),
    label   VARCHAR NOT NULL,
    author  VARCHAR NOT NULL,
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (sae, feature)
);

CREATE TABLE note (                 -- any number for a feature
    sae     VARCHAR NOT NULL,
    feature INTEGER CHECK (feature >= 0),   -- NULL: on the SAE as a whole
    note    VARCHAR NOT NULL,
    author  VARCHAR NOT NULL,
    made_at TIMESTAMP NOT NULL
);

CREATE TABLE explanation (          -- no two alike in (sae, corpus, feature, method, version, scorer)
    sae     VARCHAR NOT NULL,
    corpus  VARCHAR NOT NULL,       -- whose examples were explained
    feature INTEGER NOT NULL CHECK (feature >= 0),
    method  VARCHAR NOT NULL,
    version VARCHAR NOT NULL,       -- of the method
    text    VARCHAR NOT NULL,
    score   DOUBLE,
    scorer  VARCHAR,                -- what gave the score
    split   VARCHAR,                -- of which contexts
    made_at TIMESTAMP NOT NULL,
    info    JSON NOT NULL           -- whatever else the method has to say
);
