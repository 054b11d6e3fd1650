/** Numbers from a seed: the same seed gives the same drill, as far as processes and the network allow. */
export type Dice = {
  /** A number in [0, 1). */
  (): number;
  /** A whole number from `least` to `most`, both included. */
  whole(least: number, most: number): number;
  pick<T>(items: readonly T[]): T;
  chance(share: number): boolean;
  shuffle<T>(items: readonly T[]): T[];
};

/** Mulberry32 (Tommy Ettinger, public domain): 32 bits of state, plenty for choosing faults. */
export function diceOf(seed: number): Dice {
  let state = seed >>> 0;
  const roll = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const whole = (least: number, most: number) => least + Math.floor(roll() * (most - least + 1));
  return Object.assign(roll, {
    whole,
    pick: <T>(items: readonly T[]): T => {
      const item = items[whole(0, items.length - 1)];
      if (item === undefined) throw new Error('nothing to pick from');
      return item;
    },
    chance: (share: number) => roll() < share,
    shuffle: <T>(items: readonly T[]): T[] =>
      items
        .map((item) => ({ item, place: roll() }))
        .sort((a, b) => a.place - b.place)
        .map(({ item }) => item),
  });
}
