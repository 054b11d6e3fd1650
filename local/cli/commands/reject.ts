import { addVerdict } from '../verdict.js';

export const addReject = addVerdict({
  name: 'reject',
  description: 'reject a waiting proposal',
  call: 'rejectProposal',
});
