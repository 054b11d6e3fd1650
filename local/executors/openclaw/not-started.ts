import { StepError } from '../contract.js';

/** Nothing has happened yet, so it may simply be tried again. */
export const notStarted = (): StepError =>
  new StepError('it was ended before openclaw was asked for anything', { errorClass: 'NotStarted' });
