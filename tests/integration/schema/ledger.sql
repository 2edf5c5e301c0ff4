CREATE SCHEMA "Strange Place";
CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';

CREATE TABLE public.customers (id int PRIMARY KEY, email text CONSTRAINT one_email UNIQUE, name text, code int);
CREATE UNIQUE INDEX by_code ON public.customers (code);
CREATE TABLE "Strange Place"."Order Items" (
    id int PRIMARY KEY, "select" int REFERENCES public.customers DEFERRABLE INITIALLY DEFERRED,
    "naïve""quote" text, parent int, span int4range, code int, price numeric,
    EXCLUDE USING gist (span WITH &&),
    CONSTRAINT "100% its own" FOREIGN KEY (parent) REFERENCES "Strange Place"."Order Items" ON DELETE CASCADE
);
ALTER TABLE "Strange Place"."Order Items"
    ADD CONSTRAINT "never checked" FOREIGN KEY (code) REFERENCES public.customers (code) NOT VALID;
COMMENT ON CONSTRAINT "100% its own" ON "Strange Place"."Order Items" IS 'it''s; a %s comment';
CREATE INDEX "naïve""index" ON "Strange Place"."Order Items" (lower("naïve""quote") COLLATE "C" text_pattern_ops DESC)
    INCLUDE (price) WITH (fillfactor = 70) WHERE "select" > 0;
COMMENT ON INDEX "Strange Place"."naïve""index" IS 'fast; "really"';
ALTER INDEX "Strange Place"."naïve""index" ALTER COLUMN 1 SET STATISTICS 200;
CREATE INDEX by_price ON "Strange Place"."Order Items" (price);
ALTER TABLE "Strange Place"."Order Items" CLUSTER ON by_price;
CREATE TRIGGER "Always On" BEFORE INSERT ON "Strange Place"."Order Items" FOR EACH ROW
    WHEN (NEW."naïve""quote" <> '%s;') EXECUTE FUNCTION public.nothing('a;b');
ALTER TABLE "Strange Place"."Order Items" ENABLE ALWAYS TRIGGER "Always On";
COMMENT ON TRIGGER "Always On" ON "Strange Place"."Order Items" IS 'O''Hara';
CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON "Strange Place"."Order Items" DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.nothing();
ALTER TABLE "Strange Place"."Order Items" DISABLE TRIGGER late;

CREATE TABLE public.keyed (a int NOT NULL, b int);
CREATE UNIQUE INDEX keyed_a ON public.keyed (a);
ALTER TABLE public.keyed REPLICA IDENTITY USING INDEX keyed_a;
CREATE INDEX keyed_b ON public.keyed (b);

CREATE TABLE public.events (id int, day int, note text, customer int REFERENCES public.customers, PRIMARY KEY (id, day),
    CONSTRAINT one_note UNIQUE (note, day)) PARTITION BY RANGE (day);
CREATE TABLE public.events_1 PARTITION OF public.events FOR VALUES FROM (0) TO (10);
CREATE TABLE public.events_2 PARTITION OF public.events FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (day);
CREATE TABLE public.events_2a PARTITION OF public.events_2 FOR VALUES FROM (10) TO (15);
CREATE INDEX events_note ON public.events (note);
CREATE INDEX only_here ON public.events_2a (customer);
CREATE INDEX incomplete ON ONLY public.events (customer, note);
COMMENT ON INDEX public.events_1_note_idx IS 'of a partition';
CREATE TRIGGER seen AFTER INSERT ON public.events FOR EACH ROW EXECUTE FUNCTION public.nothing();
ALTER TABLE public.events_1 DISABLE TRIGGER seen;
CREATE TABLE public.follows (id int PRIMARY KEY, event int, day int, FOREIGN KEY (event, day) REFERENCES public.events);

INSERT INTO public.customers SELECT n, 'e' || n, 'n', n FROM generate_series(1, 20) n;
INSERT INTO "Strange Place"."Order Items" SELECT n, n, 'x', 1, int4range(n, n + 1), n, n FROM generate_series(1, 20) n;
INSERT INTO public.events SELECT n, n % 15, n, 1 FROM generate_series(1, 20) n;
