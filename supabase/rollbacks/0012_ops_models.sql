-- Takes back 0012: the reports of model providers and their functions. Workers go on with the breakers they have.
drop function if exists public.ops_reset_llm(text);
drop function if exists public.ops_llm_health();
drop function if exists public.ops_report_llm(text, jsonb);
drop table if exists public.ops_llm_breakers;
delete from public.ops_migrations where version = '0012';
