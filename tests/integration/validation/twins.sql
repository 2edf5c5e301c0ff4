CREATE SCHEMA "My Shop" AUTHORIZATION keeper;
GRANT USAGE ON SCHEMA "My Shop" TO "Read Only";
SET ROLE keeper;
SET search_path = "My Shop";
CREATE DOMAIN "E-Mail" AS text CONSTRAINT "has at" CHECK (VALUE LIKE '%@%');
CREATE TYPE pair AS (a int, b int);
CREATE TABLE "Order Items" (
    id bigserial PRIMARY KEY,
    "select" int NOT NULL,
    mail "E-Mail",
    CONSTRAINT "never on zero" CHECK ("select" <> 0)
);
CREATE INDEX "by select" ON "Order Items" ("select");
CREATE TABLE "naïve""quote" (
    a int, b int NOT NULL UNIQUE, item bigint,
    PRIMARY KEY (a, b),
    CONSTRAINT "points on items" FOREIGN KEY (item) REFERENCES "Order Items"
);
CREATE TABLE "select" (x int, y text DEFAULT 'y');
CREATE TABLE parts (day date, n int, PRIMARY KEY (day, n)) PARTITION BY RANGE (day);
CREATE TABLE "parts on 2025 ON x USING y" PARTITION OF parts FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO "Order Items" ("select") SELECT n FROM generate_series(1, 50) AS n;
INSERT INTO "naïve""quote" SELECT n, n, n FROM generate_series(1, 20) AS n;
INSERT INTO "select" SELECT n FROM generate_series(1, 10) AS n;
INSERT INTO parts SELECT '2025-02-03', n FROM generate_series(1, 5) AS n;
CREATE VIEW "a view" AS SELECT id, "select" FROM "Order Items";
CREATE MATERIALIZED VIEW "Totals" AS SELECT count(*) AS items FROM "Order Items";
CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x * 2';
COMMENT ON TABLE "select" IS 'a word of SQL';
GRANT SELECT ON "Order Items", "select", "Totals" TO "Read Only";
ALTER DEFAULT PRIVILEGES IN SCHEMA "My Shop" GRANT SELECT ON TABLES TO "Read Only";
RESET ROLE;
