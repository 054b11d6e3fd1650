import { createApp } from '../../app/app.js';
import { createAnswerer } from '../../app/function.js';

const answer = createAnswerer(createApp);

export { answer as GET, answer as HEAD };
