-- may_subscribe: whether a role that is no superuser may create subscriptions here
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname IN ('pg_create_subscription', 'rds_superuser')
               AND pg_has_role(current_user, oid, 'USAGE'))

-- not_ours: of the given roles those that exist here, and for which we may not act
SELECT rolname AS name FROM pg_roles
WHERE rolname = ANY(%(names)s) AND NOT pg_has_role(current_user, oid, 'USAGE') ORDER BY 1

-- no_member: whether we cannot become a role that exists
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %(role)s AND NOT pg_has_role(current_user, oid, 'MEMBER'))
