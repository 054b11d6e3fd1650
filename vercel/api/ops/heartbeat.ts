/** Vercel's cron sends GET with CRON_SECRET; any other scheduler may POST with OPS_API_KEY. */
import { createAnswerer } from '../../app/function.js';
import { createHeartbeatApp } from '../../app/heartbeat-app.js';

const answer = createAnswerer(createHeartbeatApp);

export { answer as GET, answer as HEAD, answer as POST };
