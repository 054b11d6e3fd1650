import { addWorkVerb } from '../work-verb.js';

/** A step or mission that has ended stays as it is, so that a second call changes nothing. */
const ended = 'it had ended before';

export const addCancel = addWorkVerb({
  name: 'cancel',
  description: 'cancel a step with what waits for it, or a whole mission; what runs is asked to stop',
  calls: { step: 'cancelStep', mission: 'cancelMission' },
  done: 'cancelled',
  says: {
    running: 'what runs is asked to stop and does so with its next renewal',
    succeeded: ended,
    failed: ended,
    skipped: ended,
  },
});
