import { addWorkVerb } from '../work-verb.js';

export const addRetry = addWorkVerb({
  name: 'retry',
  description: 'run a failed step again, or a mission from its last good step',
  calls: { step: 'retryStep', mission: 'retryMission' },
  done: 'run again',
});
