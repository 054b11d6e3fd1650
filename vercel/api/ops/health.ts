export { answer as GET, answer as HEAD } from '../../app/function.js';
