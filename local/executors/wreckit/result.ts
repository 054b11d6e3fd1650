/** What a wreckit step answers. */
import { z } from 'zod';
import { Item, ListedItem } from './output.js';

export const WreckitResult = z.object({
  command: z.string(),
  /**
   * Of an item: its state, or `awaiting_merge` with an open pull request. `next`: also `nothing_to_do`, and `blocked`
   * when what is left waits for other items. `ideas`: `created` or `known`. `doctor`: `healthy` or `unhealthy`.
   * `status` and `list`: `listed`.
   */
  state: z.string(),
  /** False when everything was as asked before: the item was there already, or nothing could be done. */
  changed: z.boolean(),
  item: Item.optional(),
  items: z.array(ListedItem).optional(),
  /** Of `ideas`: `ids` are those it made and those it knew, whatever try it was; `created` and `known` tell them apart. */
  ids: z.array(z.string()).optional(),
  created: z.array(z.string()).optional(),
  known: z.array(z.string()).optional(),
  diagnosis: z
    .object({ errors: z.array(z.string()), warnings: z.array(z.string()), notes: z.array(z.string()) })
    .optional(),
});
export type WreckitResult = z.output<typeof WreckitResult>;
/** What a command answers; the caller knows which it was. */
export type Answer = Omit<WreckitResult, 'command'>;
