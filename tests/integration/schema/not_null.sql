CREATE SCHEMA "Strange Place";
CREATE DOMAIN public.given AS text NOT NULL;
CREATE DOMAIN public.really_given AS public.given CHECK (VALUE <> '');
CREATE TABLE "Strange Place"."Order Items" (
    "select" int, id int, "naïve""quote" text NOT NULL, "100% json;" jsonb NOT NULL, free text,
    counted bigint GENERATED ALWAYS AS IDENTITY, domained public.really_given, PRIMARY KEY (id, "select")
);
INSERT INTO "Strange Place"."Order Items" ("select", id, "naïve""quote", "100% json;", domained)
    SELECT 0, n, 'x', '{}', 'd' FROM generate_series(1, 50) n;
CREATE TABLE public.keyed (a int NOT NULL, b text NOT NULL);
CREATE UNIQUE INDEX keyed_a ON public.keyed (a) INCLUDE (b);
ALTER TABLE public.keyed REPLICA IDENTITY USING INDEX keyed_a;

CREATE TABLE public.events (id int, day int NOT NULL, note text NOT NULL) PARTITION BY RANGE (day);
CREATE TABLE public.events_1 PARTITION OF public.events FOR VALUES FROM (0) TO (10);
CREATE TABLE public.events_2 PARTITION OF public.events FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (day);
CREATE TABLE public.events_2a PARTITION OF public.events_2 FOR VALUES FROM (10) TO (15);
CREATE TABLE public.loose (id int, day int, note text) PARTITION BY RANGE (day);
CREATE TABLE public.loose_1 PARTITION OF public.loose (note NOT NULL) FOR VALUES FROM (0) TO (10);
CREATE TABLE public.loose_2 PARTITION OF public.loose FOR VALUES FROM (10) TO (20);
INSERT INTO public.events SELECT n, n % 15, n FROM generate_series(1, 50) n;
INSERT INTO public.loose SELECT n, n % 20, n FROM generate_series(1, 50) n;

CREATE TABLE public.animals (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE public.dogs (tail int, id int PRIMARY KEY) INHERITS (public.animals);
INSERT INTO public.animals VALUES (1, 'Ant');
INSERT INTO public.dogs (id, name) VALUES (2, 'Bello');
