-- One feature index: one SAE on one corpus. Written once, then only read.
-- Activations are half floats kept as the SMALLINT of their bits (columns `half`, `halves`); f16() gives the value.
-- A token's place is `place` = context * context_length + position. Big tables have no key and no index: their order
-- makes zone maps do that work.
-- Both projections as one rising number per code, which packs tighter than columns that start anew at every feature or
-- token; examples as places, only the strongest with their tokens, the others' are read from `context`, whose key finds a
-- row at once; co-activation, negatives, flags, heads, attributions.

CREATE TABLE meta (key VARCHAR NOT NULL, value JSON NOT NULL);

CREATE TABLE document (document INTEGER NOT NULL, name VARCHAR NOT NULL, n_bytes BIGINT NOT NULL, sha256 VARCHAR NOT NULL);

CREATE TABLE vocabulary (token INTEGER NOT NULL, bytes BLOB NOT NULL);

CREATE TABLE segment (              -- where each run of one document begins in a context
    context  INTEGER NOT NULL,
    position INTEGER NOT NULL,
    document INTEGER NOT NULL,
    byte     BIGINT NOT NULL        -- offset of that token in the document
);

CREATE TABLE neighbour (feature INTEGER NOT NULL, rank SMALLINT NOT NULL, neighbour INTEGER NOT NULL, cosine FLOAT NOT NULL);

CREATE TABLE logit (
    feature INTEGER NOT NULL,
    sign    SMALLINT NOT NULL,      -- 1: promoted, -1: suppressed
    rank    SMALLINT NOT NULL,
    token   INTEGER NOT NULL,
    logit   FLOAT NOT NULL          -- per unit of activation
);

CREATE TABLE logit_histogram (feature INTEGER NOT NULL, counts INTEGER[] NOT NULL);

CREATE MACRO f16(b) AS CASE WHEN b < 1024 THEN b * 5.9604644775390625e-8::FLOAT
    ELSE ((1024 + (b & 1023)) * pow(2::DOUBLE, (b >> 10)::INTEGER - 25))::FLOAT END;

CREATE TABLE context (
    context  INTEGER PRIMARY KEY,
    tokens   INTEGER[] NOT NULL,
    spans    INTEGER[] NOT NULL,    -- bytes of `source` behind each token; -1: a special token
    source   BLOB NOT NULL
);

CREATE TABLE by_feature (           -- sorted by key
    feature INTEGER NOT NULL,
    key     BIGINT NOT NULL,        -- feature * n_places + place
    half    SMALLINT NOT NULL CHECK (half BETWEEN 1 AND 31743)   -- no zero, no infinity, no NaN
);

CREATE TABLE by_context (           -- sorted by key
    context INTEGER NOT NULL,
    key     BIGINT NOT NULL,        -- (context * n_features + feature) * context_length + position
    half    SMALLINT NOT NULL
);

CREATE TABLE feature (
    feature                INTEGER NOT NULL,
    n_active               BIGINT NOT NULL,
    density                DOUBLE NOT NULL,
    n_documents            INTEGER NOT NULL,
    documents_share        DOUBLE NOT NULL,
    mean                   DOUBLE NOT NULL,
    max_activation         FLOAT NOT NULL,
    q                      FLOAT[] NOT NULL,
    top_token              VARCHAR,
    top_token_id           INTEGER NOT NULL,  -- -1 if dead
    top_token_share        DOUBLE NOT NULL,
    decoder_norm           FLOAT NOT NULL,
    encoder_decoder_cosine FLOAT NOT NULL,
    promoted               VARCHAR[] NOT NULL,
    suppressed             VARCHAR[] NOT NULL,
    dead                   BOOLEAN NOT NULL,
    dense                  BOOLEAN NOT NULL,
    duplicate              BOOLEAN NOT NULL,
    position_locked        BOOLEAN NOT NULL,
    bos_only               BOOLEAN NOT NULL
);

CREATE TABLE histogram (feature INTEGER NOT NULL, edges FLOAT[] NOT NULL, counts BIGINT[] NOT NULL);

CREATE TABLE example (
    feature  INTEGER NOT NULL,
    band     SMALLINT NOT NULL,     -- 0: strongest; 1 and up: bands of rank, see meta.bands; -1: random
    rank     SMALLINT NOT NULL,     -- 0 first
    place    BIGINT NOT NULL,       -- of the peak
    half     SMALLINT NOT NULL,
    active   SMALLINT[] NOT NULL,   -- offsets from the peak at which the feature is active in the window …
    halves   SMALLINT[] NOT NULL,   -- … and how much; the window: see meta.window
    tokens   INTEGER[]              -- of the window, if band is 0; those of the others are read from `context`
);

CREATE TABLE coactive (
    feature  INTEGER NOT NULL,
    measure  VARCHAR NOT NULL,      -- jaccard | pmi | pearson
    rank     SMALLINT NOT NULL,
    partner  INTEGER NOT NULL,
    together INTEGER NOT NULL,      -- tokens on which both are active
    value    FLOAT NOT NULL
);

CREATE TABLE negative (
    feature   INTEGER NOT NULL,
    rank      SMALLINT NOT NULL,
    neighbour INTEGER NOT NULL,     -- the similar feature that is strong there
    place     BIGINT NOT NULL,      -- its peak, in a context in which `feature` is nowhere active
    half      SMALLINT NOT NULL     -- its activation
);

CREATE TABLE head (                 -- of SAEs of attention outputs; of others empty
    feature INTEGER NOT NULL,
    head    SMALLINT NOT NULL,
    share   FLOAT NOT NULL          -- norm of the head's slice of the decoder row, over the sum of these norms
);

CREATE TABLE attribution (          -- of the strongest examples of SAEs of attention outputs; sorted by feature and rank
    feature INTEGER NOT NULL,
    rank    SMALLINT NOT NULL,      -- of the example, in band 0
    place   BIGINT NOT NULL,        -- of its peak
    sources FLOAT[] NOT NULL,       -- what each position of the context up to the peak adds to the pre-activation
    heads   FLOAT[] NOT NULL        -- what each head adds; both sum to all of it but the biases
);

CREATE VIEW activation AS
    SELECT feature, ((key - feature::BIGINT * {n_places}) // {context_length})::INTEGER AS context,
           (key % {context_length})::INTEGER AS position, f16(half) AS value
    FROM by_feature;

CREATE VIEW code AS
    SELECT context, (key % {context_length})::INTEGER AS position,
           (key // {context_length} - context::BIGINT * {n_features})::INTEGER AS feature, f16(half) AS value
    FROM by_context;
