-- listed: how many large objects there are, and a number that is another one where they have other OIDs
SELECT count(*) AS count, COALESCE(sum(hashtextextended(oid::text, 0)::numeric), 0) AS digest
FROM pg_largeobject_metadata

-- access: whether we may read their content, who we are, and the bytes of one page
SELECT has_table_privilege('pg_catalog.pg_largeobject', 'SELECT') AS readable, quote_ident(current_user) AS role,
       current_setting('block_size')::int / 4 AS page

-- oids: the next OIDs
SELECT oid FROM pg_largeobject_metadata WHERE oid > %(after)s::oid ORDER BY oid LIMIT %(piece)s

-- end_of_piece: the last page of a piece; no row where fewer pages are left
SELECT loid AS oid, pageno AS page FROM pg_largeobject WHERE (loid, pageno) > (%(after_oid)s::oid, %(after_page)s::int)
ORDER BY loid, pageno OFFSET %(piece)s - 1 LIMIT 1

-- digests: of each large object in a piece, the sum of its pages' hashes, zeros left out, and where its last page ends
SELECT oid, max(start + length) AS ends,
       COALESCE(sum(hashtextextended(start || ':' || bytes, 0)::numeric) FILTER (WHERE bytes !~ '^0*$'), 0) AS digest
FROM (
    SELECT loid AS oid, pageno::bigint * current_setting('block_size')::int / 4 AS start, octet_length(data) AS length,
           rpad(encode(data, 'hex'), current_setting('block_size')::int / 2, '0') AS bytes
    FROM pg_largeobject
    WHERE (loid, pageno) > (%(after_oid)s::oid, %(after_page)s::int)
      AND (loid, pageno) <= (%(upto_oid)s::oid, %(upto_page)s::int)
) AS pages
GROUP BY oid
