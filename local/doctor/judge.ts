/** Pure: what the figures of a database mean, and the way out. */
import type { Health } from '../../supabase/client/schemas/rows.js';
import { schemaVersion } from '../../supabase/client/terms.js';
import type { ChosenDatabase } from '../database.js';
import { type Check, grade, type Level, say, worst } from './finding.js';
import type { Vitals } from './vitals.js';

/** SPEC 1 and package.json. */
const oldestNode = [20, 19] as const;
const oldestServer = 15;
/** Where the alerts begin, too: steps in the queue. */
const queue = { warn: 50, bad: 500 };
const beatMinutes = { warn: 15, bad: 60 };
/** Half a table dead is twice the pages to read; fewer rows than this never matter. */
const deadShare = { warn: 0.5, bad: 0.8 };
const deadLeast = 10_000;
/** Nothing of the loop is open for longer than seconds, and what is open holds back vacuum for all. */
const transactionMinutes = { warn: 5, bad: 60 };
/** Leases go by the database's clock alone: a difference only makes logs and tokens hard to read. */
const clockSeconds = { warn: 2, bad: 60 };

export function judgeVersions(node: string, schema: string, vitals?: Vitals): Check {
  const [major = 0, minor = 0] = node.replace(/^v/, '').split('.').map(Number);
  const nodeOk = major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1]);
  const server = vitals === undefined ? '' : `, PostgreSQL ${vitals.server}`;
  const ways = [
    nodeOk ? undefined : `install Node ${oldestNode.join('.')} or later`,
    vitals === undefined || vitals.major >= oldestServer
      ? undefined
      : `move to PostgreSQL ${oldestServer} or later`,
    schema === schemaVersion ? undefined : `run ops-loop migrate: this code needs schema ${schemaVersion}`,
  ].filter((way) => way !== undefined);
  const found = `Node ${node}${server}, schema ${schema}`;
  return say('versions', ways.length === 0 ? 'ok' : 'bad', found, ways.join('; '));
}

export function judgeBeat({ last_beat_at }: Pick<Health, 'last_beat_at'>, now: number): Check {
  const wayOut = 'run ops-loop heartbeat, and look at what should call it: Vercel cron, pg_cron, npm start';
  if (last_beat_at === null) return say('heartbeat', 'warn', 'there has been no scheduled beat', wayOut);
  const minutes = Math.max((now - Date.parse(last_beat_at)) / 60_000, 0);
  return say('heartbeat', grade(minutes, beatMinutes), `last beat ${inWords(minutes)} ago`, wayOut);
}

export function judgeQueue({
  queued_steps: queued,
  workers,
}: Pick<Health, 'queued_steps' | 'workers'>): Check {
  const alone = queued > 0 && workers === 0;
  const level = alone ? 'bad' : grade(queued, queue);
  const wayOut = alone
    ? 'no worker is alive: start one with npm run worker'
    : 'start more workers: npm run worker';
  return say('queue', level, `${queued} steps queued, ${workers} workers alive`, wayOut);
}

export function judgeBloat({ tables }: Vitals): Check {
  const found = tables
    .map(({ name, live, dead }) => ({ name, dead, share: dead / Math.max(live + dead, 1) }))
    .filter(({ dead }) => dead >= deadLeast)
    .map((table) => ({ ...table, level: grade(table.share, deadShare) }))
    .filter(({ level }) => level !== 'ok');
  if (found.length === 0) return say('bloat', 'ok', 'no table holds many dead rows', '');
  const findings = found.map(
    ({ name, share }) =>
      `${Math.round(share * 100)} % of ${name} is dead; vacuum public.${name}; and see the oldest transaction`,
  );
  return { check: 'bloat', level: worst(found.map(({ level }) => level)), findings };
}

export function judgeTransactions({ oldest_seconds, oldest_pid, oldest_state }: Vitals): Check {
  if (oldest_seconds === null) return say('transactions', 'ok', 'none open but this one', '');
  const minutes = oldest_seconds / 60;
  const found = `the oldest is open for ${inWords(minutes)} (${oldest_state}, process ${oldest_pid})`;
  const wayOut = `end it where it was opened, or: select pg_terminate_backend(${oldest_pid})`;
  return say('transactions', grade(minutes, transactionMinutes), found, wayOut);
}

export function judgeConnection(chosen: ChosenDatabase, vitals?: Vitals): Check {
  if (chosen.kind === 'supabase' || vitals === undefined)
    return say('connection', 'ok', 'through the API; workers look for work, at most 2 s late', '');
  if (!chosen.direct)
    return say('connection', 'ok', 'through a pooler; workers look for work, at most 2 s late', '');
  const wayOut = 'if there is a pooler between, add ?pgbouncer=true to DATABASE_URL';
  return vitals.hears
    ? say('connection', 'ok', 'direct, and LISTEN works', '')
    : say('connection', 'warn', 'taken for direct, but LISTEN hears nothing', wayOut);
}

export function judgeClock({ clockAheadMs }: Vitals): Check {
  const seconds = Math.abs(clockAheadMs) / 1_000;
  const found = `the database is ${seconds.toFixed(1)} s ${clockAheadMs >= 0 ? 'ahead of' : 'behind'} this host`;
  return say(
    'clock',
    grade(seconds, clockSeconds),
    found,
    'set this host by NTP; times in logs differ so much',
  );
}

/** A schedule is planned a day ahead: one whose plan has ended, by beats that plan none, has fallen silent. */
const unplannedMinutes = { warn: 0, bad: 60 };

type Plans = {
  schedules: { id: string; problem: string | null }[];
  /** Those that are to be planned, and from when on. */
  toPlan: { id: string; from_at: string }[];
};

export function judgeSchedules({ schedules, toPlan }: Plans, now: number): Check {
  const behind = toPlan
    .map(({ id, from_at }) => ({ id, minutes: (now - Date.parse(from_at)) / 60_000 }))
    .filter(({ minutes }) => minutes > unplannedMinutes.warn);
  const broken = schedules.flatMap(({ id, problem }) => (problem === null ? [] : [{ id, problem }]));
  return {
    check: 'schedules',
    level: worst([
      ...behind.map(({ minutes }) => grade(minutes, unplannedMinutes)),
      ...broken.map((): Level => 'bad'),
    ]),
    findings: [
      ...behind.map(
        ({ id, minutes }) =>
          `${id} is not planned since ${inWords(minutes)}, so it raises nothing; run ops-loop heartbeat, and have a beat that plans every day: pg_cron alone cannot`,
      ),
      ...broken.map(({ id, problem }) => `${id} cannot be planned: ${problem}`),
    ],
  };
}

/** A guess is as hard as the characters are many: what repeats a few was typed, not drawn. */
const fewestCharacters = 10;

export function judgeSecrets(secrets: Readonly<Record<string, string | undefined>>): string[] {
  return Object.entries(secrets)
    .filter(([, value]) => value !== undefined && new Set(value).size < fewestCharacters)
    .map(([name]) => `${name} is weak: it repeats few characters; draw one with openssl rand -hex 32`);
}

const inWords = (minutes: number): string =>
  minutes < 2
    ? `${Math.round(minutes * 60)} s`
    : minutes < 120
      ? `${Math.round(minutes)} min`
      : `${Math.round(minutes / 60)} h`;
