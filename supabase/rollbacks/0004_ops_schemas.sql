-- Takes 0004 back: the schemas and the registry rows of the built-in executors. With 0003 still in place no policy
-- can then be written, for want of a schema to check it by.

delete from public.ops_schemas where name = 'template' or name like 'policy:%';
delete from public.ops_executors where builtin;
delete from public.ops_migrations where version = '0004';
