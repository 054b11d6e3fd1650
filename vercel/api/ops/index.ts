/** Every route without a function of its own, and the page: vercel.json rewrites them here, the app tells them apart. */
import { createApp } from '../../app/app.js';
import { createAnswerer } from '../../app/function.js';

const answer = createAnswerer(createApp);

export { answer as DELETE, answer as GET, answer as HEAD, answer as POST, answer as PUT };
