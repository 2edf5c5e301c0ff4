-- Roles and the empty database of the shop. Run as superuser.
-- psql variables: owner_password, app_password, bi_password
CREATE ROLE shop_readers NOLOGIN;                                           -- a group: may read everything
CREATE ROLE shop_owner LOGIN PASSWORD :'owner_password';                    -- owns the database and all objects
CREATE ROLE shop_app LOGIN PASSWORD :'app_password' CONNECTION LIMIT 150;   -- the application: reads and writes
CREATE ROLE shop_bi LOGIN PASSWORD :'bi_password' IN ROLE shop_readers;     -- reports: reads only
ALTER ROLE shop_bi SET statement_timeout = '5min';
CREATE DATABASE shop OWNER shop_owner ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0;
