/** Vercel's cron sends GET with CRON_SECRET; any other scheduler may POST with OPS_API_KEY. */
export { answer as GET, answer as POST } from '../../app/function.js';
