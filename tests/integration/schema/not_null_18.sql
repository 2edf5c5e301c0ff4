ALTER TABLE "Strange Place"."Order Items" RENAME CONSTRAINT "Order Items_naïve""quote_not_null" TO "must be; 100% said";
COMMENT ON CONSTRAINT "must be; 100% said" ON "Strange Place"."Order Items" IS 'O''Hara; %s';
CREATE TABLE public.lenient (id int PRIMARY KEY, note text);
INSERT INTO public.lenient VALUES (1, NULL);
ALTER TABLE public.lenient ADD CONSTRAINT from_now_on NOT NULL note NOT VALID;
CREATE TABLE public.lenient_too (id int PRIMARY KEY, note text, CONSTRAINT mine NOT NULL note NO INHERIT);
CREATE TABLE public.below () INHERITS (public.lenient_too);
CREATE TABLE public.local_too (name text NOT NULL) INHERITS (public.animals);
