-- A heartbeat every minute by pg_cron and pg_net, through the endpoint: everything that a beat does, planning of schedules
-- included. Address and key are read from Vault when the job runs, so neither stands in its text. A second run replaces
-- the job. Take it back with `select cron.unschedule('ops-loop-beat-over-http')`.
--
-- Before, once, with your own values:
--   select vault.create_secret('https://ops.example.com', 'ops_loop_url');
--   select vault.create_secret('<OPS_API_KEY>', 'ops_loop_key');
--
-- Why so: pg_net sends after the transaction, does not try again, and keeps its queue in an unlogged table, so a call can
-- be lost with the server: the next minute's beat does its work. The timeout is longer than the five seconds that a beat
-- may take (pg_net's own default, 5,000 ms, is not). Answers stand in net._http_response for some hours.

create extension if not exists pg_cron;
create extension if not exists pg_net;

select cron.schedule('ops-loop-beat-over-http', '* * * * *', $job$
select net.http_post(
  url := (select s.decrypted_secret from vault.decrypted_secrets s where s.name = 'ops_loop_url') || '/api/ops/heartbeat',
  body := '{}'::jsonb,
  headers := jsonb_build_object('Content-Type', 'application/json',
    'Authorization', 'Bearer ' || (select s.decrypted_secret from vault.decrypted_secrets s where s.name = 'ops_loop_key')),
  timeout_milliseconds := 20000)
$job$);
