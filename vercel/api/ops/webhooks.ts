/** Every source: vercel.json rewrites `/api/ops/webhooks/…` here, the app reads the source from the path. */
import { createApp } from '../../app/app.js';
import { createAnswerer } from '../../app/function.js';

export const POST = createAnswerer(createApp);
