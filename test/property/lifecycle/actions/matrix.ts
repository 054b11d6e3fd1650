/** The patterns that programs switch on and off. */
import type { Json } from '../rows.js';

const noop = (more: { [key: string]: Json } = {}): Json => ({ kind: 'noop', ...more });

export const patterns: Record<string, { [key: string]: Json }> = {
  plain: { event_type: 'demo:a', template: { title: 'plain {{event.data.n}}', steps: [noop(), noop()] } },
  asks: {
    event_type: 'demo:*',
    where: '$.data.n > 4',
    template: { title: 'asks', risk_level: 'high', steps: [{ kind: 'openclaw' }] },
  },
  keyed: {
    event_type: 'demo:b',
    dedupe_key: '{{event.data.n}}',
    template: { title: 'keyed', steps: [noop()] },
  },
  rests: { event_type: 'demo:b', cooldown_minutes: 30, template: { title: 'rests', steps: [noop()] } },
  limited: {
    event_type: 'demo:c',
    limit: { count: 2, per_minutes: 60 },
    template: { title: 'limited', steps: [noop()] },
  },
  // Three that close the loop: only loop limits end what they begin.
  chases: {
    event_type: 'step:noop:failed',
    template: { title: 'chases', steps: [noop({ max_retries: 1 })] },
  },
  repeats: {
    event_type: 'step:*:succeeded',
    template: { title: 'repeats', steps: [{ kind: 'agent', params: { role: 'scout', prompt: 'look' } }] },
  },
  nags: { event_type: 'proposal:waiting', template: { title: 'nags', risk_level: 'high', steps: [noop()] } },
};

export const matrix = (ids: string[]): Json => ({ patterns: ids.map((id) => ({ id, ...patterns[id] })) });

/** Those whose verdict follows from the event alone. */
export const simplePatterns: { id: string; fires(type: string, n: number): boolean }[] = [
  { id: 'plain', fires: (type) => type === 'demo:a' },
  { id: 'asks', fires: (type, n) => type.startsWith('demo:') && n > 4 },
  { id: 'keyed', fires: (type) => type === 'demo:b' },
];
