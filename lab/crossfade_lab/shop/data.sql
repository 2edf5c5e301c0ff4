-- Sample data, made by the server itself. Run as shop_owner in database shop, before constraints.sql.
-- psql variables: customers, orders (2 items each), payments, documents, large_documents, events, archived, prices,
-- invoices: numbers of rows.
SET synchronous_commit = off;

INSERT INTO customers (email, name, status, referred_by, address, tags, scores, credit, member_from, member_until,
                       created_at)
SELECT 'customer' || n || '@example.org', 'Customer ' || n || CASE n % 7 WHEN 0 THEN ' Ünïcödé 漢字 "quoted"' ELSE '' END,
       (enum_range(NULL::customer_status))[1 + n % 4],
       CASE WHEN n % 5 = 0 AND n > 10 THEN n / 2 END,
       CASE WHEN n % 11 > 0 THEN ROW('Street ' || n, 'City, "' || n % 100 || '"', lpad((n % 99999)::text, 5, '0'), 'FR')::postal_address END,
       CASE n % 3 WHEN 0 THEN '{}'::text[] ELSE ARRAY['tag' || n % 20, NULL, 'with "quotes", commas'] END,
       CASE n % 4 WHEN 0 THEN ARRAY[n / 3.0, 'NaN'::numeric, 1e-20] END,
       (n % 1000)::numeric / 7,
       CASE n % 10 WHEN 0 THEN '-infinity'::timestamptz ELSE now() - n % 1000 * interval '1 day' END,
       CASE n % 10 WHEN 1 THEN now() + interval '1 year' ELSE 'infinity'::timestamptz END,
       now() - n % 500 * interval '1 day'
FROM generate_series(1, :customers) AS n;

INSERT INTO orders (customer_id, state, total, currency, placed_at)
SELECT 1 + n % :customers, (enum_range(NULL::order_state))[1 + n % 4], n % 50000 / 100.0,
       CASE n % 3 WHEN 0 THEN 'USD' ELSE 'EUR' END, now() - n % 400 * interval '7 hours'
FROM generate_series(1, :orders) AS n;

INSERT INTO order_items (order_id, line, sku, quantity, unit_price)
SELECT n, line, 'SKU-' || (n * line) % 5000, 1 + n % 5, (n % 977) / 9.0
FROM generate_series(1, :orders) AS n, generate_series(1, 2) AS line;

INSERT INTO payments (order_id, amount, method, paid_at)
SELECT n, n % 50000 / 100.0, (ARRAY['card', 'transfer', 'cash'])[1 + n % 3], now() - n % 400 * interval '7 hours'
FROM generate_series(1, :payments) AS n;
UPDATE orders SET final_payment_id = id WHERE id <= :payments AND id % 4 = 0;

INSERT INTO documents (customer_id, title, body, content, keywords)
SELECT 1 + n % :customers, 'Document ' || n,
       jsonb_build_object('n', n, 'kind', n % 9, 'text', repeat(md5(n::text), 1 + n % 40), 'price', n / 8.0, 'nothing', NULL),
       CASE WHEN n % 3 > 0 THEN decode(repeat(md5(n::text), 1 + n % 400), 'hex') END, ARRAY['k' || n % 50, 'all']
FROM generate_series(1, :documents) AS n;

-- 1 to 4 MB each: one half of content that compresses badly, one of jsonb that compresses well
INSERT INTO documents (customer_id, title, body, content)
SELECT 1, 'Large document ' || n,
       jsonb_build_object('n', n, 'pages', (SELECT jsonb_agg(repeat(md5(p::text), 30)) FROM generate_series(1, 800 * n) AS p)),
       (SELECT string_agg(sha256((n * 1000000 + b)::text::bytea), '') FROM generate_series(1, 32768 * n) AS b)
FROM generate_series(1, :large_documents) AS i, LATERAL (SELECT 1 + i % 4) AS size (n);

INSERT INTO events (at, uid, kind, value, payload)
SELECT now() - n % 120 * interval '1 day' - n % 1000 * interval '1 minute', 'sample-' || n, 'sample', n,
       CASE n % 4 WHEN 0 THEN jsonb_build_object('n', n, 'page', '/p/' || n % 100) END
FROM generate_series(1, :events) AS n;

INSERT INTO "Order Items Archive" ("Order Id", line, "naïve""quote", "select", "Archived At")
SELECT n, 1, CASE n % 5 WHEN 0 THEN NULL ELSE E'tab\t newline\n backslash\\ ' || n END, n, now() - n % 90 * interval '1 day'
FROM generate_series(1, :archived) AS n;

INSERT INTO prices (sku, valid_from, price, note)
SELECT 'SKU-' || n, date '2020-01-01' + n % 1000, n / 7.0, CASE n % 2 WHEN 0 THEN '' END FROM generate_series(1, :prices) AS n;

INSERT INTO billing.invoices (customer_id, amount, memo)
SELECT 1 + n % :customers, n / 3.0, 'Invoice for ' || n FROM generate_series(1, :invoices) AS n;

SELECT count(nextval('ticket_seq')) FROM generate_series(1, 37) \g /dev/null
