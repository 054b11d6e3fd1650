import { addVerdict } from '../verdict.js';

export const addApprove = addVerdict({
  name: 'approve',
  description: 'approve a waiting proposal: its mission starts',
  call: 'approveProposal',
});
