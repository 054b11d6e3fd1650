/** `/api/ops/missions`: what is carried out, and an operator's verbs on it. */
import { z } from 'zod';
import { Mission, MissionChange, MissionRow } from '../../supabase/client/schemas/rows.js';
import { missionStatuses } from '../../supabase/client/terms.js';
import { answers, endpoint } from './endpoint.js';
import { cursor, Id, limit, nextCursor, signedReason, verb } from './input.js';

const Query = z.strictObject({
  status: z.enum(missionStatuses).optional(),
  /** Id of the pattern that led to it. */
  pattern: z.string().max(200).optional(),
  limit,
  cursor,
});
const Page = z.object({ missions: z.array(MissionRow), next_cursor: z.string().nullable() });

export const listMissions = endpoint(
  {
    summary: 'Missions, newest first',
    query: Query,
    answers: { 200: answers('A page; `next_cursor` is null on the last one.', Page) },
  },
  async (c, { query }, { port }) => {
    const missions = await port.listMissions(query);
    return c.json({ missions, next_cursor: nextCursor(missions, query.limit) });
  },
);

export const showMission = endpoint(
  {
    summary: 'One mission with its steps',
    params: Id,
    answers: { 200: answers('The mission.', Mission) },
  },
  async (c, { params }, { port }) => c.json(await port.getMission(params)),
);

const changed = { 200: answers('The mission as it is now.', MissionChange) };

export const cancelMission = endpoint(
  {
    summary: 'Cancels a mission: what has not started at once, what runs with its next renewal',
    ...verb,
    answers: changed,
  },
  async (c, { params, body }, { port }) =>
    c.json(await port.cancelMission({ ...params, ...signedReason(c.get('actor'), body.reason) })),
);

export const retryMission = endpoint(
  {
    summary: 'Goes on with a mission from its last good step',
    ...verb,
    answers: changed,
  },
  async (c, { params, body }, { port }) =>
    c.json(await port.retryMission({ ...params, ...signedReason(c.get('actor'), body.reason) })),
);
