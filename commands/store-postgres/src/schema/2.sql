-- The members' keys. Whoever forgets a member empties the key; the row stays, so that nobody gets a second one.

CREATE TABLE cartulary.keys(
    member uuid PRIMARY KEY,
    key bytea CHECK (octet_length(key) = 32),
    forgotten_at timestamptz,
    CONSTRAINT keys_or_forgotten CHECK ((key IS NULL) = (forgotten_at IS NOT NULL))
);

-- Every key is 32 random bytes: nothing to compress.
ALTER TABLE cartulary.keys ALTER COLUMN key SET STORAGE PLAIN;

-- Who may read the log may not therefore read the keys.
REVOKE ALL ON cartulary.keys FROM PUBLIC;

COMMENT ON TABLE cartulary.keys IS 'One secret key per member: what the log says of them in confidence is sealed with it';
COMMENT ON COLUMN cartulary.keys.member IS 'Whose key it is';
COMMENT ON COLUMN cartulary.keys.key IS 'The key; null once the member was forgotten';
COMMENT ON COLUMN cartulary.keys.forgotten_at IS 'When the member was forgotten';
