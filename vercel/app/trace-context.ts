/** The trace that a sender is in: W3C Trace Context, level 1, kept with its events and handed on to what they lead to. */
import type { SentEvent } from '../../supabase/client/schemas/inputs.js';

const form = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** As a member of an event; none for what is not valid, as the specification asks. */
export const traceMember = (sent: unknown): { traceparent?: string } =>
  typeof sent === 'string' && form.test(sent) ? { traceparent: sent } : {};

/** The events of a request, each with the trace of the request unless it names its own. */
export function inTrace(headers: Headers, events: SentEvent[]): SentEvent[] {
  const member = traceMember(headers.get('traceparent'));
  return events.map((event) => (event.traceparent === undefined ? { ...event, ...member } : event));
}
