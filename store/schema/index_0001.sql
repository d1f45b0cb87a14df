-- One feature index: one SAE on one corpus. Written once, then only read.
-- Activations are half floats kept as the SMALLINT of their bits (columns `half`, `halves`); f16() gives the value.
-- A token's place is `place` = context * context_length + position. Big tables have no key and no index: their order
-- makes zone maps do that work.

CREATE TABLE meta (key VARCHAR NOT NULL, value JSON NOT NULL);

CREATE TABLE document (document INTEGER NOT NULL, name VARCHAR NOT NULL, n_bytes BIGINT NOT NULL, sha256 VARCHAR NOT NULL);

CREATE TABLE vocabulary (token INTEGER NOT NULL, bytes BLOB NOT NULL);

CREATE TABLE context (
    context  INTEGER NOT NULL,
    tokens   INTEGER[] NOT NULL,
    spans    INTEGER[] NOT NULL,    -- bytes of `source` behind each token; -1: a special token
    source   BLOB NOT NULL
);

CREATE TABLE segment (              -- where each run of one document begins in a context
    context  INTEGER NOT NULL,
    position INTEGER NOT NULL,
    document INTEGER NOT NULL,
    byte     BIGINT NOT NULL        -- offset of that token in the document
);

CREATE TABLE by_token (place BIGINT NOT NULL, features INTEGER[] NOT NULL, halves SMALLINT[] NOT NULL);

CREATE TABLE by_feature (
    feature INTEGER NOT NULL,
    place   BIGINT NOT NULL,
    half    SMALLINT NOT NULL CHECK (half BETWEEN 1 AND 31743)   -- no zero, no infinity, no NaN
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
    suppressed             VARCHAR[] NOT NULL
);

CREATE TABLE histogram (feature INTEGER NOT NULL, edges FLOAT[] NOT NULL, counts BIGINT[] NOT NULL);

CREATE TABLE example (
    feature  INTEGER NOT NULL,
    band     SMALLINT NOT NULL,     -- 0: strongest; 1 and up: bands of rank, see meta.bands
    rank     SMALLINT NOT NULL,     -- 0 first
    place    BIGINT NOT NULL,       -- of the peak
    half     SMALLINT NOT NULL,
    document INTEGER NOT NULL,
    byte     BIGINT NOT NULL,       -- offset of the peak token in the document
    start    INTEGER NOT NULL,      -- position in the context of the window's first token
    tokens   INTEGER[] NOT NULL,    -- the window
    spans    INTEGER[] NOT NULL,
    source   BLOB NOT NULL,
    active   INTEGER[] NOT NULL,    -- every position of the whole context at which the feature is active …
    halves   SMALLINT[] NOT NULL    -- … and how much
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

CREATE VIEW activation AS
    SELECT feature, (place // {context_length})::INTEGER AS context, (place % {context_length})::INTEGER AS position,
           f16(half) AS value
    FROM by_feature;

CREATE VIEW code AS
    SELECT (place // {context_length})::INTEGER AS context, (place % {context_length})::INTEGER AS position,
           feature, f16(half) AS value
    FROM (SELECT place, unnest(features) AS feature, unnest(halves) AS half FROM by_token);
