/** Every route without a function of its own, and the page: vercel.json rewrites them here, the app tells them apart. */
export { answer as DELETE, answer as GET, answer as HEAD, answer as POST } from '../../app/function.js';
