-- The members' keys. In many small parts, because forgetting a member writes the part that held the key anew: an update
-- alone would leave the old version in its page.

CREATE TABLE cartulary.member_keys(
    member uuid PRIMARY KEY,
    key bytea CHECK (length(key) = 32),
    forgotten_at timestamptz,
    CHECK ((key IS NULL) = (forgotten_at IS NOT NULL))
) PARTITION BY HASH (member);

DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format(
            'CREATE TABLE cartulary.member_keys_%s PARTITION OF cartulary.member_keys FOR VALUES WITH (MODULUS 16, REMAINDER %s)',
            part, part);
    END LOOP;
END
$$;

COMMENT ON TABLE cartulary.member_keys IS 'Each member''s secret key. Never copy this table: whoever is forgotten must be forgotten everywhere';
COMMENT ON COLUMN cartulary.member_keys.member IS 'The member';
COMMENT ON COLUMN cartulary.member_keys.key IS 'What the member''s personal data in the log is sealed with; null once forgotten';
COMMENT ON COLUMN cartulary.member_keys.forgotten_at IS 'When the key was destroyed; the member gets no new one';
