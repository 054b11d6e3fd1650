/** `worker_policy.channels`: where a named channel leads, and whether everything it needs is there. */
import {
  type Channel as ChannelPolicy,
  Channel as ChannelSchema,
} from '../../../supabase/client/schemas/policies.js';
import { type DoctorContext, type Finding, type StepContext, StepError } from '../contract.js';
import { presentSecret } from '../http/headers.js';
import { discord } from './discord.js';
import type { Given, Speech } from './message.js';
import { slack } from './slack.js';
import { telegram } from './telegram.js';
import { webhook } from './webhook.js';

export const speeches: Record<ChannelPolicy['type'], Speech> = { slack, discord, telegram, webhook };

type Field = Exclude<keyof ChannelPolicy, 'type'>;
/** What each type cannot do without; of a list in the list, any one. */
const needs: Record<ChannelPolicy['type'], (Field | Field[])[]> = {
  slack: ['url_secret'],
  discord: ['url_secret'],
  telegram: ['token_secret', 'chat_id'],
  webhook: [['url', 'url_secret'], 'signing_secret'],
};

/** Throws a permanent `StepError` naming what is there. */
export function findChannel({ config }: Pick<StepContext, 'config'>, name: string): ChannelPolicy {
  const channels = channelsOf(config);
  const channel = Object.hasOwn(channels, name) ? ChannelSchema.safeParse(channels[name]).data : undefined;
  if (channel !== undefined) return channel;
  const known = Object.keys(channels).join(', ');
  throw invalid(
    `there is no channel ${name}${known === '' ? '' : `; there are ${known}`}`,
    'Describe it in worker_policy.channels.',
  );
}

const channelsOf = ({ worker_policy }: StepContext['config']): Record<string, unknown> => {
  const { channels } = worker_policy;
  return typeof channels === 'object' && channels !== null && !Array.isArray(channels) ? channels : {};
};

/** What a `Speech` asks about its channel. */
export function given(
  channel: ChannelPolicy,
  ctx: Pick<StepContext, 'secret' | 'stepId' | 'missionId'>,
  now: Date,
): Given {
  const field = (name: Field): string => {
    const value = channel[name];
    if (value !== undefined) return value;
    throw invalid(`a channel of type ${channel.type} needs ${name}`, 'Add it in worker_policy.channels.');
  };
  return {
    field,
    optional: (name) => channel[name],
    secret: (name) => presentSecret(field(name), (variable) => ctx.secret(variable)),
    stepId: ctx.stepId,
    missionId: ctx.missionId,
    now,
  };
}

export function channelFindings(ctx: DoctorContext): Finding[] {
  return Object.keys(channelsOf(ctx.config)).map((name) => {
    const channel = findChannel(ctx, name);
    const missing = needs[channel.type]
      .filter((need) => ![need].flat().some((field) => channel[field] !== undefined))
      .map((need) => [need].flat().join(' or '));
    const unset = (['url_secret', 'token_secret', 'signing_secret'] as const)
      .map((field) => channel[field])
      .filter((variable) => variable !== undefined && !ctx.secret(variable));
    const ok = missing.length + unset.length === 0;
    const what = [
      ...missing.map((field) => `has no ${field}`),
      ...unset.map((variable) => `needs ${variable}, which is not set here`),
    ].join(', ');
    return { name: `channel ${name}`, ok, message: ok ? `${channel.type}, complete` : what };
  });
}

const invalid = (message: string, hint: string): StepError =>
  new StepError(message, { outcome: 'permanent', errorClass: 'ChannelInvalid', hint });
