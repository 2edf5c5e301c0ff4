-- write: a new token for each stream, and the token
INSERT INTO crossfade.watermark (stream, token) SELECT stream, 1 FROM unnest(%(streams)s::text[]) AS stream
ON CONFLICT (stream) DO UPDATE SET token = watermark.token + 1, written_at = clock_timestamp()
RETURNING stream, token

-- seen: the token of each stream that has arrived, and when it was written
SELECT stream, token, written_at FROM crossfade.watermark WHERE stream = ANY(%(streams)s)
