-- locale: how this database sorts and compares text; the version is the library's. Through jsonb: 14 lacks some columns
SELECT d.datcollate AS collate, d.datctype AS ctype,
       CASE to_jsonb(d) ->> 'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END AS provider,
       COALESCE(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', 'none') AS locale,
       COALESCE(to_jsonb(d) ->> 'datcollversion', 'none') AS collation_version
FROM pg_database d WHERE d.datname = current_database()
