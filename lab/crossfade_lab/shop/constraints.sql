-- Keys, indexes, triggers, a materialised view and grants of the shop. Run as shop_owner in database shop.
SET maintenance_work_mem = '128MB';

ALTER TABLE customers ADD PRIMARY KEY (id);
ALTER TABLE customers ADD CONSTRAINT customers_email_unique UNIQUE (email);
CREATE INDEX customers_lower_name ON customers (lower(name));
ALTER TABLE customers ADD CONSTRAINT customers_member_period CHECK (member_from < member_until);
ALTER TABLE customers ADD FOREIGN KEY (referred_by) REFERENCES customers (id);

ALTER TABLE orders ADD PRIMARY KEY (id);
CREATE INDEX orders_customer ON orders (customer_id);
CREATE INDEX orders_open ON orders (placed_at) WHERE state IN ('placed', 'paid');
CREATE INDEX orders_request ON orders (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX orders_final_payment ON orders (final_payment_id) WHERE final_payment_id IS NOT NULL;
COMMENT ON INDEX orders_open IS 'Partial: only what is still to be shipped';
ALTER TABLE orders ADD CONSTRAINT orders_customer_fkey FOREIGN KEY (customer_id) REFERENCES customers (id);

ALTER TABLE order_items ADD PRIMARY KEY (order_id, line);
ALTER TABLE order_items ADD FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE;
ALTER TABLE order_items ADD CONSTRAINT order_items_price_positive CHECK (unit_price >= 0) NOT VALID;

ALTER TABLE payments ADD PRIMARY KEY (id);
CREATE INDEX payments_order ON payments (order_id);
ALTER TABLE payments ADD CONSTRAINT payments_order_fkey FOREIGN KEY (order_id) REFERENCES orders (id);
ALTER TABLE orders ADD CONSTRAINT orders_final_payment_fkey   -- closes the circle orders > payments > orders
    FOREIGN KEY (final_payment_id) REFERENCES payments (id) DEFERRABLE INITIALLY DEFERRED;
COMMENT ON CONSTRAINT orders_final_payment_fkey ON orders IS 'Circular, hence deferred';

ALTER TABLE documents ADD PRIMARY KEY (id);
CREATE INDEX documents_body ON documents USING gin (body jsonb_path_ops);
CREATE INDEX documents_keywords ON documents USING gin (keywords);
CREATE INDEX documents_title ON documents (title);
ALTER TABLE documents ADD FOREIGN KEY (customer_id) REFERENCES customers (id);

ALTER TABLE events ADD PRIMARY KEY (at, id);
CREATE INDEX events_uid ON events (uid);

ALTER TABLE "Order Items Archive" ADD PRIMARY KEY ("Order Id", line);
CREATE INDEX "Archive ""by"" select" ON "Order Items Archive" ("select" DESC NULLS LAST);

CREATE UNIQUE INDEX prices_identity ON prices (sku, valid_from);
ALTER TABLE prices REPLICA IDENTITY USING INDEX prices_identity;

ALTER TABLE billing.invoices ADD CONSTRAINT invoices_pkey PRIMARY KEY (number);
ALTER TABLE billing.invoices ADD FOREIGN KEY (customer_id) REFERENCES public.customers (id);
CREATE INDEX invoices_memo ON billing.invoices (memo text_pattern_ops);

CREATE TRIGGER customers_touch BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER orders_touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER documents_touch BEFORE UPDATE ON documents FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION touch_updated_at();
COMMENT ON TRIGGER orders_touch ON orders IS 'Keeps updated_at';

CREATE MATERIALIZED VIEW daily_revenue AS
    SELECT placed_at::date AS day, currency, sum(total) AS total, count(*) AS orders FROM orders GROUP BY 1, 2;
CREATE UNIQUE INDEX daily_revenue_key ON daily_revenue (day, currency);
COMMENT ON MATERIALIZED VIEW daily_revenue IS 'Refreshed nightly';

GRANT USAGE ON SCHEMA public, billing TO shop_app, shop_readers;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, billing TO shop_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public, billing TO shop_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public, billing TO shop_readers;
REVOKE EXECUTE ON FUNCTION customer_balance(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION customer_balance(bigint) TO shop_app, shop_readers;
ALTER DEFAULT PRIVILEGES IN SCHEMA public, billing GRANT SELECT ON TABLES TO shop_bi;
ALTER DEFAULT PRIVILEGES IN SCHEMA public, billing GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO shop_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public, billing GRANT USAGE, SELECT ON SEQUENCES TO shop_app;
ALTER DATABASE shop SET search_path = public, billing;
