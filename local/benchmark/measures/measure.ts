import type { Figure } from '../figure.js';
import type { Room } from '../room.js';

/** One measure prepares its room, then times one thing. It throws when the work was not done. */
export type Measure = { name: string; run(room: Room): Promise<Figure[]> };
