-- Drops what lies in a guild's schema, kind by kind and never with CASCADE: an object of somebody else that depends on it is an error,
-- not a victim. The objects are found through the schema's dependencies, because that is indexed; pg_class by schema is not.

-- migrate:up
CREATE FUNCTION dcm.guild_objects(wanted name, kinds "char"[]) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT string_agg(format('%I.%I', n.nspname, c.relname), ', ')
    FROM pg_catalog.pg_namespace n
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = n.oid
        AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'n'
    JOIN pg_catalog.pg_class c ON c.oid = d.objid
    WHERE n.nspname = wanted AND c.relkind = ANY (kinds)
$$;

CREATE FUNCTION dcm.drop_guild_schema(wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    schema_name name := 'guild_' || wanted;
    schema_oid oid := (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'guild_' || wanted);
    kind record;
    found text;
BEGIN
    IF schema_oid IS NULL THEN
        RETURN;
    END IF;
    FOR kind IN VALUES ('VIEW', '{v}'::"char"[]), ('MATERIALIZED VIEW', '{m}'), ('FOREIGN TABLE', '{f}'), ('TABLE', '{r,p}'), ('SEQUENCE', '{S}')
    LOOP
        found := dcm.guild_objects(schema_name, kind.column2);
        IF found IS NOT NULL THEN
            EXECUTE format('DROP %s %s', kind.column1, found);
        END IF;
    END LOOP;
    SELECT string_agg(p.oid::regprocedure::text, ', ') INTO found
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.objid
    WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = schema_oid
        AND d.classid = 'pg_catalog.pg_proc'::regclass AND d.deptype = 'n';
    IF found IS NOT NULL THEN
        EXECUTE 'DROP ROUTINE ' || found;
    END IF;
    SELECT string_agg(t.oid::regtype::text, ', ') INTO found
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_type t ON t.oid = d.objid
    WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = schema_oid
        AND d.classid = 'pg_catalog.pg_type'::regclass AND d.deptype = 'n';
    IF found IS NOT NULL THEN
        EXECUTE 'DROP TYPE ' || found;
    END IF;
    EXECUTE format('DROP SCHEMA %I', schema_name);
END
$$;
REVOKE ALL ON FUNCTION dcm.guild_objects(name, "char"[]), dcm.drop_guild_schema(bigint) FROM PUBLIC;

-- migrate:down
DROP FUNCTION dcm.drop_guild_schema(bigint);
DROP FUNCTION dcm.guild_objects(name, "char"[]);
