-- What AWS DMS cannot carry as it is, changed the way its owner would change it beforehand: the user guide's limits of
-- PostgreSQL as a source. Run as shop_owner in database shop, between data.sql and constraints.sql.
SET synchronous_commit = off;

-- Composite columns are left out. Infinite timestamps are clipped. numeric without precision arrives as numeric(28,6).
ALTER TABLE customers
    ALTER COLUMN address TYPE jsonb USING to_jsonb(address),
    ALTER COLUMN credit TYPE numeric(12, 2),
    ALTER COLUMN member_from TYPE timestamptz USING greatest(member_from, '1970-01-01 00:00:00+00'),
    ALTER COLUMN member_from SET DEFAULT '1970-01-01 00:00:00+00',
    ALTER COLUMN member_until TYPE timestamptz USING least(member_until, '9999-12-31 00:00:00+00'),
    ALTER COLUMN member_until SET DEFAULT '9999-12-31 00:00:00+00';
DROP TYPE postal_address;
COMMENT ON COLUMN customers.credit IS 'In the currency of the customer''s country';

ALTER TABLE payments
    ALTER COLUMN valid_until TYPE timestamptz USING least(valid_until, '9999-12-31 00:00:00+00'),
    ALTER COLUMN valid_until SET DEFAULT '9999-12-31 00:00:00+00';

ALTER TABLE billing.invoices ALTER COLUMN amount TYPE numeric(12, 2);

-- A column that a generated one is made of keeps its type: the generated one, and what reads it, are made again
DROP VIEW order_totals;
ALTER TABLE order_items DROP COLUMN amount, ALTER COLUMN unit_price TYPE numeric(12, 4);
ALTER TABLE order_items ADD COLUMN amount numeric GENERATED ALWAYS AS (quantity * unit_price) STORED;
CREATE VIEW order_totals AS
    SELECT o.id, o.customer_id, o.total, coalesce(sum(i.amount), 0) AS items_total
    FROM orders AS o LEFT JOIN order_items AS i ON i.order_id = o.id
    GROUP BY o.id, o.customer_id, o.total;
COMMENT ON VIEW order_totals IS 'What was ordered beside what was charged';

-- Without a primary key UPDATE and DELETE are ignored, and so they are where text, a large object to DMS, is part of it
ALTER TABLE prices ALTER COLUMN sku TYPE varchar(64), ALTER COLUMN price TYPE numeric(12, 4);
ALTER TABLE prices ADD PRIMARY KEY (sku, valid_from);
