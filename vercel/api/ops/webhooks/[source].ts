export { answer as POST } from '../../../app/function.js';
