import { createApp } from '../../app/app.js';
import { createAnswerer } from '../../app/function.js';

export const POST = createAnswerer(createApp);
